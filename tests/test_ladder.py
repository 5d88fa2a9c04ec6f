"""The sanity ladder: its checks, on verdicts made up for the purpose."""

from pathlib import Path

import numpy as np
import pytest

from noiseproof.experiments.ladder import DRAWS, STEPS, Ladder, controls, grid, unbounded
from noiseproof.robustness import Verdict

IMAGES = 200


def standing(right: int) -> np.ndarray:
    """Verdicts by which the first images are right: a stronger attack breaks those of a weaker one and more."""
    return np.where(np.arange(IMAGES) < right, Verdict.RIGHT, Verdict.WRONG).astype(np.int64)


def ladder(**changes: np.ndarray) -> Ladder:
    """A sound ladder: every rung gains, restarts and controls behave."""
    found = {
        f"pgd-draws{draws}-steps{steps}": standing(150 - 5 * row - 5 * column)
        for row, draws in enumerate(DRAWS)
        for column, steps in enumerate(STEPS)
    }
    found |= {"pgd-restarts2": standing(129), "pgd-restarts4": standing(128)}
    found |= {"random": standing(190), "transfer-x": standing(160), "unbounded": standing(0)}
    return Ladder(found | changes, 1.5, "l2")


def failed(result: Ladder) -> list[str]:
    return [check.text for check in result.checks() if not check.passed]


def test_a_sound_ladder_passes_and_knows_its_plateau() -> None:
    assert failed(ladder()) == []
    assert ladder().robust("random") == 0.95
    assert ladder().plateau() == (pytest.approx(0.025), pytest.approx(0.025))
    assert len(ladder().checks()) == 6


@pytest.mark.parametrize(
    ("rung", "right", "said"),
    [
        ("pgd-draws64-steps20", 190, "more draws"),
        ("pgd-draws1-steps100", 190, "more steps"),
        ("pgd-restarts4", 190, "more restarts"),
        ("random", 60, "random is not stronger"),
        ("transfer-x", 60, "transfer-x is not stronger"),
        ("unbounded", 1, "without bound"),
    ],
)
def test_each_fault_is_named(rung: str, right: int, said: str) -> None:
    assert any(said in text for text in failed(ladder(**{rung: standing(right)})))


def test_chance_is_no_fault() -> None:
    """Five images that one attack breaks and five others that the other breaks tell nothing."""
    other = standing(120)
    other[:5], other[120:125] = Verdict.ABSTAINED, Verdict.RIGHT
    assert failed(ladder(random=other)) == []


def test_the_rungs_are_those_that_were_asked_for() -> None:
    assert len(grid()) == 4 * 4 + 2
    assert grid()["pgd-draws64-steps100"].spec() | {"draws": 64, "steps": 100} == grid()["pgd-draws64-steps100"].spec()
    always = {"margin", "random"}
    assert set(controls("l2")) == {*always, "auto-attack", "carlini-wagner", "boundary", "hop-skip-jump"}
    assert set(controls("linf")) == {*always, "auto-attack", "hop-skip-jump"}
    assert set(controls("l2", decisions=False)) == {*always, "auto-attack"}
    assert set(controls("l1")) == always
    assert unbounded("l2", 784)[1] == 28.0
    assert unbounded("l1", 784)[1] == 784.0
    assert unbounded("linf", 784)[1] == 1.0


def test_the_picture_is_drawn(tmp_path: Path) -> None:
    png, svg = ladder().write(tmp_path)
    assert png.read_bytes().startswith(b"\x89PNG")
    assert svg.read_text().count("<path") > 50


def test_a_ladder_that_goes_down_is_found_out_though_no_single_step_is() -> None:
    """Every rung weaker by nine images of two hundred than the one below: neighbours alone would pass by chance."""
    upside_down = {
        f"pgd-draws{draws}-steps{steps}": standing(120 + 9 * row) for row, draws in enumerate(DRAWS) for steps in STEPS
    }
    assert any("more draws" in text for text in failed(ladder(**upside_down)))


def test_abstaining_is_not_falling_to_an_attack_without_bound() -> None:
    undecided = np.full(IMAGES, Verdict.ABSTAINED, dtype=np.int64)
    assert any("without bound" in text for text in failed(ladder(unbounded=undecided)))
