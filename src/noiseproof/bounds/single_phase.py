"""One set of votes both selects the class and bounds its probability, without a factor for the number of classes."""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Int
from scipy.special import bdtrc

from noiseproof.bounds.base import Bound, Interval, Table, clopper_pearson_lower, require_share

__all__ = ["SinglePhase", "threshold_votes"]


@dataclass(frozen=True)
class SinglePhase(Bound):
    """Clopper-Pearson at level (1 - eta) alpha, if the winner reaches a threshold number of votes.

        A = argmax_j N_j,  t = min{t : P(Bin(n, 1/2) >= t) <= eta alpha}
        if N_A >= t:  p1_lower = lo(N_A; n, (1 - eta) alpha),  p2_upper = 1 - p1_lower;  otherwise nothing is certified.

    Proof: `single_phase.md`, for any number of classes.

    Unlike `TwoPhase` it spends no votes on selection; the bound of p1 has level (1 - eta) alpha instead of alpha.

    Args:
        eta: share of alpha for the selection, in (0, 1/2]. 0.02 costs the bound almost nothing; a smaller share raises
            the threshold.

    Raises:
        InvalidInputError: eta is outside (0, 1/2].
    """

    eta: float = 0.02
    selection_samples: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        require_share("eta", self.eta, 0.5)

    def interval(self, votes: Table, selection_votes: Table | None, alpha: float) -> Interval:  # noqa: ARG002
        """Compute the interval."""
        n, winner = votes.sum(-1), votes.max(-1)
        named = winner >= threshold_votes(n, self.eta * alpha)
        p1_lower = np.where(named, clopper_pearson_lower(winner, n, (1.0 - self.eta) * alpha), 0.0)
        return Interval(prediction=votes.argmax(-1), p1_lower=p1_lower, p2_upper=1.0 - p1_lower)


def threshold_votes(n: Int[np.ndarray, " images"], level: float) -> Int[np.ndarray, " images"]:
    """Return the smallest t with P(Bin(n, 1/2) >= t) <= level, which is n + 1 if even n votes do not suffice."""
    numbers, place = np.unique(n, return_inverse=True)
    thresholds = np.empty_like(numbers)
    for position, number in enumerate(numbers):
        low, high = number // 2, number + 1  # at low the tail is about 1/2 or more, beyond n it is 0
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if bdtrc(middle - 1, number, 0.5) <= level else (middle, high)
        thresholds[position] = high
    return thresholds[place]
