"""Projected gradient ascent on the loss of the smoothed classifier (Madry et al. 2018; Salman et al. 2019)."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import ClassVar, get_args

import numpy as np
from jaxtyping import Float
from torch import Tensor

from noiseproof.attacks.base import Attack
from noiseproof.attacks.batch import Batch, Finder
from noiseproof.attacks.defence import Defence
from noiseproof.attacks.expectation import AttackLoss, attack_loss
from noiseproof.attacks.incumbents import Best, GradientFinder, Problem
from noiseproof.errors import InvalidInputError, require_count
from noiseproof.perturbations.ascent import ascend
from noiseproof.perturbations.balls import uniform
from noiseproof.perturbations.norms import Norm, NormLike
from noiseproof.plugins import recorded_as

__all__ = ["PGD"]


@dataclass(frozen=True)
class PGD(Attack):
    """Projected gradient ascent on a loss of m noisy copies (expectation over noise), drawn afresh in each step.

    With fresh noise the last iterate is used: the loss at each iterate is random, and the iterate with the largest loss
    would be the one with the most favourable noise. The candidates are the last iterates of all restarts, the point of
    the previous epsilon and the image; the one with the largest margin of log mean F under m further samples, the same
    for all candidates, is returned. If the loss is deterministic (no noise, or `fixed`), all iterates are candidates.

    With fixed noise the ascent maximises a function of m samples, and its point may be adversarial for these only; this
    option is for studying the difference. Steps and projection are the thorough ones of `ascent.ascend`, with lengths
    that decrease linearly to 0; in l_1 they are those of SLIDE. Constant steps of 2.5 epsilon / steps (Madry et al.)
    have a total length of 2.5 epsilon, which reduces the component of a random start by e^-2.5 only: in l_2 they reach
    0.976 of the maximum of a linear loss, for any number of steps.

    Args:
        loss: the loss that is maximised, see `attack_loss`; "mean" is the paper's.
        eot_samples: m, the number of noisy copies in each step.
        steps: steps of each ascent, each with a forward and a backward pass of m copies.
        step_size: mean length of the steps as a fraction of epsilon, half of the first one; None is 5 / steps.
        restarts: number of ascents, from different random starts.
        random_start: whether ascents start at uniform points of the ball, otherwise at the image.
        fixed: whether all steps use the same noise.

    Raises:
        InvalidInputError: an unknown loss, a count below 1, a step size that is not > 0, restarts without random
        starts.
    """

    loss: AttackLoss = "log_mean"
    eot_samples: int = field(default=16, metadata=recorded_as("draws"))
    steps: int = 40
    step_size: float | None = None
    restarts: int = 1
    random_start: bool = True
    fixed: bool = False

    norms: ClassVar[tuple[Norm, ...]] = (Norm.LINF, Norm.L2, Norm.L1)
    follows_gradients: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.loss not in get_args(AttackLoss):
            raise InvalidInputError(
                "loss", required=" or ".join(map(repr, get_args(AttackLoss))), got=repr(self.loss), remedy="Choose one."
            )
        require_count("eot_samples", self.eot_samples, 1, "16 and more make a strong attack.")
        require_count("steps", self.steps, 1, "20 to 100 are usual.")
        require_count("restarts", self.restarts, 1, "1 is one ascent.")
        if self.step_size is not None and not _positive(self.step_size):
            raise InvalidInputError(
                "step_size",
                required="a finite number > 0, a fraction of epsilon, or None",
                got=repr(self.step_size),
                remedy="None chooses 5 / steps.",
            )
        if self.restarts > 1 and not self.random_start:
            raise InvalidInputError(
                "restarts",
                required="1 without random starts",
                got=self.restarts,
                remedy="Ascents from one point repeat themselves: start at random.",
            )

    def begin(self, defence: Defence, batch: Batch, norm: NormLike) -> Finder:
        """Prepare the ascent on a batch; the parameters of the network are frozen."""
        self.require_norm(norm)
        return _PGDFinder(self, defence, batch, norm)


class _PGDFinder(GradientFinder):
    def __init__(self, attack: PGD, defence: Defence, batch: Batch, norm: NormLike) -> None:
        calls = attack.restarts * attack.steps
        super().__init__(defence, batch, norm, eot_samples=attack.eot_samples, calls=calls, fixed=attack.fixed)
        self.attack = attack

    def candidates(self, problem: Problem) -> Iterator[Float[Tensor, "rows *shape"]]:
        for restart in range(self.attack.restarts):
            yield from self._ascent(problem, restart)

    def _ascent(self, problem: Problem, restart: int) -> Iterator[Float[Tensor, "rows *shape"]]:
        """Yield the last iterate, and before it the best one where values tell which that is."""
        attack, start = self.attack, problem.images
        if attack.random_start:
            source = self.batch.source(problem.rows, problem.number * attack.restarts + restart)
            start = uniform(problem.images, self.norm, problem.epsilons, source)
        what = f"the gradients of {len(start)} images by {attack.eot_samples} noisy copies each"
        # an ascent that memory cuts short begins anew: its calls have the noise they had
        yield from self.expectation.fitting(lambda: self._ascended(problem, start, restart), what)

    def _ascended(
        self, problem: Problem, start: Float[Tensor, "rows *shape"], restart: int
    ) -> list[Float[Tensor, "rows *shape"]]:
        attack = self.attack
        calls, best = count(restart * attack.steps), Best(start)

        def loss(points: Float[Tensor, "rows *shape"]) -> Float[Tensor, " rows"]:
            points.register_hook(lambda gradient: self.note_slopes(gradient, problem.rows))  # type: ignore[no-untyped-call]
            log_p = self.log_probabilities(points, problem, next(calls))
            if self.exact:
                best.offer(points.detach(), attack_loss(log_p.detach(), problem.labels, "margin"))
            return attack_loss(log_p, problem.labels, attack.loss)

        last = ascend(
            loss,
            start,
            problem.images,
            norm=self.norm,
            epsilon=problem.epsilons,
            steps=attack.steps,
            step_size=problem.epsilons * (5.0 / attack.steps if attack.step_size is None else attack.step_size),
            thorough=True,
        )
        return [best.points, last] if self.exact else [last]


def _positive(value: object) -> bool:
    number = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    return number and math.isfinite(value) and value > 0  # type: ignore[arg-type, operator]
