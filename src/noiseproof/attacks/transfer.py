"""Transfer: attack another classifier, and take what fools it (Papernot, McDaniel & Goodfellow 2016)."""

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
    """An attack on another classifier, the source, whose points are tried on the defence, of which it knows the classes alone.

    Sources with another defence, or with none, reveal a defence that hides its gradients or decisions: a transferred
    point that beats the attack on the defence itself shows that the latter was too weak.

    Args:
        attack: what attacks the source, in any norm that it knows.
        source: the other classifier, on the device of the defence's images, without noise or with its own.
        source_name: what `spec` calls it: network, digest of its weights, noise. The source is no plain data.

    Raises:
        InvalidInputError: no name.
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
        """Those of the attack on the source."""
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
