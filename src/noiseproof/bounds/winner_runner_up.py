"""Bounds for winner and runner-up from one set of votes, without a factor for the number of classes."""

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
    """A rank test verifies the winner at level eta alpha; two Clopper-Pearson bounds share the rest of alpha.

        A = argmax_j N_j, verified if min(1, 2 P(Bin(N_(1) + N_(2), 1/2) >= N_(1))) <= eta alpha; otherwise abstain.
        p1_lower = lo(N_A; n, (1 - s) (1 - eta) alpha),   p2_upper = max over j != A of hi(N_j; n, s (1 - eta) alpha).

    N_(1) >= N_(2) are the two largest counts. Proof: `winner_runner_up.md`. Only two bounds that are fixed beforehand
    matter, so the number of classes costs nothing. With two classes both bounds fail together, and each has the level
    (1 - eta) alpha.

    It can certify images on which no class has half of the votes, which is impossible with p2 = 1 - p1.

    Args:
        eta: share of alpha for the rank test, in (0, 1). 0.02 costs the bounds almost nothing.
        runner_up_share: s, in (0, 1), fixed before the votes are seen: the part of the rest for the runner-up's bound.
            If one class has all other votes, the smaller the better; if several share them, 0.2 to 0.5 is best. At 0.1
            the average radius is always within 0.6 % of the best share's, at 1/2 within 3.9 %
            (docs/which-certificate.md). In records, this bound without a share means 1/2.

    Raises:
        InvalidInputError: a share is outside (0, 1).
    """

    eta: float = 0.02
    runner_up_share: float = field(default=0.1, metadata=meant_before(0.5))
    selection_samples: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        require_share("eta", self.eta, 1.0)
        require_share("runner_up_share", self.runner_up_share, 1.0)

    def interval(self, votes: Table, selection_votes: Table | None, alpha: float) -> Interval:  # noqa: ARG002
        """Compute the interval; hi increases with N, so the maximum is that of the runner-up."""
        n, level = votes.sum(-1), (1.0 - self.eta) * alpha
        shares = (1.0, 1.0) if votes.shape[-1] == 2 else (1.0 - self.runner_up_share, self.runner_up_share)
        runner_up, winner = np.moveaxis(np.partition(votes, -2, axis=-1)[..., -2:], -1, 0)
        named = rank_p_value(votes) <= self.eta * alpha
        return Interval(
            prediction=votes.argmax(-1),
            p1_lower=np.where(named, clopper_pearson_lower(winner, n, shares[0] * level), 0.0),
            p2_upper=np.where(named, clopper_pearson_upper(runner_up, n, shares[1] * level), 1.0),
        )
