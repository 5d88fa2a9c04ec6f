"""What is attacked: a classifier, the noise it adds, and how it votes."""

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
    """A classifier under attack: what its attacker knows, and how it votes.

    Attributes:
        network: f as the attacker has it, a torch module or a backend. Attacks on decisions take any; those that follow
            gradients need a module.
        noise: the defence's own; None for a classifier that adds none.
        num_classes: k.
        voter: f as it votes: a module, a backend such as `classifiers.accelerate` makes, or a function. None is the
            network.
        batch_size: images per call of the voter; None chooses by image size.
        sampler: how noise is added to what is voted on, one of `sampling.SAMPLERS`. With "exact" an attacker has 8-bit
            images to choose from. Attackers' own noise is added in floating point.
    """

    network: nn.Module | Runner
    noise: Noise | None
    num_classes: int
    voter: Callable[[Any], Any] | None = None
    batch_size: int | None = None
    sampler: str = "float"

    @classmethod
    def of(cls, classifier: object, image: Float[Tensor, "1 *shape"], *, kind: Kind = "torch") -> "Defence":
        """Return what a user passes to an attack as a defence.

        Args:
            classifier: a `SmoothedClassifier`; or a module, a backend or a function that returns class scores, which is
                attacked as it is, without noise; or a `Defence`.
            image: one image, on which the classes of a classifier without noise are counted.
            kind: the arrays that a plain function is called with.

        Raises:
            InvalidInputError: something else.
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
        """Return votes on points, by noise that no attack has seen; without noise the one answer of the classifier."""
        if self._smoothed is not None:
            return self._smoothed.count(points, samples=samples, seed=seed, indices=indices, phase=Phase.JUDGE)
        counts: Int[np.ndarray, "batch classes"] = self._plain(points).cpu().numpy().astype(np.int64)
        return counts

    def engine(self, seed: Seed = 0) -> dict[str, Any]:
        """Return what decides the votes beside classifier, noise and seed; it names the generator that the seed is for."""
        return (
            self._plain.classifier.runner.settings()
            if self._smoothed is None
            else self._smoothed.counter.settings(seed)
        )

    @property
    def device(self) -> torch.device:
        """Where it runs."""
        return (self._plain if self._smoothed is None else self._smoothed).classifier.device

    def allowed(
        self,
        points: Float[Tensor, "rows *shape"],
        images: Float[Tensor, "rows *shape"],
        norm: NormLike,
        epsilons: Float64[Tensor, " rows"],
    ) -> tuple[Float[Tensor, "rows *shape"], Float64[Tensor, " rows"]]:
        """Return the points that the defence can be shown for those that an attack found, and their distances.

        Args:
            points: that were found.
            images: the clean ones.
            norm: in which distances are measured.
            epsilons: the largest distance of each point.
        """
        if self.sampler == "float":
            return points, distance(points, images, norm)
        rounded = round_within(points, images, norm, epsilons)
        return rounded, distance(on_levels(rounded), on_levels(images), norm)

    def try_out(self, images: Float[Tensor, "batch *shape"]) -> None:
        """Try the classifier on a few images.

        Raises:
            ClassifierError: it failed, or depends on its batch: see `BaseClassifier.probe`.
        """
        if self._smoothed is None:
            self._plain.classifier.probe(images, self.batch_size or len(images))
        else:
            self._smoothed.counter.try_out(images)

    @cached_property
    def _smoothed(self) -> SmoothedClassifier | None:
        """What votes; None for a classifier without noise."""
        if self.noise is None:
            return None
        return SmoothedClassifier(
            self._voter, self.noise, self.num_classes, batch_size=self.batch_size, sampler=self.sampler
        )

    @cached_property
    def _plain(self) -> Votes:
        """What votes where there is no noise."""
        voter = self._voter if isinstance(self._voter, nn.Module | Runner) else FunctionRunner(self._voter, "torch")
        return Votes(voter, None, self.num_classes, batch_size=self.batch_size)

    @property
    def _voter(self) -> Callable[[Any], Any]:
        return self.network if self.voter is None else self.voter


def gradient_precision(precision: str, device: torch.device) -> str:
    """Return the arithmetic in which an attack follows gradients of a classifier: of 16 bits where its votes are of 16 or 8.

    Args:
        precision: of the votes.
        device: where it runs.
    """
    coarse = precision in {"bf16", "int8"}
    return "bf16" if coarse and multiplies_bfloat16(device) else "fp32"


def _backend(classifier: Callable[[Any], Any], kind: Kind) -> Runner:
    if isinstance(classifier, Runner):
        return classifier
    return ModuleRunner(classifier) if isinstance(classifier, nn.Module) else FunctionRunner(classifier, kind)


def _open(voter: Runner) -> Runner:
    """Return a backend that attacks can differentiate and ask for few rows at a time, of the same weights if it has any."""
    shut = getattr(voter, "compiled", False) or voter.batch_size is not None
    if not shut or voter.module is None:
        return voter
    return accelerate(
        voter.module, precision=gradient_precision(voter.settings()["precision"], voter.device), device=voter.device
    )


def _classes(voter: Runner, image: Float[Tensor, "1 *shape"]) -> int:
    """Count the scores that a classifier gives an image."""
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
