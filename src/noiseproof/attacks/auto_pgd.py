"""Auto-PGD and AutoAttack's version for randomised classifiers (Croce & Hein 2020, "Reliable evaluation ...")."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar, Literal, get_args

import torch
from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor

from noiseproof.attacks.base import Attack
from noiseproof.attacks.batch import Batch, Finder
from noiseproof.attacks.defence import Defence
from noiseproof.attacks.expectation import attack_loss
from noiseproof.attacks.incumbents import Best, GradientFinder, Problem
from noiseproof.errors import InvalidInputError, require_count
from noiseproof.perturbations.ascent import direction
from noiseproof.perturbations.balls import per_image, project, uniform
from noiseproof.perturbations.norms import Norm, NormLike
from noiseproof.plugins import recorded_as

__all__ = ["AutoLoss", "AutoPGD", "RandomisedAutoAttack", "checkpoints", "logit_ratio"]

AutoLoss = Literal["log_mean", "dlr"]
"""log_mean: cross-entropy of (1/m) sum_i F(x + z_i). dlr: `logit_ratio` of log (1/m) sum_i F(x + z_i)."""

_MOMENTUM = 0.75
_RISES = 0.75  # rho: the share of steps that must raise the loss, else the step size is halved


@dataclass(frozen=True)
class AutoPGD(Attack):
    """Projected gradient ascent with momentum and adaptive step sizes (Algorithm 1 of Croce & Hein 2020).

    From a uniform random point x_0 of the ball, with step size e = 2 epsilon and P the projection:

        z_k+1 = P(x_k + e v_k)                                   v_k the direction of steepest ascent
        x_k+1 = P(x_k + .75 (z_k+1 - x_k) + .25 (x_k - x_k-1))   x_1 = z_1

    At each of the `checkpoints` e is halved and the ascent continues from the best point so far, if fewer than .75 of
    the steps since the previous checkpoint raised the loss, or if e was not halved there and the best loss has not
    changed. Here this is done as soon as x_k is known for a checkpoint k; the paper computes x_k+1 first and discards
    it. It is not done at k = steps, so that the last iterate is kept. P is the exact projection onto the intersection of
    ball and box (`balls.project`).

    Under noise every loss is an estimate by m fresh samples. A step may raise it by chance, and the largest loss may be
    due to favourable noise, so that later losses do not exceed it: steps are halved earlier than for a deterministic
    function, especially if m is small. Therefore the best point, the last iterate, the point of the previous epsilon and
    the image are compared by the margin of log mean F under m further samples, and the one with the largest is returned.

    Args:
        loss: the loss that is maximised.
        eot_samples: m, the number of noisy copies in each step; AutoAttack uses 20 for randomised classifiers.
        steps: number of steps, each with a forward and a backward pass of m copies.

    Raises:
        InvalidInputError: an unknown loss, a count below 1. On `begin`: "dlr" with two classes.
    """

    loss: AutoLoss = "log_mean"
    eot_samples: int = field(default=20, metadata=recorded_as("draws"))
    steps: int = 100

    norms: ClassVar[tuple[Norm, ...]] = (Norm.LINF, Norm.L2)
    follows_gradients: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.loss not in get_args(AutoLoss):
            raise InvalidInputError("loss", required="'log_mean' or 'dlr'", got=repr(self.loss), remedy="Choose one.")
        _require_counts(self.eot_samples, self.steps)

    def begin(self, defence: Defence, batch: Batch, norm: NormLike) -> Finder:
        """Prepare the ascent on a batch; the parameters of the network are frozen."""
        self.require_norm(norm)
        return _AutoFinder((self.loss,), self.eot_samples, self.steps, defence, batch, norm)


@dataclass(frozen=True)
class RandomisedAutoAttack(Attack):
    """AutoAttack's version "rand": `AutoPGD` on log_mean, then on dlr for the images on which it failed.

    The reference implementation averages the gradients of m losses (cross-entropy or dlr), each of the logits of one
    sample. Here both are losses of log (1/m) sum_i F(x + z_i), the scores of the smoothed classifier. For m = 1 these
    differ from the logits by a constant, which changes neither loss.

    The second attack runs on the images for which no point has a positive margin of log mean F under m further samples.
    The point with the largest such margin is returned. With few samples this margin may be positive by chance for an
    image close to its decision boundary, which is then not attacked by dlr.

    Args:
        eot_samples: m, the number of noisy copies in each step of both; 20 in AutoAttack.
        steps: steps of each ascent; 100 in AutoAttack.

    Raises:
        InvalidInputError: a count below 1. On `begin`: two classes, for which dlr is not defined.
    """

    eot_samples: int = field(default=20, metadata=recorded_as("draws"))
    steps: int = 100

    norms: ClassVar[tuple[Norm, ...]] = (Norm.LINF, Norm.L2)
    follows_gradients: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _require_counts(self.eot_samples, self.steps)

    def begin(self, defence: Defence, batch: Batch, norm: NormLike) -> Finder:
        """Prepare the ascent on a batch; the parameters of the network are frozen."""
        self.require_norm(norm)
        return _AutoFinder(get_args(AutoLoss), self.eot_samples, self.steps, defence, batch, norm)


def checkpoints(steps: int) -> list[int]:
    """Return w_j = ceil(p_j steps) for p_0 = 0, p_1 = .22, p_j+1 = p_j + max(p_j - p_j-1 - .03, .06) <= 1."""
    found, before, percent = [], 0, 22
    while percent <= 100:  # in hundredths: no rounding
        found.append(-(-percent * steps // 100))
        before, percent = percent, percent + max(percent - before - 3, 6)
    return found


def logit_ratio(scores: Float[Tensor, "batch classes"], labels: Int[Tensor, " batch"]) -> Float[Tensor, " batch"]:
    """Return the difference of logits ratio (max_{c != y} s_c - s_y) / (s_(1) - s_(3)), with s_(i) the i-th largest.

    It is invariant to shifts and to positive scaling of the scores, so large logits do not make its gradient vanish. It
    lies in [-1, 0] where y has the largest score and in [0, 1] where it is second; it exceeds 1 where s_y < s_(3).
    """
    top = scores.topk(3, dim=1).values
    return attack_loss(scores[:, None], labels, "margin") / (top[:, 0] - top[:, 2] + 1e-12)


class _AutoFinder(GradientFinder):
    """One ascent per loss, each on the images on which the previous ones failed."""

    def __init__(
        self, losses: tuple[AutoLoss, ...], eot_samples: int, steps: int, defence: Defence, batch: Batch, norm: NormLike
    ) -> None:
        if "dlr" in losses and defence.num_classes < 3:
            raise InvalidInputError(
                "the number of classes",
                required=">= 3 for the loss 'dlr'",
                got=defence.num_classes,
                remedy="Take AutoPGD(loss='log_mean') or PGD.",
            )
        super().__init__(defence, batch, norm, eot_samples=eot_samples, calls=len(losses) * (steps + 1), fixed=False)
        self.losses = losses
        self.steps = steps

    def candidates(self, problem: Problem) -> Iterator[Float[Tensor, "rows *shape"]]:
        for stage in range(len(self.losses)):
            standing = (problem.best.values <= 0.0).nonzero()[:, 0].tolist() if stage else range(len(problem.rows))
            if not standing:
                continue
            for points in self._ascent(problem.part(standing), stage):
                everywhere = problem.best.points.clone()
                everywhere[list(standing)] = points
                yield everywhere

    def _ascent(self, problem: Problem, stage: int) -> Iterator[Float[Tensor, "rows *shape"]]:
        """Yield the last iterate, and the best one: by margin if the loss is deterministic, otherwise by its noisy loss."""
        source = self.batch.source(problem.rows, problem.number * len(self.losses) + stage)
        points = uniform(problem.images, self.norm, problem.epsilons, source)
        judged, first = Best(points), stage * (self.steps + 1)
        climb = _Climb(points, *self._evaluate(points, problem, stage, first, judged), problem, self.norm)
        ends = checkpoints(self.steps)
        for step in range(1, self.steps + 1):
            points = climb.next_point()
            climb.arrive(points, *self._evaluate(points, problem, stage, first + step, judged))
            if step in ends and step < self.steps:  # at the end it would replace the last iterate by the luckiest
                climb.adapt()
        yield climb.points
        yield judged.points if self.exact else climb.best.points

    def _evaluate(
        self, points: Float[Tensor, "rows *shape"], problem: Problem, stage: int, call: int, judged: Best
    ) -> tuple[Float[Tensor, " rows"], Float[Tensor, "rows *shape"]]:
        """Return loss and gradient."""
        points = points.detach().requires_grad_()

        def there_and_back() -> tuple[Tensor, Tensor, Tensor]:
            with torch.enable_grad():
                log_p = self.log_probabilities(points, problem, call)
                value = _loss(log_p, problem.labels, self.losses[stage])
            (gradient,) = torch.autograd.grad(value.sum(), points)
            return log_p.detach(), value.detach(), gradient

        log_p, value, gradient = self.expectation.fitting(there_and_back, f"the gradients of {len(points)} images")
        self.note_slopes(gradient, problem.rows)
        if self.exact:
            judged.offer(points.detach(), attack_loss(log_p, problem.labels, "margin"))
        return value, gradient


class _Climb:
    """The state of Algorithm 1 of Croce & Hein, for each row."""

    def __init__(
        self,
        points: Float[Tensor, "rows *shape"],
        values: Float[Tensor, " rows"],
        gradients: Float[Tensor, "rows *shape"],
        problem: Problem,
        norm: NormLike,
    ) -> None:
        self.problem, self.norm = problem, norm
        self.points = self.before = points
        self.values, self.gradients = values, gradients
        self.best, self.best_gradient = Best(points, values), Best(gradients, values)
        self.step: Float64[Tensor, " rows"] = 2.0 * problem.epsilons
        self.rises = torch.zeros_like(values)
        self.steps = 0  # since the last checkpoint
        self.halved: Bool[Tensor, " rows"] = torch.zeros_like(values, dtype=torch.bool)  # there
        self.record = values  # the best value there

    def next_point(self) -> Float[Tensor, "rows *shape"]:
        """Return x_k+1."""
        ahead = per_image(self.step, self.points) * direction(self.gradients, self.points, self.norm, thorough=True)
        goal = self._project(self.points + ahead)
        if self.before is self.points:  # x_0 has no momentum
            return goal
        return self._project(
            self.points + _MOMENTUM * (goal - self.points) + (1.0 - _MOMENTUM) * (self.points - self.before)
        )

    def arrive(
        self,
        points: Float[Tensor, "rows *shape"],
        values: Float[Tensor, " rows"],
        gradients: Float[Tensor, "rows *shape"],
    ) -> None:
        """Set the current point to x_k+1."""
        self.rises = self.rises + (values > self.values)
        self.steps += 1
        self.best_gradient.offer(gradients, values)
        self.best.offer(points, values)
        self.before, self.points, self.values, self.gradients = self.points, points, values, gradients

    def adapt(self) -> None:
        """At a checkpoint: halve the step size of the rows without progress, and set them back to their best points."""
        stuck = ~self.halved & (self.best.values == self.record)
        halve = (self.rises < _RISES * self.steps) | stuck
        chosen = halve.view(-1, *[1] * (self.points.ndim - 1))
        self.points = torch.where(chosen, self.best.points, self.points)
        self.gradients = torch.where(chosen, self.best_gradient.points, self.gradients)
        self.values = torch.where(halve, self.best.values, self.values)
        self.step = torch.where(halve, 0.5 * self.step, self.step)
        self.halved, self.record = halve, self.best.values
        self.rises, self.steps = torch.zeros_like(self.rises), 0

    def _project(self, points: Float[Tensor, "rows *shape"]) -> Float[Tensor, "rows *shape"]:
        return project(points, self.problem.images, self.norm, self.problem.epsilons, exact=True)


def _loss(
    log_p: Float[Tensor, "rows samples classes"], labels: Int[Tensor, " rows"], loss: AutoLoss
) -> Float[Tensor, " rows"]:
    return logit_ratio(log_p.logsumexp(1), labels) if loss == "dlr" else attack_loss(log_p, labels, "log_mean")


def _require_counts(eot_samples: int, steps: int) -> None:
    require_count("eot_samples", eot_samples, 1, "AutoAttack uses 20.")
    require_count("steps", steps, 1, "AutoAttack uses 100.")
