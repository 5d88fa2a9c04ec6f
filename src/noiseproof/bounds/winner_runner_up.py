"""Bounds for the winner and the runner-up alone, without a factor for the number of classes."""

from dataclasses import dataclass, field

import numpy as np

from noiseproof.bounds.base import (
    Bound,
    Interval,
    Table,
    clopper_pearson_lower,
    clopper_pearson_upper,
    rank_p_value,
    require_share,
)
from noiseproof.plugins import meant_before

__all__ = ["WinnerRunnerUp"]


@dataclass(frozen=True)
class WinnerRunnerUp(Bound):
    """A rank test names the winner at level eta alpha; two Clopper-Pearson bounds share the rest.

        A = argmax_j N_j, named if min(1, 2 P(Bin(N_1 + N_2, 1/2) >= N_1)) <= eta alpha, with N_1, N_2 the two largest;
        p1_lower = lo(N_A; n, (1 - s) (1 - eta) alpha),   p2_upper = max over j != A of hi(N_j; n, s (1 - eta) alpha).

    Proof: `winner_runner_up.md`. Only two fixed bounds matter, so nothing is paid for the other classes. Of two
    classes both bounds are one event, and each has all of (1 - eta) alpha.

    It certifies where no class has half of the votes, which bounds with p2 = 1 - p1 cannot.

    Args:
        eta: share of alpha for the rank test, in (0, 1). 0.02 costs the bounds almost nothing.
        runner_up_share: s, in (0, 1), fixed before the votes are seen: how much of the rest goes to the runner-up's bound.
            Where one rival has all other votes the less the better, and where several share them 0.2 to 0.5; at 0.1 the
            average radius is nowhere 0.6 % below that of the best share, at 1/2 up to 3.9 % (docs/which-certificate.md).
            Records that name this bound without a share mean 1/2.
    """

    eta: float = 0.02
    runner_up_share: float = field(default=0.1, metadata=meant_before(0.5))
    selection_samples: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        require_share("eta", self.eta, 1.0)
        require_share("runner_up_share", self.runner_up_share, 1.0)

    def interval(self, votes: Table, selection_votes: Table | None, alpha: float) -> Interval:  # noqa: ARG002
        """Compute the statement; hi increases with N, so only the runner-up's bound is evaluated."""
        n, level = votes.sum(-1), (1.0 - self.eta) * alpha
        shares = (1.0, 1.0) if votes.shape[-1] == 2 else (1.0 - self.runner_up_share, self.runner_up_share)
        runner_up, winner = np.moveaxis(np.partition(votes, -2, axis=-1)[..., -2:], -1, 0)
        named = rank_p_value(votes) <= self.eta * alpha
        return Interval(
            prediction=votes.argmax(-1),
            p1_lower=np.where(named, clopper_pearson_lower(winner, n, shares[0] * level), 0.0),
            p2_upper=np.where(named, clopper_pearson_upper(runner_up, n, shares[1] * level), 1.0),
        )
