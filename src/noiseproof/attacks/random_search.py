"""Random search, the baseline of every other attack: the best of many random points (Athalye et al. 2018)."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from noiseproof.attacks.base import Attack
from noiseproof.attacks.batch import Batch, Finder
from noiseproof.attacks.defence import Defence
from noiseproof.attacks.expectation import margin
from noiseproof.attacks.incumbents import IncumbentFinder, Problem
from noiseproof.attacks.votes import Votes
from noiseproof.errors import require_count
from noiseproof.perturbations.balls import per_image, project, steepest
from noiseproof.perturbations.norms import Norm, NormLike
from noiseproof.plugins import recorded_as
from noiseproof.randomness import RandomSource

__all__ = ["RandomSearch"]


@dataclass(frozen=True)
class RandomSearch(Attack):
    """Return the one of `tries` random points on the surface of the ball with the largest margin of votes.

    l_inf: corners of the cube. l_2 and l_1: uniform on the sphere of that norm. Then clamped to [0, 1]. If a
    gradient-based attack finds less than this search, the gradients are obfuscated or the attack is broken (Athalye et
    al. 2018, section 3.1).

    All tries use the same m noise samples, so margins differ by the points only. The best point is partly fitted to
    these samples, so its margin is smaller under the fresh noise that evaluates it.

    Args:
        tries: number of points at each epsilon.
        eot_samples: m, the number of votes on each point.

    Raises:
        InvalidInputError: a count below 1.
    """

    tries: int = 100
    eot_samples: int = field(default=16, metadata=recorded_as("draws"))

    norms: ClassVar[tuple[Norm, ...]] = (Norm.LINF, Norm.L2, Norm.L1)
    follows_gradients: ClassVar[bool] = False

    def __post_init__(self) -> None:
        require_count("tries", self.tries, 1, "100 is usual.")
        require_count("eot_samples", self.eot_samples, 1, "Each is a vote; 16 tell margins of a quarter apart.")

    def begin(self, defence: Defence, batch: Batch, norm: NormLike) -> Finder:
        """Prepare the votes."""
        self.require_norm(norm)
        return _RandomFinder(self, defence, batch, norm)


class _RandomFinder(IncumbentFinder):
    def __init__(self, attack: RandomSearch, defence: Defence, batch: Batch, norm: NormLike) -> None:
        super().__init__(batch, norm)
        self.tries = attack.tries
        self.votes = Votes(
            defence.network,
            defence.noise,
            num_classes=defence.num_classes,
            eot_samples=attack.eot_samples,
            seed=batch.seed,
            indices=batch.indices,
            fixed=True,
        )

    def candidates(self, problem: Problem) -> Iterator[Float[Tensor, "rows *shape"]]:
        for number in range(problem.number * self.tries, (problem.number + 1) * self.tries):
            yield _on_surface(problem.images, self.norm, problem.epsilons, self.batch.source(problem.rows, number))

    def score(self, points: Float[Tensor, "rows *shape"], problem: Problem) -> Float[Tensor, " rows"]:
        return margin(self.votes(points, problem.rows), problem.labels)


def _on_surface(
    images: Float[Tensor, "rows *shape"], norm: NormLike, epsilons: Float64[Tensor, " rows"], source: RandomSource
) -> Float[Tensor, "rows *shape"]:
    signs = torch.where(source.uniform(images) < 0.5, -1.0, 1.0)
    if norm == "linf":
        offset = signs
    elif norm == "l2":
        offset = steepest(source.normal(images), "l2")
    else:
        lengths = source.exponential(images)
        offset = signs * lengths / per_image(lengths.flatten(1).sum(1), images)
    return project(images + per_image(epsilons, images) * offset, images, norm, epsilons)
