"""The interface to the attacks of Foolbox (Rauber et al. 2017, 2020): the extra `attacks`."""

import importlib
import math
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from noiseproof.attacks.batch import Batch
from noiseproof.attacks.defence import Defence
from noiseproof.attacks.votes import Votes
from noiseproof.classifiers.runners import memory_named
from noiseproof.errors import ClassifierError, MissingExtraError, NoiseproofError
from noiseproof.perturbations.balls import distance
from noiseproof.perturbations.norms import NormLike

__all__ = [
    "MOST_SAMPLES",
    "Decide",
    "foolbox_attack",
    "nearest_by_votes",
    "queried_at_once",
    "run_foolbox",
    "seeded",
    "starting_point",
]

Decide = Callable[[Float[Tensor, "points *shape"]], Bool[Tensor, " points"]]
"""Returns for each point whether it is adversarial."""

_BLOCKS = (1, 2, 4, 8)
"""Sides, in pixels, of the squares of constant noise in the starting points of decision-based attacks."""

_HALVINGS = 10
"""Bisection steps between the image and each starting point."""

MOST_SAMPLES = 1024
"""Largest number of noise samples by which an attack tests whether the image itself is misclassified."""


def foolbox_attack(name: str, **settings: Any) -> Any:
    """Return the attack of Foolbox with this class name and these settings.

    Raises:
        MissingExtraError: Foolbox is not installed, or cannot be imported with the other installed packages.
    """
    with warnings.catch_warnings():
        # Foolbox 3.3.4 imports scipy.ndimage.filters, which will go with SciPy 2
        warnings.filterwarnings("ignore", "Please import `gaussian_filter`", DeprecationWarning)
        try:
            attacks = importlib.import_module("foolbox.attacks")
        except ModuleNotFoundError as error:
            if error.name != "foolbox":
                raise _BrokenError(error) from error
            raise MissingExtraError("foolbox", extra="attacks", needed_for=name) from error
        except Exception as error:
            raise _BrokenError(error) from error
    return getattr(attacks, name)(**settings)


class _BrokenError(MissingExtraError):
    """Foolbox is installed, but does not work with the other installed packages."""

    def __init__(self, error: Exception) -> None:
        super(MissingExtraError, self).__init__(
            "foolbox",
            required="a version that can be imported beside the other packages",
            got=f"{type(error).__name__}: {error}",
            remedy="Install what it was tested with: pip install --upgrade 'noiseproof[attacks]' 'scipy<2'",
        )


def run_foolbox(
    attack: Any,
    module: nn.Module,
    images: Float[Tensor, "batch *shape"],
    labels: Int[Tensor, " batch"],
    **options: Any,
) -> Float[Tensor, "batch *shape"]:
    """Return the points that a distance-minimising attack of Foolbox finds for a module that returns scores.

    Raises:
        ClassifierError: the module or Foolbox raised an error, which is quoted.
    """
    foolbox = importlib.import_module("foolbox")
    try:
        with memory_named(f"a batch of {len(images)} images under {type(attack).__name__}"):
            model = foolbox.PyTorchModel(module.eval(), bounds=(0.0, 1.0), device=images.device)
            found: Tensor = attack.run(model, images, labels, **options)
    except NoiseproofError:
        raise
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1].line  # its assertions have no words
        raise ClassifierError(
            "the classifier",
            required=f"one that Foolbox's {type(attack).__name__} can attack",
            got=f"{type(error).__name__}: {str(error) or where}",
            remedy="The same images must get the same answers: is a kernel not deterministic? Or take another attack.",
        ) from error
    return found.detach()


@contextmanager
def seeded(seed: int, index: int, device: torch.device) -> Iterator[None]:
    """Seed torch's global generator of a device by (seed, index), and restore its state afterwards.

    Foolbox samples from this generator and accepts no other.
    """
    state = int(np.random.SeedSequence([seed, index]).generate_state(1, np.uint64)[0])
    on_gpu = device.type == "cuda"
    with torch.random.fork_rng(devices=[device] if on_gpu else []):
        # of this device alone: torch.manual_seed would set every GPU's
        if on_gpu:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(state)
        else:
            torch.default_generator.manual_seed(state)
        yield


def queried_at_once(estimate: Callable[..., Any], wrong: Decide) -> Callable[..., Any]:
    """Return the gradient estimate of hop-skip-jump, which queries decisions one by one, with batched queries.

    The queries do not depend on the decisions. So the estimate runs twice with the same random numbers: once to record
    the queries, and once with their decisions, which were computed in a few large batches.

    Args:
        estimate: `approximate_gradients` of an attack of Foolbox, on one image.
        wrong: computes the decisions, instead of the function that Foolbox passes.
    """

    def run(_one_by_one: object, points: Any, steps: int, delta: Any) -> Any:
        queries: list[Tensor] = []

        def record(query: Any) -> Any:
            queries.append(query.raw)
            return type(query)(query.raw.new_ones(len(query), dtype=torch.bool))

        device = points.raw.device
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            estimate(record, points, steps, delta)
        decisions = iter(torch.split(wrong(torch.cat(queries)), len(points)))
        return estimate(lambda query: type(query)(next(decisions)), points, steps, delta)

    return run


def nearest_by_votes(
    prepare: Callable[[Decide], Any], defence: Defence, batch: Batch, norm: NormLike, eot_samples: int
) -> Float[Tensor, "batch *shape"]:
    """Run a decision-based attack of Foolbox against the majority under m fixed noise samples, on one image at a time.

    One image at a time, since hop-skip-jump divides the gradient of each image by the norm of the gradients of the whole
    batch, and boundary uses one direction for all images. Fixed noise, since both assert that adversarial points remain
    adversarial. The result is the nearest adversarial point of all queries: hop-skip-jump returns its last one, which may
    be further away than its starting point.

    Few samples may misclassify an image close to its decision boundary that many classify correctly. For such an image m
    is doubled until the majority is right, up to 1024, and the attack uses this m, which raises its cost in proportion.
    Images that 1024 samples misclassify too, and those without a starting point, are returned unchanged.

    Args:
        prepare: returns the attack, given the function that decides whether points of an image are adversarial.
        defence: the classifier under attack.
        batch: the images.
        norm: norm of the perturbation.
        eot_samples: m, the initial number of noise samples.
    """
    found = batch.images.clone()
    for row in range(len(batch)):
        image, label = batch.images[row : row + 1], batch.labels[row : row + 1]
        votes = _votes_that_are_right(defence, batch, row, eot_samples)
        start = None if votes is None else starting_point(votes, batch, row, norm)
        if votes is None or start is None:
            continue
        seen = _Watched(votes, batch, row, norm)
        with seeded(batch.seed, int(batch.indices[row]), image.device):
            run_foolbox(prepare(seen.wrong), seen, image, label, starting_points=start)
        found[row] = seen.nearest
    return found


def _votes_that_are_right(defence: Defence, batch: Batch, row: int, eot_samples: int) -> Votes | None:
    """Return votes with the fewest fixed samples (`eot_samples` times 1, 2, 4, ...) that classify the image correctly."""
    while True:
        votes = Votes(
            defence.network,
            defence.noise,
            defence.num_classes,
            eot_samples=eot_samples,
            fixed=True,
            seed=batch.seed,
            indices=batch.indices,
        )
        if int(votes(batch.images[row : row + 1], [row]).argmax(1)) == int(batch.labels[row]):
            return votes
        if defence.noise is None or eot_samples >= MOST_SAMPLES:
            return None
        eot_samples = min(2 * eot_samples, MOST_SAMPLES)


class _Watched(nn.Module):
    """Returns votes for points of one image, and stores the nearest adversarial point that was queried."""

    def __init__(self, votes: Votes, batch: Batch, row: int, norm: NormLike) -> None:
        super().__init__()
        self.votes, self.row, self.norm = votes, row, norm
        self.image, self.label = batch.images[row], int(batch.labels[row])
        self.nearest, self.length = self.image, math.inf

    def forward(self, images: Float[Tensor, "batch *shape"]) -> Float[Tensor, "batch classes"]:
        shares: Tensor = self.votes(images, [self.row] * len(images))
        lengths = distance(images, self.image.expand_as(images), self.norm)
        least, at = lengths.masked_fill(shares.argmax(1) == self.label, math.inf).min(0)
        if float(least) < self.length:
            self.nearest, self.length = images[at].clone(), float(least)
        return shares

    def wrong(self, points: Float[Tensor, "points *shape"]) -> Bool[Tensor, " points"]:
        """Return for each point whether its majority is not the label."""
        return self(points).argmax(1) != self.label  # type: ignore[no-any-return]


def starting_point(votes: Votes, batch: Batch, row: int, norm: NormLike) -> Float[Tensor, "1 *shape"] | None:
    """Return a point whose majority is not the label, near an image whose majority is; None where none is found.

    The candidates are the negative of the image, its mirror images, its cyclic shifts by half its size, black, grey,
    white and uniform noise in squares of 1, 2, 4 and 8 pixels (twice each), and the midpoints between these and the
    image. A bisection moves the adversarial ones towards the image, and the nearest is returned. No other image of the
    batch is used, so that the points of an image do not depend on its batch. It takes 32 queries for images with height
    and width, 10 for each adversarial candidate, and at least one that confirms the result.
    """
    image, label = batch.images[row : row + 1], int(batch.labels[row])

    def wrong(points: Float[Tensor, "points *shape"]) -> Bool[Tensor, " points"]:
        return votes(points, [row] * len(points)).argmax(1) != label  # type: ignore[no-any-return]

    ends = _ends(batch, row)
    ends = torch.cat([0.5 * (image + ends), ends])
    ends = ends[wrong(ends)]
    low, high = torch.zeros(len(ends), device=ends.device), torch.ones(len(ends), device=ends.device)
    for _ in range(_HALVINGS if len(ends) else 0):
        middle = 0.5 * (low + high)
        adversarial = wrong(_between(image, ends, middle))
        low, high = torch.where(adversarial, low, middle), torch.where(adversarial, middle, high)
    points = torch.cat([_between(image, ends, high), ends])
    order: Sequence[int] = distance(points, image.expand_as(points), norm).argsort().tolist()
    # alone in its batch, as Foolbox will see it: a network's rounding may depend on how many rows it is given
    return next((points[i : i + 1] for i in order if bool(wrong(points[i : i + 1]).all())), None)


def _between(
    image: Float[Tensor, "1 *shape"], ends: Float[Tensor, "ends *shape"], parts: Float[Tensor, " ends"]
) -> Float[Tensor, "ends *shape"]:
    return torch.lerp(image.expand_as(ends), ends, parts.view(-1, *[1] * (ends.ndim - 1))).clamp(0.0, 1.0)


def _ends(batch: Batch, row: int) -> Float[Tensor, "ends *shape"]:
    image, source = batch.images[row : row + 1], batch.source([row], 0)
    axes = range(max(1, image.ndim - 2), image.ndim)  # height and width, or the only one
    moved = [image.flip(axis) for axis in axes] + [image.roll(image.shape[axis] // 2, axis) for axis in axes]
    flat = [torch.full_like(image, grey) for grey in (0.0, 0.5, 1.0)]
    noise = [_coarse(source.uniform(image), axes, block) for block in _BLOCKS for _ in range(2)]
    return torch.cat([1.0 - image, *moved, *flat, *noise])


def _coarse(noise: Float[Tensor, "1 *shape"], axes: Sequence[int], block: int) -> Float[Tensor, "1 *shape"]:
    """Set all pixels of a block to the noise of its first pixel."""
    for axis in axes:
        index = torch.arange(noise.shape[axis], device=noise.device)
        noise = noise.index_select(axis, index - index % block)
    return noise
