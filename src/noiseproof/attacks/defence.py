"""The classifier under attack: its network, its noise, and how its votes are computed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor, nn

from noiseproof.attacks.votes import Votes
from noiseproof.classifiers import accelerate, multiplies_bfloat16
from noiseproof.classifiers.runners import FunctionRunner, Kind, ModuleRunner, Runner
from noiseproof.errors import ClassifierError, InvalidInputError
from noiseproof.models.loaded import classifier_of
from noiseproof.noises import Noise
from noiseproof.perturbations.balls import distance
from noiseproof.perturbations.levels import on_levels, round_within
from noiseproof.perturbations.norms import NormLike
from noiseproof.randomness import Phase, Seed
from noiseproof.smoothing import SmoothedClassifier

__all__ = ["Defence", "gradient_precision"]


@dataclass(frozen=True)
class Defence:
    """A classifier under attack: the network that the attacker uses, and how votes are computed.

    Attributes:
        network: f as used by the attack, a torch module or a backend. Gradient-based attacks need a module.
        noise: the noise distribution of the defence; None for a classifier without noise.
        num_classes: k.
        voter: f as used for the votes: a module, a backend such as `classifiers.accelerate` returns, or a function.
            None: the network.
        batch_size: images per call of the voter; None chooses it by image size.
        sampler: how noise is added in the votes, one of `sampling.SAMPLERS`. With "exact", adversarial points are 8-bit
            images. The noise of the attack itself is added in floating point.
    """

    network: nn.Module | Runner
    noise: Noise | None
    num_classes: int
    voter: Callable[[Any], Any] | None = None
    batch_size: int | None = None
    sampler: str = "float"

    @classmethod
    def of(cls, classifier: object, image: Float[Tensor, "1 *shape"], *, kind: Kind = "torch") -> "Defence":
        """Return the defence for a classifier that a user passes to an attack.

        Args:
            classifier: a `SmoothedClassifier`; or a module, a backend or a function that returns class scores, which is
                attacked without noise; or a `Defence`, which is returned.
            image: one image, which gives the number of classes of a classifier without noise.
            kind: type of the arrays with which a plain function is called, "torch" or "numpy".

        Raises:
            InvalidInputError: the classifier is none of these.
            ClassifierError: a classifier without noise failed, or returned no scores.
        """
        if isinstance(classifier, cls):
            return classifier
        classifier = classifier_of(classifier)
        if isinstance(classifier, SmoothedClassifier):
            base = classifier.classifier.reading(kind)
            noise, num_classes, batch_size = classifier.noise, base.num_classes, classifier.batch_size
            sampler = classifier.sampler
            function, voter = base.function, base.runner
        elif callable(classifier):
            function, voter = classifier, _backend(classifier, kind)
            noise, num_classes, batch_size, sampler = None, _classes(voter, image), None, "float"
        else:
            raise InvalidInputError(
                "the classifier",
                required="a SmoothedClassifier, or a classifier without noise that returns scores",
                got=type(classifier).__name__,
                remedy="Example: SmoothedClassifier(network, Gaussian(sigma=0.25), num_classes=10).",
            )
        network = function if isinstance(function, nn.Module) else _open(voter)
        return cls(network, noise, num_classes, voter, batch_size, sampler)

    def votes(
        self, points: Float[Tensor, "batch *shape"], indices: Sequence[int], *, samples: int, seed: int
    ) -> Int[np.ndarray, "batch classes"]:
        """Return votes on points with noise independent of all attacks; without noise, one vote for its label."""
        if self._smoothed is not None:
            return self._smoothed.count(points, samples=samples, seed=seed, indices=indices, phase=Phase.JUDGE)
        counts: Int[np.ndarray, "batch classes"] = self._plain(points).cpu().numpy().astype(np.int64)
        return counts

    def engine(self, seed: Seed = 0) -> dict[str, Any]:
        """Return the settings that determine the votes besides classifier, noise and seed, among them the generator."""
        return (
            self._plain.classifier.runner.settings()
            if self._smoothed is None
            else self._smoothed.counter.settings(seed)
        )

    @property
    def device(self) -> torch.device:
        """The device on which votes are computed."""
        return (self._plain if self._smoothed is None else self._smoothed).classifier.device

    def allowed(
        self,
        points: Float[Tensor, "rows *shape"],
        images: Float[Tensor, "rows *shape"],
        norm: NormLike,
        epsilons: Float64[Tensor, " rows"],
    ) -> tuple[Float[Tensor, "rows *shape"], Float64[Tensor, " rows"]]:
        """Return the points found by an attack as valid inputs of the defence, and their distances from the images.

        With the sampler "float" points are not changed; with "exact" they are rounded to 8-bit images within epsilon.

        Args:
            points: points found by an attack.
            images: the clean images.
            norm: norm of the perturbation.
            epsilons: the largest distance of each point, in units of a pixel in [0, 1].
        """
        if self.sampler == "float":
            return points, distance(points, images, norm)
        rounded = round_within(points, images, norm, epsilons)
        return rounded, distance(on_levels(rounded), on_levels(images), norm)

    def try_out(self, images: Float[Tensor, "batch *shape"]) -> None:
        """Try the classifier on a few images.

        Raises:
            ClassifierError: it failed, or its output depends on the batch: see `BaseClassifier.probe`.
        """
        if self._smoothed is None:
            self._plain.classifier.probe(images, self.batch_size or len(images))
        else:
            self._smoothed.counter.try_out(images)

    @cached_property
    def _smoothed(self) -> SmoothedClassifier | None:
        """The classifier that votes; None without noise."""
        if self.noise is None:
            return None
        return SmoothedClassifier(
            self._voter, self.noise, self.num_classes, batch_size=self.batch_size, sampler=self.sampler
        )

    @cached_property
    def _plain(self) -> Votes:
        """The classifier that votes without noise."""
        voter = self._voter if isinstance(self._voter, nn.Module | Runner) else FunctionRunner(self._voter, "torch")
        return Votes(voter, None, self.num_classes, batch_size=self.batch_size)

    @property
    def _voter(self) -> Callable[[Any], Any]:
        return self.network if self.voter is None else self.voter


def gradient_precision(precision: str, device: torch.device) -> str:
    """Return the precision of the gradients of an attack: "bf16" if votes use bf16 or int8 and the device supports it.

    Args:
        precision: precision of the votes.
        device: the device of the network.

    Returns:
        "bf16", or else "fp32".
    """
    coarse = precision in {"bf16", "int8"}
    return "bf16" if coarse and multiplies_bfloat16(device) else "fp32"


def _backend(classifier: Callable[[Any], Any], kind: Kind) -> Runner:
    if isinstance(classifier, Runner):
        return classifier
    return ModuleRunner(classifier) if isinstance(classifier, nn.Module) else FunctionRunner(classifier, kind)


def _open(voter: Runner) -> Runner:
    """Return a backend with the same weights that has gradients and accepts any batch size, where the voter has a module."""
    shut = getattr(voter, "compiled", False) or voter.batch_size is not None
    if not shut or voter.module is None:
        return voter
    return accelerate(
        voter.module, precision=gradient_precision(voter.settings()["precision"], voter.device), device=voter.device
    )


def _classes(voter: Runner, image: Float[Tensor, "1 *shape"]) -> int:
    """Return the number of scores that a classifier gives for an image."""
    fed = image.to(voter.device)
    if voter.batch_size is not None:
        fed = fed.expand(voter.batch_size, *image.shape[1:])
    able = f"able to take a float32 {voter.kind} batch of shape {tuple(fed.shape)}"
    remedy = "Is it the classifier of these images?"
    with ClassifierError.instead_of(Exception, "the classifier", required=able, remedy=remedy), torch.no_grad():
        output = voter(fed.numpy() if voter.kind == "numpy" else fed.clone())
    shape: tuple[int, ...] = tuple(getattr(output, "shape", ()))
    if len(shape) != 2:
        raise ClassifierError(
            "the output of a classifier without noise",
            required="scores (1, classes) for one image",
            got=f"{type(output).__name__} of shape {shape}",
            remedy="For a classifier of labels pass Defence(classifier, None, num_classes).",
        )
    return int(shape[1])
