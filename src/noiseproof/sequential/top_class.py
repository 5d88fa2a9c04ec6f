"""Sequential `predict`: is the class with most votes the most probable one, asked after every vote?"""

import math

import numpy as np
from jaxtyping import Bool
from scipy.special import logsumexp

from noiseproof.bounds.base import Votes, require_alpha, require_votes
from noiseproof.sequential.e_process import rounded_down

__all__ = ["winner_certain", "winner_votes_needed"]


def winner_certain(votes: Votes, alpha: float) -> Bool[np.ndarray, "*batch"]:
    """Whether argmax_j N_j is certain to be a most probable class: with probability >= 1 - alpha no other is ever named.

    With W(A, f) = W(A, f; 1/2) of `jeffreys`, winner i, runner-up r and k classes, it is certain when

        k = 2:  W(N_i, N_r) >= 1/alpha;
        k > 2:  W(N_i, n - N_i) >= 2/alpha  (majority),  or  sum over l != r of W(N_l, N_r) / (k - 1) >= 2/alpha  (pairs).

    Proof. Let B be a most probable class, i another that is less probable.
    Pairs: for l != B, W(N_l, N_B) changes with votes for l or B only, and such a vote is l's with probability <= 1/2: a
    supermartingale (`jeffreys`, 1), and so is the average over l != B. It is smallest for the runner-up among all classes
    in the place of r, so if i != B is named, B's average is at 2/alpha or more: probability <= alpha/2 (alpha at k = 2,
    where only pairs are asked), whatever k. The average over l is what the choice of i by the same votes costs.
    Majority: g(p) of `log_threshold` at p0 = 1/2, T = 2/alpha. If p_B >= 1/2, the others are named with probability
    <= g(1 - p_B) <= g(1/2) <= 1/T. If p_B < 1/2, all p_j <= p_B, so it is <= (1 - p_B) g(p_B)/p_B, a sum of
    p_B^(A-1) (1-p_B)^(f+1), which do not decrease up to 1/2 as A - f >= 2 at crossings (W(f+1, f) <= 2 average q < 2):
    again <= g(1/2) <= alpha/2, without a factor for the classes.

    Where two classes are equally probable, either answer is right. Probability of naming a class in such a tie: <= 2 alpha.

    Args:
        votes: counts per class, (*batch, k).
        alpha: failure probability per image, over all times together.

    Raises:
        InvalidInputError: alpha or votes outside their domain.
    """
    require_alpha(alpha)
    require_votes("votes", votes)
    ordered = np.sort(votes, axis=-1)
    winner, runner_up, k = ordered[..., -1], ordered[..., -2], votes.shape[-1]
    if k == 2:
        return np.asarray(rounded_down(winner, runner_up, 0.5) >= -math.log(alpha))
    rivals = np.concatenate([ordered[..., :-2], winner[..., None]], axis=-1)
    against = np.broadcast_to(runner_up[..., None], rivals.shape)
    pairs = logsumexp(rounded_down(rivals, against, 0.5), axis=-1) - math.log(k - 1)
    majority = rounded_down(winner, np.asarray(votes.sum(-1) - winner), 0.5)
    return np.asarray(np.maximum(pairs, majority) >= math.log(2.0 / alpha))


def winner_votes_needed(alpha: float, num_classes: int) -> int:
    """Return the smallest n for which unanimous votes are certain."""
    n = 1
    votes = np.zeros(num_classes, dtype=np.int64)
    while True:
        votes[0] = n
        if winner_certain(votes, alpha):
            return n
        n += 1
