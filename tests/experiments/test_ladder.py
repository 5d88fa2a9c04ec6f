"""The sanity ladder: its checks, on verdicts made up for the purpose."""

import json
import shlex
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binom

from command_line import invoke, parsed
from noiseproof.cli import names
from noiseproof.evaluation.robust_accuracy import Verdict
from noiseproof.experiments import ladder as ladder_figure
from noiseproof.experiments.figure import Result
from noiseproof.experiments.ladder import LADDER
from noiseproof.experiments.recipes import Missing
from noiseproof.reports.ladder import DRAWS, STEPS, Ladder, controls, grid, unbounded
from noiseproof.runs.attack_records import AttackRecord

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
    assert found == {"eot_samples": (16, 64, 0.025), "steps": (50, 100, 0.025), "restarts": (2, 4, 0.005)}
    assert len(ladder().checks()) == 6


@pytest.mark.parametrize(
    ("rung", "right", "said"),
    [
        ("pgd-draws64-steps20", 190, "more eot_samples"),
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
    [("eot_samples", "pgd-draws16-steps100"), ("steps", "pgd-draws64-steps50"), ("restarts", "pgd-restarts2")],
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
        assert f"{more / 2:+.1f} %" in str(found)


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
            ("eot_samples", "no longer falling within the error"),
            ("steps", "no longer falling within the error"),
            ("restarts", "no longer falling within the error"),
        )
    ]
    figure.canvas.draw()
    legend = figure.axes[0].get_legend()
    assert legend is not None
    assert legend.get_window_extent().y1 <= figure.axes[0].get_window_extent().y0, "it covers no curve"
    falling = ladder(**{"pgd-draws64-steps50": standing(150)}).draw().get_supxlabel().splitlines()
    assert falling[1].startswith("Accuracy under more steps is still falling: +15.0 % gained by 50 to 100 steps")


def test_a_ladder_that_goes_down_is_found_out_though_no_single_step_is() -> None:
    """Every rung weaker by nine images of two hundred than the one below: neighbours alone would pass by chance."""
    upside_down = {
        f"pgd-draws{draws}-steps{steps}": standing(120 + 9 * row) for row, draws in enumerate(DRAWS) for steps in STEPS
    }
    assert any("more eot_samples" in text for text in failed(ladder(**upside_down)))


def test_abstaining_is_not_falling_to_an_attack_without_bound() -> None:
    undecided = np.full(IMAGES, Verdict.ABSTAINED, dtype=np.int64)
    assert any("without bound" in text for text in failed(ladder(unbounded=undecided)))


SLOW = ("carlini-wagner", "boundary", "hop-skip-jump")
APART = {f"mnist/stn-0.7/{name}-l2" for name in SLOW}
COMMITTED = Path(__file__).parents[2] / "reproduction" / "records"


def rung(name: str) -> str:
    """The folder of an attack of the ladder, by which it is named where it is missing."""
    return f"{ladder_figure.FOLDER}/{name}"


@pytest.fixture(name="records")
def _records(tmp_path: Path) -> Path:
    """The committed records of the ladder on MNIST and of the slow attacks of figure 6, to be changed."""
    for folder in (ladder_figure.FOLDER, *(f"mnist/stn-0.7/{name}-l2" for name in SLOW)):
        shutil.copytree(COMMITTED / folder, tmp_path / folder)
    return tmp_path


def test_the_committed_ladder_is_sound_and_reads_the_last_size_of_its_records(records: Path) -> None:
    result = LADDER.compute(records)
    found, missing, read = result.content, result.missing, result.sources
    assert found is not None
    assert failed(found) == []
    assert not any(rung.falling for rung in found.plateau())
    assert len(read) == len(found.verdicts)
    for name in ("pgd-draws64-steps100", "random"):
        record = AttackRecord.open(records / ladder_figure.FOLDER / name)
        verdicts = record.read_verdicts().verdicts
        assert len(verdicts[0]) == 100
        assert found.robust(name) == pytest.approx(float((verdicts == Verdict.RIGHT).all(0).mean()))
    assert not missing
    assert found.verdicts.keys() >= {*SLOW, "margin", "auto-attack", "transfer-mnist-natural", "unbounded"}
    gone = replace(result, missing=[Missing("x", "y")])
    paths = LADDER.write(gone, records / "out")
    assert [path.name for path in paths] == ["ladder.png", "ladder.svg", "ladder.json"]
    assert json.loads(paths[-1].read_text())["missing"] == {"x": "y"}


def test_of_slow_attacks_the_images_and_the_size_that_both_have_are_compared(records: Path) -> None:
    found = LADDER.compute(records).content
    assert found is not None
    for name in SLOW:
        record = AttackRecord.open(records / f"mnist/stn-0.7/{name}-l2")
        sizes, verdicts = list(record.settings.sizes), record.read_verdicts().verdicts
        at = verdicts[: sizes.index(2.0) + 1].max(0)
        assert np.asarray(ladder_figure.IMAGES)[found.rows[name]].tolist() == list(record.settings.indices)
        np.testing.assert_array_equal(found.verdicts[name], at)
        assert at.max() == Verdict.WRONG
        (check,) = (check for check in found.checks() if check.text.startswith(name))
        assert check.found.endswith("50 of the images")


def test_an_attack_on_some_images_is_compared_on_them_alone() -> None:
    """Of 200 images the strongest breaks all but the first 120; the last 40 are those of the slow attack."""
    rows = np.arange(160, 200)
    wrong, right = np.full(40, int(Verdict.WRONG)), np.full(40, int(Verdict.RIGHT))
    one = ladder()
    for verdicts, stronger in ((wrong, False), (right, False)):
        each = Ladder({**one.verdicts, "slow": verdicts}, one.size, one.norm, {"slow": rows})
        assert any("slow is not stronger" in text for text in failed(each)) is stronger
    first = np.arange(40)  # which the strongest leaves right
    each = Ladder({**one.verdicts, "slow": wrong}, one.size, one.norm, {"slow": first})
    assert any("slow is not stronger" in text for text in failed(each))


def test_without_a_control_it_is_drawn_and_without_a_rung_it_is_not(records: Path) -> None:
    shutil.rmtree(records / ladder_figure.FOLDER / "random")
    shutil.rmtree(records / "mnist/stn-0.7/boundary-l2")
    result = LADDER.compute(records)
    found, missing = result.content, result.missing
    assert found is not None
    assert not found.verdicts.keys() & {"random", "boundary"}
    boundary = "mnist/stn-0.7/boundary-l2"
    assert {each.what for each in missing} == {rung("random"), boundary}
    commands = {each.what: each.command for each in missing}
    assert "--attack random" in commands[rung("random")]
    assert "--attack boundary" in commands[boundary]
    shutil.rmtree(records / ladder_figure.FOLDER / "pgd-draws4-steps20")
    assert LADDER.compute(records).content is None


def test_rungs_of_two_engines_are_no_ladder(records: Path) -> None:
    file = records / rung("pgd-draws4-steps20") / AttackRecord.configuration
    content = json.loads(file.read_text())
    content["settings"]["engine"]["device"] = "cpu"
    file.write_text(json.dumps(content))
    result = LADDER.compute(records)
    assert result.content is None
    assert [each.what for each in result.missing] == [rung("pgd-draws4-steps20")]
    assert "with engine" in result.missing[0].why


def test_the_commands_make_what_is_missing(records: Path, tmp_path: Path) -> None:
    """Of a folder with nothing one command makes all; beside records of any engine each has its own."""
    empty = tmp_path / "empty"
    missing = LADDER.compute(empty).missing
    (command,) = {each.command for each in missing if each.what not in APART}
    made = parsed(*shlex.split(command)[1:])
    assert (made["epsilon"], made["limit"], made["decisions"]) == (ladder_figure.SIZE, 100, False)

    wanted = {path.name: AttackRecord.open(path) for path in (records / ladder_figure.FOLDER).iterdir()}
    shutil.rmtree(records / ladder_figure.FOLDER)
    (records / ladder_figure.FOLDER).mkdir()
    commands = {each.what: each.command for each in LADDER.compute(records).missing if each.what not in APART}
    assert commands.keys() == set(map(rung, wanted))
    for name, record in wanted.items():
        made, settings = parsed(*shlex.split(commands[rung(name)])[1:]), record.settings
        attack = made["attack"]
        spec = dict(settings.attack.get("attack", settings.attack))
        assert names.attack(attack.attack, attack.changes).spec() == spec
        assert [0.0, *attack.epsilons] == pytest.approx(settings.sizes, abs=0)
        assert range(0, 10_000, made["images"].every) == settings.indices
        assert (attack.source is not None) is name.startswith("transfer")
        assert made["out"] == records / ladder_figure.FOLDER / name


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda settings: settings["attack"].update(steps=21), "with settings"),
        (lambda settings: settings.update(sizes=[0.0, 1.0]), "with sizes"),
        (lambda settings: settings.update(norm="linf"), "with norm"),
        (lambda settings: settings["noise"].update(sigma=0.5), "with noise"),
        (lambda settings: settings["model"].update(name="zoo:mnist-stn-0.5"), "with model"),
        (lambda settings: settings.update(samples=500), "with votes"),
        (lambda settings: settings["data"].update(name="cifar10"), "with data"),
        (lambda settings: settings.update(start=5, stop=9905), "with images"),
        (lambda settings: settings.update(stop=10_001, step=101), "with every"),
        (lambda settings: settings.update(alpha=0.05), "with level"),
        (lambda settings: settings.update(limits={"record": "x"}), "with limits"),
        (lambda settings: settings["engine"].update(precision="int8"), "with engine precision"),
    ],
)
def test_a_record_of_something_else_is_no_rung(change: object, said: str, records: Path) -> None:
    file = records / ladder_figure.FOLDER / "pgd-draws4-steps20" / AttackRecord.configuration
    content = json.loads(file.read_text())
    change(content["settings"])  # type: ignore[operator]
    file.write_text(json.dumps(content))
    result = LADDER.compute(records)
    found, missing = result.content, result.missing
    assert found is None
    assert [said in each.why for each in missing if each.what == rung("pgd-draws4-steps20")] == [True]


def test_the_command_shows_the_checks_and_fails_with_them(
    records: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def reproduced(*options: str, code: int = 0) -> str:
        arguments = ("reproduce", "ladder", "--records", records, "--out", tmp_path / "out")
        return invoke(*arguments, *options, code=code).stdout

    assert "random" in reproduced()
    assert json.loads(reproduced("--json"))["sound"] is True
    sound = LADDER.compute(records).content
    assert sound is not None
    broken = replace(sound, verdicts={**sound.verdicts, "random": np.full(100, int(Verdict.WRONG))})
    monkeypatch.setattr(type(LADDER), "compute", lambda *_: Result(broken, [], {}))
    assert "fails" in reproduced(code=1)
    assert json.loads(reproduced("--json", code=1))["sound"] is False
    monkeypatch.setattr(type(LADDER), "compute", lambda *_: Result(None, [], {}))
    reproduced(code=3)  # nothing can be drawn
