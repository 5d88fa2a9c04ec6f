"""Is the class with most votes really the most probable one? (the abstention test of `predict`)."""

import numpy as np
from jaxtyping import Bool, Float
from scipy.special import betainc

from noiseproof.bounds.base import Votes, require_alpha, require_votes

__all__ = ["rank_p_value", "rank_verified", "votes_to_verify"]


def rank_p_value(votes: Votes) -> Float[np.ndarray, "*batch"]:
    """Two-sided binomial test of winner against runner-up: min(1, 2 P(Bin(N_1 + N_2, 1/2) >= N_1)).

    Valid for the winner chosen by the same votes among any number of classes (Hung and Fithian, "Rank verification for
    exponential families", Annals of Statistics 2019; used by Cohen et al. 2019 for prediction).
    """
    require_votes("votes", votes)
    runner_up, winner = np.moveaxis(np.partition(votes, -2, axis=-1)[..., -2:], -1, 0)
    return np.asarray(np.minimum(2.0 * betainc(winner, runner_up + 1, 0.5), 1.0))


def rank_verified(votes: Votes, alpha: float) -> Bool[np.ndarray, "*batch"]:
    """Whether argmax_j N_j is the most probable class at level alpha: a wrong True has probability <= alpha."""
    require_alpha(alpha)
    return np.asarray(rank_p_value(votes) <= alpha)


def votes_to_verify(alpha: float) -> int:
    """Return the smallest n for which unanimous votes pass `rank_verified`: 2 * 2^-n <= alpha."""
    require_alpha(alpha)
    return int(np.ceil(1.0 - np.log2(alpha)))
