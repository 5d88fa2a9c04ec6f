"""Figures 3, 4 and 6: accuracy under attack, from records written by hand."""

import shutil
from pathlib import Path

import numpy as np

from noiseproof.experiments.attack_figures import FIGURE3
from noiseproof.experiments.attack_figures import RELEASED as RELEASED_STN
from noiseproof.reports.robustness import Panel, RobustCurve
from synthetic_records import RELEASED, write_attack, write_trades


def test_the_released_network_under_attack_is_a_panel_of_its_own(tmp_path: Path) -> None:
    write_attack(tmp_path, RELEASED_STN, "margin", [1, 2, 3, 4, 4], digest=RELEASED)
    write_trades(tmp_path, "margin", [1, 2])
    found = FIGURE3.compute(tmp_path)
    panels, missing = found.content, found.missing
    assert [panel.title for panel in panels] == ["MNIST (ℓ2)", "CIFAR-10 (ℓ2)"]
    (curve,) = panels[1].curves
    assert curve.name == "STN, released by the authors, sigma 100/255, white-box (50, 1 of 2 attacks)"
    np.testing.assert_allclose(curve.robust, [1.0, 0.8, 0.6, 0.4])
    assert not panels[0].certified
    (wanted,) = (each for each in missing if each.what == "cifar10/stn-released/pgd-log_mean-l2")
    options = "--weights model_cifar10 --data cifar10 --sigma 0.39215686274509803 --precision fp32"
    assert options in wanted.command
    assert any(f"noiseproof certify {tmp_path}/cifar10/stn-released" in each.command for each in missing)
    shutil.rmtree(tmp_path / "cifar10")
    write_attack(tmp_path, RELEASED_STN, "margin", [1, 2, 3, 4, 4], digest="another")
    missing = FIGURE3.compute(tmp_path).missing
    (wrong,) = (each for each in missing if each.what == "cifar10/stn-released/pgd-margin-l2")
    assert f"with weights {RELEASED}" in wrong.why


def test_accuracy_under_attack_is_rounded_up() -> None:
    """It is an upper bound of the robust accuracy: 1 of 3 images is no more than 33.4 %."""
    shares = np.array([1.0, 1 / 3])
    curve = RobustCurve("PGD", np.array([0.0, 0.5]), shares, shares, shares)
    table = Panel("digits (ℓ2)", "l2", [curve]).table("figure3")
    assert (table.headings, table.rows) == (["attack (images)", "0", "0.5"], [["PGD", "100.0", "33.4"]])
