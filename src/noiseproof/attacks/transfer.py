"""Transfer: attack another classifier, and evaluate the points found on the defence (Papernot, McDaniel & Goodfellow 2016)."""

from dataclasses import dataclass, field
from typing import ClassVar

from noiseproof.attacks.base import Attack
from noiseproof.attacks.batch import Batch, Finder
from noiseproof.attacks.defence import Defence
from noiseproof.errors import InvalidInputError
from noiseproof.perturbations.norms import Norm, NormLike

__all__ = ["Transfer"]


@dataclass(frozen=True)
class Transfer(Attack):
    """An attack on another classifier, the source, whose points are evaluated on the defence.

    Of the defence it uses the number of classes only. Sources with another defence, or with none, detect obfuscated
    gradients: if a transferred point is better than those of an attack on the defence itself, that attack was too weak.

    Args:
        attack: the attack on the source; the norm must be one that it supports.
        source: the other classifier, without noise or with its own, on the device of the images.
        source_name: name of the source in `spec`: network, digest of its weights, noise.

    Raises:
        InvalidInputError: the name is empty. On `begin`: source and defence have different numbers of classes, or the
            attack does not support the norm.
    """

    attack: Attack
    source: Defence = field(repr=False, compare=False)
    source_name: str

    norms: ClassVar[tuple[Norm, ...]] = (Norm.LINF, Norm.L2, Norm.L1)
    follows_gradients: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not self.source_name:
            raise InvalidInputError(
                "source_name",
                required="a name for records",
                got=repr(self.source_name),
                remedy="Name the network, the digest of its weights and its noise.",
            )

    @property
    def eot_samples(self) -> int:
        """Number of noise samples of the attack on the source."""
        return self.attack.eot_samples

    def begin(self, defence: Defence, batch: Batch, norm: NormLike) -> Finder:
        """Begin the attack on the source."""
        self.require_norm(norm)
        if self.source.num_classes != defence.num_classes:
            raise InvalidInputError(
                "the source",
                required=f"a classifier of the defence's {defence.num_classes} classes",
                got=self.source.num_classes,
                remedy="Labels must mean the same to both.",
            )
        return self.attack.begin(self.source, batch, norm)
