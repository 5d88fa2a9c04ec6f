"""Select the class with some votes, bound its probability with others (Cohen et al. 2019, the paper's [40])."""

from dataclasses import dataclass

import numpy as np

from noiseproof.bounds.base import Bound, Interval, Table, clopper_pearson_lower
from noiseproof.errors import require_count

__all__ = ["TwoPhase"]


@dataclass(frozen=True)
class TwoPhase(Bound):
    """Selection votes choose the class; independent votes give one Clopper-Pearson bound at the full alpha.

        A = argmax_j of the selection votes,   p1_lower = lo(N_A; n, alpha),   p2_upper = 1 - p1_lower.

    Proof: given the selection votes, A is fixed, N_A ~ Bin(n, p_A), and one bound of level alpha is used. If it holds,
    p2_upper holds too, since probabilities sum to 1. A wrong selection leads to abstention, not to a false
    certificate. The number of classes does not matter.

    Args:
        selection_samples: votes of the selection phase. 100 is the choice of Cohen et al.: if p_A is clearly above 1/2,
            100 votes find A, and they are 1 % of a usual n.

    Raises:
        InvalidInputError: selection_samples is no integer >= 1.
    """

    selection_samples: int = 100

    def __post_init__(self) -> None:
        require_count(
            "selection_samples", self.selection_samples, 1, "Use Bonferroni where no selection phase is wanted."
        )

    def interval(self, votes: Table, selection_votes: Table | None, alpha: float) -> Interval:
        """Compute the interval; ties of the selection go to the class with the smallest index."""
        assert selection_votes is not None  # noqa: S101 - `Bound.__call__` has checked it
        prediction = selection_votes.argmax(-1)
        chosen = np.take_along_axis(votes, prediction[..., None], axis=-1)[..., 0]
        p1_lower = clopper_pearson_lower(chosen, votes.sum(-1), alpha)
        return Interval(prediction=prediction, p1_lower=p1_lower, p2_upper=1.0 - p1_lower)
