"""The paper's confidence bound: Clopper-Pearson for every class, with a Bonferroni correction."""

from dataclasses import dataclass, field

import numpy as np

from noiseproof.bounds.base import Bound, Interval, Table, clopper_pearson_lower, clopper_pearson_upper

__all__ = ["Bonferroni"]


@dataclass(frozen=True)
class Bonferroni(Bound):
    """One-sided Clopper-Pearson bounds for all k classes from one set of votes (the paper, section 4).

        A = argmax_j N_j,   p1_lower = lo(N_A; n, alpha/2k),   p2_upper = max over j != A of hi(N_j; n, alpha/2k).

    Proof: there are 2k bounds, a lower and an upper one for every class, and each fails with probability at most
    alpha / 2k. By the union bound all of them hold with probability at least 1 - alpha, in particular the two that the
    votes select.

    Ties go to the class with the smallest index; a tie is never certified.
    """

    selection_samples: int = field(default=0, init=False)

    def interval(self, votes: Table, selection_votes: Table | None, alpha: float) -> Interval:  # noqa: ARG002
        """Compute the interval; hi increases with N, so the maximum is that of the runner-up."""
        n, level = votes.sum(-1), alpha / (2 * votes.shape[-1])
        prediction = votes.argmax(-1)
        runner_up, winner = np.moveaxis(np.partition(votes, -2, axis=-1)[..., -2:], -1, 0)
        return Interval(
            prediction=prediction,
            p1_lower=clopper_pearson_lower(winner, n, level),
            p2_upper=clopper_pearson_upper(runner_up, n, level),
        )
