"""A lower bound of the expected sample size of any test: ln(1/alpha) over the Kullback-Leibler divergence."""

import numpy as np
from jaxtyping import Float
from scipy.special import xlogy

__all__ = ["information_limit"]

Reals = float | Float[np.ndarray, "*batch"]


def information_limit(p: Reals, p0: float, alpha: float) -> Reals:
    """Return ln(1/alpha) / KL(p || p0), a lower bound of E_p[N] for tests that reject p0 with probability 1 under p.

    If a test rejects with probability 1 under p and at most alpha under p0, then the likelihood ratio at its stopping
    time has E_p ln LR = E_p[N] KL(p || p0) (Wald), which is at least ln(1/alpha) by the data processing inequality.
    Infinite at p = p0.
    """
    divergence = xlogy(p, p / p0) + xlogy(1.0 - p, (1.0 - p) / (1.0 - p0))
    with np.errstate(divide="ignore"):
        return np.asarray(-np.log(alpha) / divergence)
