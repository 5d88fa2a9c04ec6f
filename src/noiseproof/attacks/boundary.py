"""The boundary attack (Brendel et al. 2018): a random walk along the boundary, by decisions alone."""

from dataclasses import dataclass, field
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from noiseproof.attacks.batch import Batch
from noiseproof.attacks.defence import Defence
from noiseproof.attacks.foolbox_bridge import foolbox_attack, nearest_by_votes
from noiseproof.attacks.nearest import NearestAttack
from noiseproof.errors import require_count
from noiseproof.perturbations.norms import Norm, NormLike
from noiseproof.plugins import recorded_as

__all__ = ["BoundaryAttack"]


@dataclass(frozen=True)
class BoundaryAttack(NearestAttack):
    """Boundary attack (Brendel et al. 2018), Foolbox's, on the majority of m votes, the same m noises in every query.

    Starts are `starting_point`'s. Steps adapt after every proposal: by default Foolbox waits for 100 observations, one
    every ten steps, so that walks of under 1000 steps never adapt.

    The weakest of the attacks for its cost, 2 steps m rows an image: 64 000 by default. On a half-space of 36 pixels 500
    steps come within 1.03 of the smallest distance; on one of 784 pixels 1000 steps come within 1.9 and 2000 within
    1.5, where hop-skip-jump comes within 1.25 by 2300 queries. Images that m samples call wrong by chance have
    more of them, see `nearest_by_votes`.

    Args:
        steps: proposals, of two queries each.
        eot_samples: m.

    Raises:
        InvalidInputError: a count below 1.
    """

    steps: int = 1000
    eot_samples: int = field(default=32, metadata=recorded_as("draws"))

    norms: ClassVar[tuple[Norm, ...]] = (Norm.L2,)
    follows_gradients: ClassVar[bool] = False

    def __post_init__(self) -> None:
        require_count("steps", self.steps, 1, "1000 and more for images of 28 x 28 pixels.")
        require_count("eot_samples", self.eot_samples, 1, "32 and more make a majority that fresh samples share.")

    def nearest(self, defence: Defence, batch: Batch, norm: NormLike) -> Float[Tensor, "batch *shape"]:
        """Walk from every image's start towards the image, one image at a time."""
        attack = foolbox_attack("BoundaryAttack", steps=self.steps, spherical_step=0.1, update_stats_every_k=1)
        return nearest_by_votes(lambda _: attack, defence, batch, norm, self.eot_samples)
