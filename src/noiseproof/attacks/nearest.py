"""Attacks that search for the nearest adversarial input, and how points for a given epsilon follow from it."""

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
"""Distances at which points are tried, as multiples of the distance of the point that was found."""

_SAMPLES = 64
"""Number of votes on each of these points."""


class NearestAttack(Attack):
    """An attack that searches for one point per image, the nearest adversarial one, instead of one for every epsilon.

    If it finds x' at distance d from x, the candidates for an epsilon e are

        x + t (x' - x)      t d in {d, 1.02 d, 1.05 d, 1.1 d, 1.25 d, 1.5 d} up to e, and t d = e

    clamped to the box. The one with the largest margin max_{c != y} s_c - s_y is returned, where s are the class
    frequencies of 64 votes; if it is tied with t d = e, the latter is returned. Near the boundary, where x' lies, about
    half of fresh votes remain right, and slightly further away most are wrong. Without noise all adversarial candidates
    have margin 1, and t d = e is the most robust choice, in particular on another classifier (`Transfer`). For e < d only
    t d = e is a candidate. The noise of these votes is independent of the search. They cost 6 * 64 rows an image once,
    and 64 for every epsilon.
    """

    @abstractmethod
    def nearest(self, defence: Defence, batch: Batch, norm: NormLike) -> Float[Tensor, "batch *shape"]:
        """Return the nearest adversarial point found for each image, in [0, 1]; the image itself where none is found.

        Raises:
            ClassifierError: the network failed.
        """

    @final
    def begin(self, defence: Defence, batch: Batch, norm: NormLike) -> Finder:
        """Return the finder; its first call runs the search, for the whole batch."""
        self.require_norm(norm)
        if self.follows_gradients:
            differentiable(defence.network)
        return _Placement(self, defence, batch, norm)


class _Placement:
    """The finder: chooses for each epsilon a point on the line from the image through the point that was found."""

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
    """The line from each image through the point that was found, clamped to the box."""

    def __init__(
        self, found: Float[Tensor, "batch *shape"], images: Float[Tensor, "batch *shape"], norm: NormLike
    ) -> None:
        self.images, self.norm = images, norm
        self.length = distance(found, images, norm)
        offset = found.double() - images.double()
        self.direction = offset / per_image(torch.where(self.length > 0.0, self.length, 1.0), offset)

    def at(self, lengths: Float[Tensor, " rows"], rows: Int[Tensor, " rows"]) -> Float[Tensor, "rows *shape"]:
        """Return the points at these distances on the lines of these rows; the images where nothing was found."""
        images, direction = self.images[rows], self.direction[rows]
        points = images.double() + per_image(lengths, direction) * direction
        return project(points.to(images.dtype), images, self.norm, lengths)


@dataclass(frozen=True)
class _Ladder:
    """Distances of candidates on the lines of all images, and their margins by fresh votes."""

    way: _Way
    lengths: Float[Tensor, "batch rungs"]
    margins: Float[Tensor, "batch rungs"]
