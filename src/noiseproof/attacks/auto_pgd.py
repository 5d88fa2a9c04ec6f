"""Auto-PGD and AutoAttack's version for randomised classifiers (Croce & Hein 2020, "Reliable evaluation ..")."""

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
_RISES = 0.75  # rho: the share of steps that have to raise the loss


@dataclass(frozen=True)
class AutoPGD(Attack):
    """Gradient ascent with momentum that finds its own step sizes (Algorithm 1 of Croce & Hein 2020).

    From a uniform point x_0, with step e = 2 epsilon and P the projection:

        z_k+1 = P(x_k + e v_k)                                   v_k the direction of steepest ascent
        x_k+1 = P(x_k + .75 (z_k+1 - x_k) + .25 (x_k - x_k-1))   x_1 = z_1

    At each of the `checkpoints` e is halved, and the ascent goes on at the best point so far, if since the checkpoint
    before fewer than .75 of the steps raised the loss, or if e was not halved there and the best loss is the same. Here
    that is done once x_k is known for a checkpoint k; the paper computes x_k+1 first and discards it. At k = steps it is
    not done: the last iterate stays what it is. P is the exact projection onto ball and box (`balls.project`).

    Under noise every loss is an estimate by m fresh samples. So a step may raise it by chance, and the best loss is that
    of a lucky sample, which later ones do not exceed: steps are halved earlier than for a deterministic function, the
    more so the fewer samples. What is returned is therefore not simply the best point: it, the last, that
    of a smaller epsilon and the image are compared by the margin of log mean F under m further samples.

    Args:
        loss: what is ascended.
        eot_samples: m; 20 is AutoAttack's for randomised classifiers.
        steps: each a pass forward and back of m copies.

    Raises:
        InvalidInputError: another loss, a count below 1. On `begin`: "dlr" with two classes.
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
        """Freeze the network."""
        self.require_norm(norm)
        return _AutoFinder((self.loss,), self.eot_samples, self.steps, defence, batch, norm)


@dataclass(frozen=True)
class RandomisedAutoAttack(Attack):
    """AutoAttack's version "rand": `AutoPGD` of log_mean, then of dlr on the images that still stand.

    The reference implementation averages the gradients of m losses, cross-entropy and dlr, of the logits of one sample
    each. Here both are losses of log (1/m) sum_i F(x + z_i), the smoothed classifier's own, and
    dlr is of these logarithms in place of logits, from which it differs by no more than a shift where m is 1.

    An image stands while no point found has a positive margin of log mean F under m further samples. Of its points the
    one of the greatest such margin is returned. With few samples an image near its boundary may seem to have fallen by chance,
    and is then spared the second attack.

    Args:
        eot_samples: m of both; 20 in AutoAttack.
        steps: of each; 100 in AutoAttack.

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
        """Freeze the network."""
        self.require_norm(norm)
        return _AutoFinder(get_args(AutoLoss), self.eot_samples, self.steps, defence, batch, norm)


def checkpoints(steps: int) -> list[int]:
    """Return w_j = ceil(p_j steps) for p_1 = .22 and p_j+1 = p_j + max(p_j - p_j-1 - .03, .06), while p_j <= 1."""
    found, before, percent = [], 0, 22
    while percent <= 100:  # in hundredths: no rounding
        found.append(-(-percent * steps // 100))
        before, percent = percent, percent + max(percent - before - 3, 6)
    return found


def logit_ratio(scores: Float[Tensor, "batch classes"], labels: Int[Tensor, " batch"]) -> Float[Tensor, " batch"]:
    """Return the difference of logits ratio (max_{c != y} s_c - s_y) / (s_(1) - s_(3)), with s_(i) the i-th largest.

    It changes neither when scores are shifted nor when they are scaled: a network cannot hide its gradients by large
    logits. From -1, or less where s_y is far ahead of two close others, to 1.
    """
    top = scores.topk(3, dim=1).values
    return attack_loss(scores[:, None], labels, "margin") / (top[:, 0] - top[:, 2] + 1e-12)


class _AutoFinder(GradientFinder):
    """One ascent after another, each on the images that stand after those before."""

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
        """Yield the last iterate, and the best by margin where it is known, else the best by its noisy loss."""
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
    """The state of Algorithm 1, for each row."""

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
        """Go to x_k+1."""
        self.rises = self.rises + (values > self.values)
        self.steps += 1
        self.best_gradient.offer(gradients, values)
        self.best.offer(points, values)
        self.before, self.points, self.values, self.gradients = self.points, points, values, gradients

    def adapt(self) -> None:
        """Halve the steps of the rows that make no progress, and return to their best points: at a checkpoint."""
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
