"""The one type for norms: names, orders, labels, and what records hold."""

import json

import numpy as np
import pytest

from noiseproof.errors import InvalidInputError
from noiseproof.perturbations.norms import Norm

ORDERS = {"l2": 2.0, "linf": np.inf, "l1": 1.0}


@pytest.mark.parametrize(("name", "order"), ORDERS.items())
def test_a_norm_is_its_name_and_is_found_by_its_order(name: str, order: float) -> None:
    norm = Norm(name)
    assert norm == name == str(norm) == json.loads(json.dumps(norm))
    assert norm.order == order
    assert norm is Norm(order) is Norm(np.float64(order)) is Norm(norm)
    assert norm.label == f"ℓ{'∞' if order == np.inf else int(order)}"


@pytest.mark.parametrize("norm", Norm)
def test_the_dual_norm_bounds_the_product(norm: Norm) -> None:
    """Hölder's inequality, with equality somewhere: <a, v> <= |a|_q |v|_p."""
    rng = np.random.default_rng(0)
    a, v = rng.normal(size=(2, 4000, 3))
    v = np.concatenate([v, np.sign(a), a, np.eye(3)[np.abs(a).argmax(1)] * np.sign(a)])
    a = np.tile(a, (4, 1))
    shares = (a * v).sum(1) / np.linalg.norm(v, norm.order, axis=1) / np.linalg.norm(a, norm.dual.order, axis=1)
    assert shares.max() == pytest.approx(1.0, abs=1e-12)
    assert norm.dual.dual is norm


@pytest.mark.parametrize("bad", ["l3", "L2", 3.0, 0, None, ""])
def test_what_is_no_norm(bad: object) -> None:
    with pytest.raises(InvalidInputError, match="norm must be 'l2' or 'linf' or 'l1'; got"):
        Norm(bad)
