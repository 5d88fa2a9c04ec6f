"""Attacks that look for the nearest adversarial input, whatever its distance, and how they answer for a size."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from noiseproof.attacks.base import Attack
from noiseproof.attacks.batch import Batch, Finder, as_epsilons
from noiseproof.attacks.defence import Defence
from noiseproof.attacks.expectation import differentiable, margin
from noiseproof.attacks.votes import Votes
from noiseproof.perturbations.balls import distance, per_image, project
from noiseproof.perturbations.norms import NormLike

__all__ = ["NearestAttack"]

_LADDER = (1.0, 1.02, 1.05, 1.1, 1.25, 1.5)
"""How far beyond what was found points are tried, in its distances."""

_SAMPLES = 64
"""Votes on each of them."""


class NearestAttack(Attack):
    """An attack that searches for one point, the nearest it can find, and not for one at every epsilon.

    With x' found at distance d, the point for an epsilon e is the one of

        x + t (x' - x)      t d in {d, 1.02 d, 1.05 d, 1.1 d, 1.25 d, 1.5 d} up to e, and t d = e

    clamped to the box, that has the greatest margin max_{c != y} s_c - s_y by 64 votes s, the last of them
    where others have no greater one: an x' on the boundary by few samples flips about half of fresh votes, a point a bit
    further most of them. Without noise all that are across have the margin 1, and the farthest is the surest, the
    more so where it is tried on another classifier (`Transfer`). Below d only t d = e is left.
    The votes are the attacker's, by noise that did not find x'. They cost 6 * 64 rows an image once, and 64 an epsilon.
    """

    @abstractmethod
    def nearest(self, defence: Defence, batch: Batch, norm: NormLike) -> Float[Tensor, "batch *shape"]:
        """Return the nearest point found for every image, in [0, 1]; the image itself where there is none.

        Raises:
            ClassifierError: the network failed.
        """

    @final
    def begin(self, defence: Defence, batch: Batch, norm: NormLike) -> Finder:
        """Return what places points; the search itself runs at its first call, for the whole batch."""
        self.require_norm(norm)
        if self.follows_gradients:
            differentiable(defence.network)
        return _Placement(self, defence, batch, norm)


class _Placement:
    """The finder: where on the way to what was found to stand, for each size."""

    def __init__(self, attack: NearestAttack, defence: Defence, batch: Batch, norm: NormLike) -> None:
        self._search: Callable[[], Tensor] = partial(attack.nearest, defence, batch, norm)
        self._batch, self._norm = batch, norm
        self._votes = Votes(
            defence.network,
            defence.noise,
            defence.num_classes,
            eot_samples=_SAMPLES,
            fixed=True,
            seed=batch.seed ^ (1 << 63),  # noise that did not find the points
            indices=batch.indices,
        )
        self._ladder: _Ladder | None = None

    def __call__(self, epsilons: Float[Tensor, " rows"], rows: Sequence[int]) -> Float[Tensor, "rows *shape"]:
        epsilon = as_epsilons(epsilons, rows)
        ladder = self._ladder = self._ladder or self._climbed()
        way = ladder.way
        chosen = torch.tensor(list(rows), dtype=torch.int64, device=epsilon.device)
        points = way.at(epsilon, chosen)
        within = ladder.lengths[chosen] <= epsilon[:, None]
        near = (within.any(1) & (way.length[chosen] > 0.0)).nonzero()[:, 0]
        whole = self._margin(points[near], chosen[near])
        best, rung = ladder.margins[chosen[near]].masked_fill(~within[near], -torch.inf).max(1)
        shorter = best > whole
        lengths = ladder.lengths[chosen[near]].gather(1, rung[:, None])[:, 0]
        points[near[shorter]] = way.at(lengths[shorter], chosen[near[shorter]])
        return points

    def _climbed(self) -> "_Ladder":
        way = _Way(self._search(), self._batch.images, self._norm)
        every = torch.arange(len(self._batch), device=way.length.device)
        margins = [self._margin(way.at(way.length * rung, every), every) for rung in _LADDER]
        return _Ladder(way, torch.stack([way.length * rung for rung in _LADDER], 1), torch.stack(margins, 1))

    def _margin(self, points: Float[Tensor, "rows *shape"], rows: Int[Tensor, " rows"]) -> Float[Tensor, " rows"]:
        return margin(self._votes(points, rows.tolist()), self._batch.labels[rows])


class _Way:
    """The straight way from every image through what was found, clamped to the box."""

    def __init__(
        self, found: Float[Tensor, "batch *shape"], images: Float[Tensor, "batch *shape"], norm: NormLike
    ) -> None:
        self.images, self.norm = images, norm
        self.length = distance(found, images, norm)
        offset = found.double() - images.double()
        self.direction = offset / per_image(torch.where(self.length > 0.0, self.length, 1.0), offset)

    def at(self, lengths: Float[Tensor, " rows"], rows: Int[Tensor, " rows"]) -> Float[Tensor, "rows *shape"]:
        """Return the points so far along the ways of these rows; the images where nothing was found."""
        images, direction = self.images[rows], self.direction[rows]
        points = images.double() + per_image(lengths, direction) * direction
        return project(points.to(images.dtype), images, self.norm, lengths)


@dataclass(frozen=True)
class _Ladder:
    """Rungs on the ways of all images, and the margins that fresh votes give them."""

    way: _Way
    lengths: Float[Tensor, "batch rungs"]
    margins: Float[Tensor, "batch rungs"]
