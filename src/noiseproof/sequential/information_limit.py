"""How few samples any test can take: ln(1/alpha) over the Kullback-Leibler divergence."""

import numpy as np
from jaxtyping import Float
from scipy.special import xlogy

__all__ = ["information_limit"]

Reals = float | Float[np.ndarray, "*batch"]


def information_limit(p: Reals, p0: float, alpha: float) -> Reals:
    """Return ln(1/alpha) / KL(p || p0): no test of level alpha that stops surely at p needs fewer votes in expectation.

    At the end of a test that certifies with probability 1 under p and <= alpha under p0, the likelihood ratio has
    E_p ln LR = E[N] KL(p || p0) (Wald), and >= ln(1/alpha) by the data processing inequality. Infinite at p = p0.
    """
    divergence = xlogy(p, p / p0) + xlogy(1.0 - p, (1.0 - p) / (1.0 - p0))
    with np.errstate(divide="ignore"):
        return np.asarray(-np.log(alpha) / divergence)
