"""What stands between noiseproof and the attacks of Foolbox (Rauber et al. 2017, 2020): the extra `attacks`."""

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
"""Which of some points are adversarial."""

_BLOCKS = (1, 2, 4, 8)
"""Pixels along the sides of the squares of noise that attacks on decisions start from."""

_HALVINGS = 10
"""Bisections of the way from the image to each start."""

MOST_SAMPLES = 1024
"""Of an attacker who tests whether an image is wrong already."""


def foolbox_attack(name: str, **settings: Any) -> Any:
    """Return Foolbox's attack of that name.

    Raises:
        MissingExtraError: Foolbox is not installed, or cannot be imported beside the other packages.
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
    """Foolbox is there, but not for what else is."""

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
    """Return the points that a minimising attack of Foolbox finds for a module of scores, as they are.

    Raises:
        ClassifierError: the module failed, or Foolbox did, with its reason.
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
    """Let torch's global generator of a device start from (seed, index), and give it back as it was.

    Foolbox samples from that generator and accepts no other.
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
    """Return hop-skip-jump's estimate of a gradient, which queries decisions one by one, with all queries at once.

    Its queries do not depend on the decisions. So it runs twice with the same random numbers: once to record the queries,
    and once with their decisions, which were made in a few large batches.

    Args:
        estimate: `approximate_gradients` of an attack of Foolbox, on one image.
        wrong: what decides in place of what it is given.
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
    """Run one of Foolbox's attacks on decisions against the majority under m fixed samples of noise, on one image at a time.

    One at a time, since hop-skip-jump divides every image's gradient by the norm of the whole batch's, and boundary gives
    one direction to all. Fixed noise, since both assert that a point that was adversarial still is. The result is the
    nearest adversarial point of all queries: hop-skip-jump ends on its last one, which may be further away than its start.

    Few samples may call an image near its boundary wrong that many call right. There m is doubled until the majority is
    right, and the attack uses so many samples: up to 1024 / m times its cost, for the images that are the weakest.
    Images that are wrong by 1024 samples too, and those without a start, stay as they are.

    Args:
        prepare: returns the attack, given what decides about the points of an image.
        defence: the classifier.
        batch: the images.
        norm: in which points are near.
        eot_samples: m, at first.
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
    """Return votes by the fewest fixed samples, `eot_samples` times 1, 2, 4 .., whose majority on the image is its label."""
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
    """The votes on one image, and the nearest adversarial point that was queried."""

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
        """Which points have another majority than the label."""
        return self(points).argmax(1) != self.label  # type: ignore[no-any-return]


def starting_point(votes: Votes, batch: Batch, row: int, norm: NormLike) -> Float[Tensor, "1 *shape"] | None:
    """Return a point whose majority is not the label, near an image whose majority is; None where none is found.

    Tried are, on the ways from it to its negative, its mirror images, itself moved by half its size, grey, black, white
    and uniform noise in squares of 1, 2, 4 and 8 pixels (twice each), the ends and the middles. Those that are
    adversarial are bisected towards the image, and the nearest is returned. No other image of the batch is used: what is
    found for an image must not depend on its companions. 32 queries, then 11 for each start that is adversarial.
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
    """Let blocks of pixels have the noise of their first one."""
    for axis in axes:
        index = torch.arange(noise.shape[axis], device=noise.device)
        noise = noise.index_select(axis, index - index % block)
    return noise
