"""The interface of an attack: a search for inputs close to images that a classifier gets wrong."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, final

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from noiseproof.attacks.batch import Batch, Finder
from noiseproof.attacks.defence import Defence
from noiseproof.attacks.escalation import AttackResult, escalate, images_together, require_epsilons
from noiseproof.bounds import votes_to_verify
from noiseproof.bounds.base import require_alpha
from noiseproof.certified import require_enough_samples
from noiseproof.classifiers.inputs import Images, as_indices, as_pixels
from noiseproof.errors import InvalidInputError, require_count
from noiseproof.perturbations.norms import Norm, NormLike
from noiseproof.plugins import spec_of
from noiseproof.randomness import require_seed
from noiseproof.smoothing import SmoothedClassifier

__all__ = ["Attack", "require_verdicts"]

_TRIED = 16
"""Number of images on which the classifier is tried before the attack."""


class Attack(ABC):
    """An attack: a frozen dataclass of its settings. Subclasses implement `begin`.

    The points found for an image depend on (defence, image, label, index, seed, norm) and the smaller epsilons, but not
    on the other images of its batch, up to the rounding of the network.

    Example:
        >>> import noiseproof as npf
        >>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2))
        >>> smoothed = npf.SmoothedClassifier(network, npf.Gaussian(sigma=0.25), num_classes=2)
        >>> images, labels = torch.full((3, 1, 2, 2), 0.5), torch.zeros(3, dtype=torch.int64)
        >>> attack = npf.attacks.PGD(steps=5)
        >>> attack(smoothed, images, labels, epsilons=[0.25, 0.5], norm="l2").points.shape
        torch.Size([2, 3, 1, 2, 2])
    """

    norms: ClassVar[tuple[Norm, ...]]
    """The norms of perturbations that it supports."""

    follows_gradients: ClassVar[bool]
    """Whether it needs a differentiable network."""

    @property
    @abstractmethod
    def eot_samples(self) -> int:
        """Number of noise samples that estimate an expectation: copies of an image in one pass through the network."""

    @abstractmethod
    def begin(self, defence: Defence, batch: Batch, norm: NormLike) -> Finder:
        """Prepare the attack on a batch, and return the function that finds points, called with increasing epsilons.

        A point lies within epsilon of its image, by `balls.distance` up to the rounding of float64, and in [0, 1].
        Finders check their epsilons by `as_epsilons`.

        Raises:
            InvalidInputError: the attack does not support the norm or the defence.
            ClassifierError: the network failed.
        """

    @final
    def __call__(
        self,
        classifier: SmoothedClassifier | Defence | Callable[[Any], Any],
        images: Images,
        labels: Tensor | np.ndarray | Sequence[int],
        *,
        epsilons: Sequence[float],
        norm: NormLike,
        samples: int = 1000,
        alpha: float = 0.001,
        seed: int = 0,
        indices: Sequence[int] | None = None,
    ) -> AttackResult:
        """Attack images at every epsilon, and evaluate the points found by votes with fresh noise.

        Images whose clean votes are already wrong are not attacked. At each epsilon, in increasing order, the attack
        searches for points of the images that are not yet wrong; an image that is wrong at one epsilon keeps its point
        at all larger ones.

        Args:
            classifier: the classifier under attack: a smoothed classifier, whose noise distribution the attacker knows;
                or a torch module, a backend or a function that returns class scores, attacked without noise.
            images: (images, *shape), float, finite, in [0, 1]; torch or NumPy.
            labels: the true classes.
            epsilons: sizes of the attack, increasing, in units of a pixel in [0, 1].
            norm: norm of the perturbation: "l2", "linf" or "l1", if the attack supports it.
            samples: number of votes on each point, with noise independent of the attack; without noise the classifier
            is
                evaluated once.
            alpha: probability, at most, that the votes select a class other than the most probable one; otherwise they
                abstain.
            seed: key of all randomness. The same seed gives the same points and votes.
            indices: the key of each image's randomness; None numbers the images from 0.

        Raises:
            InvalidInputError: images outside [0, 1], labels that are no classes, a norm that the attack does not support,
                epsilons that do not increase, or too few samples for any verdict at this alpha.
            ClassifierError: the classifier raised an error, or lacks the gradients that the attack needs.
        """
        self.require_norm(norm)
        wanted = require_epsilons(epsilons)
        pixels = as_pixels(images)
        keys = as_indices(indices, len(pixels))
        require_seed(seed)
        require_count("images", len(pixels), 1, "An attack needs images.")
        defence = Defence.of(classifier, pixels[:1], kind="torch" if isinstance(images, Tensor) else "numpy")
        require_verdicts(samples, alpha, noisy=defence.noise is not None)
        classes = _classes(labels, len(pixels), defence.num_classes).to(defence.device)
        pixels = pixels.to(defence.device)
        defence.try_out(pixels[:_TRIED])
        levels = wanted if wanted[0] == 0.0 else [0.0, *wanted]
        together = images_together(pixels.shape[1:], 1 if defence.noise is None else self.eot_samples)
        parts = []
        for first in range(0, len(pixels), together):
            part = slice(first, first + together)
            batch = Batch(pixels[part], classes[part], keys[part], seed)
            allowed = np.repeat(np.asarray(levels)[:, None], len(batch), axis=1)
            find = self.begin(defence, batch, norm)
            parts.append(escalate(find, defence, batch, allowed, norm, samples=samples, alpha=alpha))
        return AttackResult(
            torch.cat([part.points for part in parts], 1)[-len(wanted) :],
            *(
                np.concatenate([getattr(part, name) for part in parts], axis=1)[-len(wanted) :]
                for name in ("distances", "votes", "verdicts")
            ),
        )

    @final
    def spec(self) -> dict[str, Any]:
        """Return the attack as plain data: its name and settings."""
        return spec_of(self)

    @final
    def require_norm(self, norm: NormLike) -> None:
        """Raise `InvalidInputError` unless the attack measures distances in this norm."""
        if Norm(norm) not in self.norms:
            raise InvalidInputError(
                "norm",
                required=f"{' or '.join(self.norms)} for {type(self).__name__}",
                got=repr(str(norm)),
                remedy="Choose another norm or another attack; PGD and random search have all three.",
            )


def require_verdicts(samples: int, alpha: float, *, noisy: bool) -> None:
    """Raise `InvalidInputError` unless this number of votes, if unanimous, can select a class at level alpha."""
    require_count("samples", samples, 1, "Pass another one.")
    require_alpha(alpha)
    if noisy:
        require_enough_samples(samples, votes_to_verify(alpha), alpha)


def _classes(labels: Any, images: int, num_classes: int) -> Int[Tensor, " images"]:
    found = torch.as_tensor(np.asarray(labels) if not isinstance(labels, Tensor) else labels)
    whole = not (found.is_floating_point() or found.is_complex() or found.dtype == torch.bool)
    if not whole or found.shape != (images,) or bool(((found < 0) | (found >= num_classes)).any()):
        raise InvalidInputError(
            "labels",
            required=f"whole numbers from 0 to {num_classes - 1}, one for each of the {images} images",
            got=f"{found.dtype} of shape {tuple(found.shape)}, {found.flatten()[:5].tolist()}",
            remedy="Pass the class of each image.",
        )
    return found.long()
