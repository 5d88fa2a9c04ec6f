"""The sanity ladder: its checks, on verdicts made up for the purpose."""

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binom

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
    found = {rung.what: (rung.before, rung.last, round(rung.gain, 6)) for rung in ladder().plateau()}
    assert found == {"draws": (16, 64, 0.025), "steps": (50, 100, 0.025), "restarts": (2, 4, 0.005)}
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


@pytest.mark.parametrize(
    ("what", "rung"),
    [("draws", "pgd-draws16-steps100"), ("steps", "pgd-draws64-steps50"), ("restarts", "pgd-restarts2")],
)
def test_a_plateau_is_one_where_the_last_rung_gains_no_more_than_its_error(what: str, rung: str) -> None:
    """Each axis by itself: 5 images that fall to the last rung alone are chance (1 in 32), 6 are not (1 in 64)."""
    last = 128 if what == "restarts" else 120
    for more, falls in ((0, False), (5, False), (6, True), (60, True)):
        (found,) = (each for each in ladder(**{rung: standing(last + more)}).plateau() if each.what == what)
        assert found.falling is falls, more
        assert found.gain == pytest.approx(more / IMAGES)
        assert found.p_value == pytest.approx(0.5**more)
        assert found.verdict == ("still falling" if falls else "no longer falling within the error")
        # what it may gain: Clopper-Pearson by its definition, also where not one image was seen to fall
        assert binom.cdf(more, IMAGES, found.most) == pytest.approx(0.025)
        assert f"{more / 2:+.1f}%" in str(found)


def test_images_that_come_back_speak_against_a_fall() -> None:
    """The last rung breaks 20 that the one before left, and leaves 14 that it broke: six more, and no evidence."""
    before = standing(140)
    before[:14] = Verdict.WRONG
    (found, *_) = ladder(**{"pgd-draws16-steps100": before}).plateau()
    assert found.gain == pytest.approx(6 / IMAGES)
    assert not found.falling
    assert found.p_value == pytest.approx(binom.sf(19, 34, 0.5))
    assert found.most > 0.1 > found.gain


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
    figure = ladder().draw()
    assert [line.partition(":")[0] for line in figure.get_supxlabel().splitlines()] == [
        f"Accuracy under more {what} is {verdict}"
        for what, verdict in (
            ("draws", "no longer falling within the error"),
            ("steps", "no longer falling within the error"),
            ("restarts", "no longer falling within the error"),
        )
    ]
    falling = ladder(**{"pgd-draws64-steps50": standing(150)}).draw().get_supxlabel().splitlines()
    assert falling[1].startswith("Accuracy under more steps is still falling: +15.0% gained by 50 to 100 steps")


def test_a_ladder_that_goes_down_is_found_out_though_no_single_step_is() -> None:
    """Every rung weaker by nine images of two hundred than the one below: neighbours alone would pass by chance."""
    upside_down = {
        f"pgd-draws{draws}-steps{steps}": standing(120 + 9 * row) for row, draws in enumerate(DRAWS) for steps in STEPS
    }
    assert any("more draws" in text for text in failed(ladder(**upside_down)))


def test_abstaining_is_not_falling_to_an_attack_without_bound() -> None:
    undecided = np.full(IMAGES, Verdict.ABSTAINED, dtype=np.int64)
    assert any("without bound" in text for text in failed(ladder(unbounded=undecided)))
