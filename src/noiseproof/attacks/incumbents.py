"""Finders that keep the best point so far of every image: an attack is no weaker at a larger epsilon than at a smaller."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from noiseproof.attacks.batch import Batch, as_epsilons
from noiseproof.attacks.defence import Defence
from noiseproof.attacks.expectation import Expectation, attack_loss
from noiseproof.errors import ClassifierError
from noiseproof.perturbations.balls import project
from noiseproof.perturbations.norms import NormLike

__all__ = ["Best", "GradientFinder", "IncumbentFinder", "Problem"]


class Best:
    """For each row the point of greatest value among those offered. NaN is never the greatest.

    Args:
        points: where nothing else was offered.
        values: of these points; None: less than any.
    """

    def __init__(self, points: Float[Tensor, "rows *shape"], values: Float[Tensor, " rows"] | None = None) -> None:
        self.points = points
        none = points.new_full((len(points),), -torch.inf)
        self.values = none if values is None else torch.where(values.isnan(), -torch.inf, values)

    def offer(self, points: Float[Tensor, "rows *shape"], values: Float[Tensor, " rows"]) -> None:
        """Take the points that are better."""
        better = values > self.values
        self.values = torch.where(better, values, self.values)
        self.points = torch.where(better.view(-1, *[1] * (points.ndim - 1)), points, self.points)

    def part(self, chosen: Sequence[int]) -> "Best":
        """Return those of some rows."""
        return Best(self.points[list(chosen)], self.values[list(chosen)])


@dataclass(frozen=True)
class Problem:
    """Images that are attacked at once.

    Attributes:
        images: centers of the balls.
        labels: their classes.
        epsilons: radii.
        rows: which rows of the batch these are.
        number: how often these rows were attacked before; all equally often.
        best: the best points so far, with their scores.
    """

    images: Float[Tensor, "rows *shape"]
    labels: Int[Tensor, " rows"]
    epsilons: Float64[Tensor, " rows"]
    rows: Sequence[int]
    number: int
    best: Best

    def part(self, chosen: Sequence[int]) -> "Problem":
        """Return the problem of some of its rows."""
        index = list(chosen)
        rows = [self.rows[place] for place in index]
        images, labels, epsilons = self.images[index], self.labels[index], self.epsilons[index]
        return Problem(images, labels, epsilons, rows, self.number, self.best.part(index))


class IncumbentFinder(ABC):
    """A `Finder` that compares candidates with the point it last returned for the image, at first the image itself.

    All are scored by the same samples, which found none of them: a maximum over scores of different samples would reward
    luck. A score may still be noisy, and then so is the comparison.

    A row's point depends on its own history: rows that were attacked more or less often are attacked apart.
    """

    def __init__(self, batch: Batch, norm: NormLike) -> None:
        self.batch = batch
        self.norm = norm
        self._points = batch.images.clone()
        self._times = [0] * len(batch)

    @abstractmethod
    def candidates(self, problem: Problem) -> Iterator[Float[Tensor, "rows *shape"]]:
        """Yield points of the balls, one for each row at a time. Each is scored before the next is computed."""

    @abstractmethod
    def score(self, points: Float[Tensor, "rows *shape"], problem: Problem) -> Float[Tensor, " rows"]:
        """Return the margin by which points are misclassified, with the same samples for every candidate of a problem."""

    def kept(self, problem: Problem) -> Float[Tensor, "rows *shape"]:
        """Return what is kept once all candidates were scored: the best points."""
        return problem.best.points

    @final
    def __call__(self, epsilons: Float[Tensor, " rows"], rows: Sequence[int]) -> Float[Tensor, "rows *shape"]:
        """Return the best points, as `Finder`."""
        epsilons = as_epsilons(epsilons, rows)
        times = [self._times[row] for row in rows]
        for number in sorted(set(times)):
            places = [place for place, before in enumerate(times) if before == number]
            self._find(epsilons[places], [rows[place] for place in places], number)
        return self._points[list(rows)]

    def _find(self, epsilons: Float64[Tensor, " rows"], rows: list[int], number: int) -> None:
        images = self.batch.images[rows]
        epsilons = epsilons.to(images.device)
        kept = project(self._points[rows], images, self.norm, epsilons, exact=True)
        problem = Problem(images, self.batch.labels[rows], epsilons, rows, number, Best(kept))
        problem.best.offer(kept, self.score(kept, problem))
        for points in self.candidates(problem):
            problem.best.offer(points, self.score(points, problem))
        self._points[rows] = self.kept(problem)
        for row in rows:
            self._times[row] += 1


class GradientFinder(IncumbentFinder):
    """An `IncumbentFinder` of the smoothed classifier by its `Expectation`: scored by the margin of log mean F.

    Args:
        defence: what is attacked.
        batch: the images.
        norm: of the balls.
        eot_samples: m.
        calls: how often `candidates` asks for log-probabilities, at most.
        fixed: whether all of them, and the score, share their noise.
    """

    def __init__(
        self, defence: Defence, batch: Batch, norm: NormLike, *, eot_samples: int, calls: int, fixed: bool
    ) -> None:
        super().__init__(batch, norm)
        self.expectation = Expectation(
            defence.network, defence.noise, eot_samples=eot_samples, fixed=fixed, seed=batch.seed, indices=batch.indices
        )
        self.num_classes = defence.num_classes
        self.calls = calls
        self._sloped = torch.zeros(len(batch), dtype=torch.bool)
        self.exact = fixed or defence.noise is None
        """Whether values are of a deterministic function, so that the best of many is the best indeed."""

    @final
    def log_probabilities(
        self, points: Float[Tensor, "rows *shape"], problem: Problem, call: int
    ) -> Float[Tensor, "rows draws classes"]:
        """Return log F(x + z_i) with the draws of the call of this number, 0 to `calls` - 1."""
        self.expectation.noisy.calls = problem.number * (self.calls + 1) + call
        log_p = self.expectation.log_probabilities(points, problem.rows)
        if log_p.shape[2] != self.num_classes:
            raise ClassifierError(
                "the network's output",
                required=f"scores of the defence's {self.num_classes} classes",
                got=f"{log_p.shape[2]} a row",
                remedy="Check num_classes.",
            )
        return log_p

    @final
    def note_slopes(self, gradient: Float[Tensor, "rows *shape"], rows: Sequence[int]) -> None:
        """Take down for which rows of the batch a gradient was not 0 everywhere."""
        self._sloped[list(rows)] |= gradient.flatten(1).ne(0.0).any(1).cpu()

    @final
    def kept(self, problem: Problem) -> Float[Tensor, "rows *shape"]:
        """Return the best points, but the image itself where no gradient was ever found, nor a point that fools.

        There the ascents began at random points and stayed: one of them may have the better score by chance, and to
        return it would hide that nothing was attacked.
        """
        blind = ~self._sloped[list(problem.rows)].to(problem.images.device) & (problem.best.values <= 0.0)
        return torch.where(blind.view(-1, *[1] * (problem.images.ndim - 1)), problem.images, problem.best.points)

    @final
    @torch.no_grad()
    def score(self, points: Float[Tensor, "rows *shape"], problem: Problem) -> Float[Tensor, " rows"]:
        """Return the margin, by the draws of one more call."""
        return attack_loss(self.log_probabilities(points, problem, self.calls), problem.labels, "margin")
