"""Finders that keep the best point so far of each image, so that attacks do not get weaker as epsilon increases."""

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
    """For each row the point with the largest value among those offered; a NaN value is ignored.

    Args:
        points: the initial points.
        values: values of the initial points; None: -infinity.
    """

    def __init__(self, points: Float[Tensor, "rows *shape"], values: Float[Tensor, " rows"] | None = None) -> None:
        self.points = points
        none = points.new_full((len(points),), -torch.inf)
        self.values = none if values is None else torch.where(values.isnan(), -torch.inf, values)

    def offer(self, points: Float[Tensor, "rows *shape"], values: Float[Tensor, " rows"]) -> None:
        """Replace the points of rows where the new value is larger."""
        better = values > self.values
        self.values = torch.where(better, values, self.values)
        self.points = torch.where(better.view(-1, *[1] * (points.ndim - 1)), points, self.points)

    def part(self, chosen: Sequence[int]) -> "Best":
        """Return the points and values of the chosen rows."""
        return Best(self.points[list(chosen)], self.values[list(chosen)])


@dataclass(frozen=True)
class Problem:
    """Images that are attacked together.

    Attributes:
        images: the clean images, the centres of the balls.
        labels: classes of the images.
        epsilons: radii of the balls, in units of a pixel in [0, 1].
        rows: positions of the images in the batch.
        number: how often these images were attacked before, the same for all.
        best: the best points so far, with their scores.
    """

    images: Float[Tensor, "rows *shape"]
    labels: Int[Tensor, " rows"]
    epsilons: Float64[Tensor, " rows"]
    rows: Sequence[int]
    number: int
    best: Best

    def part(self, chosen: Sequence[int]) -> "Problem":
        """Return the problem restricted to the chosen rows."""
        index = list(chosen)
        rows = [self.rows[place] for place in index]
        images, labels, epsilons = self.images[index], self.labels[index], self.epsilons[index]
        return Problem(images, labels, epsilons, rows, self.number, self.best.part(index))


class IncumbentFinder(ABC):
    """A `Finder` that compares candidates with the point it last returned for the image, at first the image itself.

    All candidates are scored by the same samples, independent of those that found them (unless noise is fixed): with
    different samples, the maximum would favour points with favourable noise. The scores, and so the comparison, may
    still be noisy.

    Rows that were attacked a different number of times are attacked separately, since their noise differs.
    """

    def __init__(self, batch: Batch, norm: NormLike) -> None:
        self.batch = batch
        self.norm = norm
        self._points = batch.images.clone()
        self._times = [0] * len(batch)

    @abstractmethod
    def candidates(self, problem: Problem) -> Iterator[Float[Tensor, "rows *shape"]]:
        """Yield tensors with one point of its ball per row. Each tensor is scored before the next is computed."""

    @abstractmethod
    def score(self, points: Float[Tensor, "rows *shape"], problem: Problem) -> Float[Tensor, " rows"]:
        """Return the margin by which each point is misclassified, with the same samples for all candidates of a problem."""

    def kept(self, problem: Problem) -> Float[Tensor, "rows *shape"]:
        """Return the points to keep once all candidates are scored: the best ones."""
        return problem.best.points

    @final
    def __call__(self, epsilons: Float[Tensor, " rows"], rows: Sequence[int]) -> Float[Tensor, "rows *shape"]:
        """Return the best points of these rows within their epsilons, as a `Finder` does."""
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
    """An `IncumbentFinder` for gradient-based attacks: its scores are margins of log mean F, by an `Expectation`.

    Args:
        defence: the classifier under attack.
        batch: the images.
        norm: norm of the perturbation.
        eot_samples: m, the number of noisy copies in each call.
        calls: largest number of calls of `log_probabilities` by `candidates`.
        fixed: whether all calls, including the score, use the same noise.
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
        """Whether the loss is deterministic, so that its values at different points can be compared."""

    @final
    def log_probabilities(
        self, points: Float[Tensor, "rows *shape"], problem: Problem, call: int
    ) -> Float[Tensor, "rows draws classes"]:
        """Return log F(x + z_i) with the noise of call number `call`: 0 to `calls` - 1, and `calls` for the score."""
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
        """Record which rows of the batch had a gradient other than 0."""
        self._sloped[list(rows)] |= gradient.flatten(1).ne(0.0).any(1).cpu()

    @final
    def kept(self, problem: Problem) -> Float[Tensor, "rows *shape"]:
        """Return the best points, but the image itself where all gradients were 0 and no point is adversarial.

        There the ascents did not leave their random starting points. One of these may have a better score than the image
        by chance; returning it would hide that the attack had no gradient.
        """
        blind = ~self._sloped[list(problem.rows)].to(problem.images.device) & (problem.best.values <= 0.0)
        return torch.where(blind.view(-1, *[1] * (problem.images.ndim - 1)), problem.images, problem.best.points)

    @final
    @torch.no_grad()
    def score(self, points: Float[Tensor, "rows *shape"], problem: Problem) -> Float[Tensor, " rows"]:
        """Return the margin of log mean F, with the noise of one more call."""
        return attack_loss(self.log_probabilities(points, problem, self.calls), problem.labels, "margin")
