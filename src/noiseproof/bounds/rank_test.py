"""Test whether the class with the most votes is the most probable one (the abstention test of `predict`)."""

import numpy as np
from jaxtyping import Bool

from noiseproof.bounds.base import Votes, rank_p_value, require_alpha

__all__ = ["rank_verified", "votes_to_verify"]


def rank_verified(votes: Votes, alpha: float) -> Bool[np.ndarray, "*batch"]:
    """Whether argmax_j N_j is the most probable class at level alpha: a false True has probability <= alpha.

    Args:
        votes: counts per class, shape (*batch, k).
        alpha: failure probability per image, in (0, 1).

    Raises:
        InvalidInputError: alpha or votes are not as above.
    """
    require_alpha(alpha)
    return np.asarray(rank_p_value(votes) <= alpha)


def votes_to_verify(alpha: float) -> int:
    """Return the smallest n for which n unanimous votes pass `rank_verified`: 2 * 2^-n <= alpha."""
    require_alpha(alpha)
    return int(np.ceil(1.0 - np.log2(alpha)))
