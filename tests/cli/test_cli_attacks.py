"""`noiseproof attack`, `audit`, `ladder` and the figures drawn from records, as people use them."""

import dataclasses
import itertools
import json
import math
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jaxtyping import Float

from command_line import figures as noiseproof
from command_line import invoke
from noiseproof.attacks import PGD, AttackLoss, RandomSearch
from noiseproof.certificates import NeymanPearson
from noiseproof.cli.console import console
from noiseproof.errors import NoiseproofError
from noiseproof.experiments import attack_figures, load_figure
from noiseproof.experiments.attacked import Attacked
from noiseproof.experiments.figure import Figure
from noiseproof.experiments.networks import Network
from noiseproof.experiments.recipes import Missing
from noiseproof.noises import Noise
from noiseproof.perturbations.norms import Norm
from noiseproof.plugins import changes_of
from noiseproof.reports import ladder
from noiseproof.reports.attacked import certified_beside, other_engine, worst_case
from noiseproof.reports.robustness import Panel
from noiseproof.runs.attack_records import AttackRecord

FAST = ["--set", "eot_samples=4", "--set", "steps=5"]


@pytest.fixture(scope="module")
def run(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the trained network for the tests of this file, certified."""
    folder = tmp_path_factory.mktemp("runs") / "stn"
    shutil.copytree(trained, folder)
    noiseproof("certify", folder, "--samples", 500, "--every", 10)
    return folder


def test_attack_says_what_is_still_right_and_beside_it_what_is_certified(run: Path) -> None:
    found = noiseproof("attack", run, *FAST, "--every", 20, "--samples", 300)
    assert found["images"] == 30
    assert found["sizes"] == [0.0, 0.125, 0.25, 0.375, 0.5, 0.75]  # of sigma .25
    robust, certified = np.array(found["robust"]), np.array(found["certified"])
    assert (np.diff(robust) <= 0.0).all()
    assert (certified <= robust).all()
    assert robust[0] > 0.8
    assert robust[-1] < 0.6
    assert certified[1] > 0.5
    assert np.allclose(robust + found["abstained"] + found["wrong"], 1.0)
    assert Path(found["picture"]).read_text().startswith("<?xml")
    record = AttackRecord.open(run / "attacks" / "pgd-l2")
    before = {path: path.stat().st_mtime_ns for path in record.path.glob("*/*")}
    again = noiseproof("attack", run, *FAST, "--every", 20, "--samples", 300)
    assert again == found
    assert {path: path.stat().st_mtime_ns for path in record.path.glob("*/*")} == before


def test_points_are_judged_again_by_as_many_votes_as_one_likes(run: Path, plain: Path, tmp_path: Path) -> None:
    attack = tmp_path / "found"
    options = [*FAST, "--every", 40, "--samples", 50, "--epsilons", "0.4,0.8", "--out", attack]
    first = noiseproof("attack", run, *options)
    before = {path: path.read_bytes() for path in attack.rglob("*") if path.is_file()}
    network = ["--model", run / "checkpoint.safetensors"]
    found = noiseproof("rejudge", attack, "--samples", 400, *network)
    assert set(found) == set(first)
    assert (found["images"], found["sizes"]) == (first["images"], first["sizes"])
    assert (np.array(found["abstained"]) <= np.array(first["abstained"])).all()
    assert sum(found["abstained"]) < sum(first["abstained"]), "which more votes are for"
    record, points = AttackRecord.open(tmp_path / "found-votes400-seed1"), AttackRecord.open(attack)
    assert found["attack"] == str(record.path)
    assert (record.settings.samples, record.settings.seed, record.settings.attack) == (400, 1, points.settings.attack)
    assert (record.read().votes.sum(2) == 400).all()
    np.testing.assert_array_equal(record.read_points(0), points.read_points(0))
    assert {path: path.read_bytes() for path in before} == before, "nothing of the attack is touched"
    written = {path: path.stat().st_mtime_ns for path in record.path.glob("*/*")}
    assert noiseproof("rejudge", attack, "--samples", 400, *network) == found
    assert {path: path.stat().st_mtime_ns for path in record.path.glob("*/*")} == written
    with pytest.raises(NoiseproofError, match="samples 300"):
        noiseproof("rejudge", attack, "--samples", 300, *network, "--out", record.path)
    with pytest.raises(NoiseproofError, match="got points nothing, samples 50"):  # of the attack itself
        noiseproof("rejudge", attack, "--samples", 300, *network, "--out", attack)
    with pytest.raises(NoiseproofError, match="must be a record with model"):
        noiseproof("rejudge", attack, "--model", plain / "checkpoint.safetensors")
    with pytest.raises(NoiseproofError, match=r"seed must be another than 0; got 0"):
        noiseproof("rejudge", attack, "--seed", 0, *network)
    points.shard_path(0).unlink()
    with pytest.raises(NoiseproofError, match="complete, to be judged again"):
        noiseproof("rejudge", attack, *network)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["found", "found-votes400-seed1"]


def test_the_network_of_the_run_above_is_found_and_what_it_certifies_stands_beside(run: Path) -> None:
    attack = run / "attacks" / "short"
    first = noiseproof("attack", run, *FAST, "--every", 60, "--samples", 50, "--epsilons", "0.2", "--out", attack)
    found = noiseproof("rejudge", attack, "--samples", 100, "--alpha", 0.01)
    assert AttackRecord.open(run / "attacks" / "short-votes100-seed1").settings.alpha == 0.01
    assert first["certified"] is not None
    assert found["certified"] is not None
    audited = run / "attacks" / "audited"
    noiseproof("audit", run, *STRONG, "--samples", 50, "--every", 200, "--out", audited)
    with pytest.raises(NoiseproofError, match=r"got an audit\. Audit again"):
        noiseproof("rejudge", audited)


MINE = """
from pathlib import Path
from torch import nn
from noiseproof.models import load_checkpoint

SIGN = 1.0

class Mine(nn.Module):
    def __init__(self, stairs):
        super().__init__()
        self.network, self.stairs = load_checkpoint(Path("CHECKPOINT")).model, stairs
    def forward(self, x):
        return SIGN * self.network((8 * x).round() / 8 if self.stairs else x)

def smooth():
    return Mine(False)

def stairs():
    return Mine(True)
"""


@pytest.fixture
def mine(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with code of a user's own, around the network of these tests."""
    (tmp_path / "mine_attacked.py").write_text(MINE.replace("CHECKPOINT", str(run / "checkpoint.safetensors")))
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    sys.modules.pop("mine_attacked", None)


OF_MINE = ("--data", "digits")


def test_an_audit_without_gradients_does_not_pass(mine: Path) -> None:
    named = ("--model", "mine_attacked:stairs", *OF_MINE)
    noiseproof("certify", mine / "run", *named, "--sigma", 0.25, "--samples", 300, "--every", 40)
    options = ("--set", "eot_samples=4", "--set", "steps=3", "--samples", 50)
    found = noiseproof("audit", mine / "run", *named, *options, code=1)
    assert not found["passed"]
    assert found["unmoved"] == found["attacked"] > 5
    assert found["attack"]["steps"] == 3, "and what was run"
    assert found["votes"] == 50
    assert "Nothing was audited" in invoke("audit", mine / "run", *named, *options, code=1).stdout
    attack = ("attack", mine / "run", *named, "--sigma", 0.25, *FAST, "--every", 40, "--samples", 50, "--epsilons", 0.3)
    assert noiseproof(*attack, "--out", mine / "blind")["unmoved"] > 5
    sharp = ("attack", mine / "other", "--model", "mine_attacked:smooth", *OF_MINE, "--sigma", 0.25, *FAST)
    assert noiseproof(*sharp, "--every", 40, "--samples", 50, "--epsilons", 0.3)["unmoved"] == 0


def test_a_classifier_that_has_changed_unseen_is_neither_attacked_nor_audited(
    mine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = ("--model", "mine_attacked:smooth", *OF_MINE)
    noiseproof("certify", mine / "run", *named, "--sigma", 0.25, "--samples", 300, "--every", 40)
    audit = ("audit", mine / "run", *named, "--set", "eot_samples=4", "--set", "steps=3", "--samples", 50)
    attack = ("attack", mine / "run", *named, "--sigma", 0.25, *FAST, "--every", 40, "--samples", 50, "--epsilons", 0.3)
    assert noiseproof(*audit)["passed"]
    assert noiseproof(*attack)["certified"] is not None
    with pytest.raises(NoiseproofError, match="must be a record with model"):
        noiseproof("audit", mine / "run", "--model", "mine_attacked:stairs", *OF_MINE)
    monkeypatch.setattr(sys.modules["mine_attacked"], "SIGN", -1.0)
    for command in (audit, attack):
        with pytest.raises(NoiseproofError, match="the one that the record was begun with"):
            noiseproof(*command)


def test_a_noise_without_a_model_is_refused(run: Path) -> None:
    with pytest.raises(NoiseproofError, match="noise must be given with model="):
        noiseproof("attack", run, "--noise", "laplace", "--epsilons", "0.1")


def test_another_engine_than_the_certified_one_is_told(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = [*FAST, "--set", "loss=margin", "--every", 150, "--epsilons", "0.5", "--samples", 50]
    place = tmp_path / "stn" / "pgd-margin-l2"
    alike = noiseproof("attack", run, *options, "--out", place)
    assert alike["certified"] is not None
    assert alike["other_engine"] is None
    noiseproof("certify", tmp_path / "stn", "--model", run / "checkpoint.safetensors", "--samples", 500, "--every", 50)
    record = AttackRecord.open(place)
    settings = dataclasses.replace(record.settings, engine=dict(record.settings.engine) | {"precision": "bf16"})
    other = dataclasses.replace(record, settings=settings)
    told = other_engine(tmp_path / "stn", other)
    assert told == "certified with precision fp32; attacked with precision bf16"
    assert other_engine(tmp_path / "stn", record) is None
    assert other_engine(tmp_path / "nothing", other) is None
    monkeypatch.setattr(attack_figures, "other_engine", lambda *_: told)
    (panel,) = small_figure("margin").compute(tmp_path).content
    assert [area.name for area in panel.certified] == ["STN (4, in another engine)"]


def test_the_cube_inside_a_certified_ball_stands_beside_attacks_in_linf(run: Path) -> None:
    """64 pixels: a size of 0.05 in l_inf is certified where a radius of 0.4 is; by one function for tables and figures."""
    options = [*FAST, "--every", 60, "--samples", 50]
    cube = noiseproof("attack", run, *options, "--norm", "linf", "--epsilons", "0.025,0.05", "--out", run / "cube")
    ball = noiseproof("attack", run, *options, "--epsilons", "0.2,0.4", "--out", run / "ball")
    assert cube["certified"] == ball["certified"]
    assert 0.0 < cube["certified"][2] < cube["certified"][0]
    record = AttackRecord.open(run / "cube")
    for known in ({}, {"image_shape": [1, 8, 8]}):  # by the points, in records of before; by what is written
        alike = dataclasses.replace(record, about=known)
        certified = certified_beside(run, alike)
        assert certified is not None
        assert certified.tolist() == cube["certified"]
        shutil.rmtree(record.path / "points", ignore_errors=True)
    assert record.about["image_shape"] == [1, 8, 8]
    assert certified_beside(run, dataclasses.replace(record, about={})) is None, "neither is there"
    record = AttackRecord.open(run / "ball")
    grid = np.linspace(0.0, 0.4, 5)
    along = certified_beside(run, record, grid)
    assert along is not None
    np.testing.assert_array_equal(along[[0, 2, 4]], ball["certified"])
    assert (
        noiseproof("attack", run, *options, "--norm", "l1", "--epsilons", "1", "--out", run / "l1")["certified"] is None
    )


def test_an_undefended_network_has_one_vote_and_falls_sooner(run: Path, plain: Path) -> None:
    found = noiseproof("attack", plain, "--every", 20, "--epsilons", "0.9")
    settings = AttackRecord.open(plain / "attacks" / "pgd-l2").settings
    assert settings.noise is None
    assert settings.samples == 1
    assert found["abstained"] == [0.0, 0.0]
    assert found["robust"][1] < found["robust"][0]
    with pytest.raises(NoiseproofError, match="got one without noise"):
        noiseproof("rejudge", plain / "attacks" / "pgd-l2")
    bare = noiseproof("attack", run, "--sigma", 0, "--every", 20, "--epsilons", "0.5", "--out", run / "bare")
    assert AttackRecord.open(run / "bare").settings.noise is None
    assert bare["robust"][0] > 0.8


def test_transfer_attacks_the_other_network(run: Path, plain: Path) -> None:
    found = noiseproof("attack", run, "--source", plain, "--every", 20, "--epsilons", "0.5", "--samples", 300)
    white = noiseproof(
        "attack", run, *FAST, "--every", 20, "--epsilons", "0.5", "--out", run / "white", "--samples", 300
    )
    assert found["robust"][1] >= white["robust"][1]
    made = [AttackRecord.open(path) for path in (run / "attacks" / "transfer-pgd-l2", run / "white")]
    assert "no noise" in made[0].settings.attack["source_name"]
    together = worst_case(made)
    assert together.robust[1] <= min(found["robust"][1], white["robust"][1])
    noiseproof("attack", run, *FAST, "--every", 40, "--epsilons", "0.5", "--out", run / "fewer", "--samples", 50)
    with pytest.raises(NoiseproofError, match="same images of one classifier"):
        worst_case([made[0], AttackRecord.open(run / "fewer")])


def test_every_attack_runs_by_name(run: Path) -> None:
    quick = {
        "auto-pgd": ["eot_samples=2", "steps=5"],
        "auto-attack": ["eot_samples=2", "steps=5"],
        "carlini-wagner": ["eot_samples=2", "steps=5"],
        "boundary": ["eot_samples=2", "steps=5"],
        "hop-skip-jump": ["eot_samples=2", "steps=1"],
        "random": ["tries=3"],
    }
    for name, changes in quick.items():
        sets = [part for change in changes for part in ("--set", change)]
        found = noiseproof("attack", run, "--attack", name, *sets, "--limit", 2, "--epsilons", "0.5", "--samples", 50)
        assert found["images"] == 2, name


STRONG = ["--set", "eot_samples=8", "--set", "steps=15"]


def boast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Break the certificate: radii three times too long."""
    real = NeymanPearson.radius

    def boastful(
        self: NeymanPearson, noise: Noise, p1: Float[np.ndarray, "*shape"], p2: Float[np.ndarray, "*shape"]
    ) -> Float[np.ndarray, "*shape"]:
        return 3.0 * real(self, noise, p1, p2)

    monkeypatch.setattr(NeymanPearson, "radius", boastful)


def test_a_sound_run_passes_its_audit_and_a_broken_certificate_fails_it_loudly(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = noiseproof("audit", run, *STRONG, "--samples", 500, "--every", 20)
    assert found["passed"]
    assert found["contradictions"] == []
    assert 15 <= found["attacked"] <= found["images"] == 30
    assert found["unmoved"] == 0
    spec = AttackRecord.open(run / "audit").settings.attack
    assert (spec["draws"], spec["steps"], spec["random_start"]) == (8, 15, False)
    again = noiseproof("audit", run, *STRONG, "--samples", 500, "--every", 20)
    assert again == found
    boast(monkeypatch)
    with pytest.raises(NoiseproofError, match="limits record"):  # never the audit of radii that were computed before
        noiseproof("audit", run, *STRONG, "--samples", 500, "--every", 20)
    result = invoke("audit", run, *STRONG, "--samples", 500, "--out", run / "broken", code=1)
    assert "Failed" in result.stdout
    assert "Contradicted: images" in result.stdout


def test_an_audit_that_would_audit_nothing_is_an_error(run: Path, tmp_path: Path) -> None:
    with pytest.raises(NoiseproofError, match="radius above 0"):
        noiseproof("audit", run, *STRONG, "--samples", 50, "--limit", 2, "--alpha", 1e-200, "--out", tmp_path)


def test_an_audit_is_of_the_classifier_and_the_data_that_were_certified(run: Path, plain: Path, tmp_path: Path) -> None:
    with pytest.raises(NoiseproofError, match="must be a record with model"):
        noiseproof("audit", run, "--model", plain / "checkpoint.safetensors")
    other = tmp_path / "other.npz"
    pictures = np.random.default_rng(0).random((20, 1, 8, 8), dtype=np.float32)
    np.savez(other, images=pictures, labels=np.arange(20) % 10)
    with pytest.raises(NoiseproofError, match="must be a record with data"):
        noiseproof("audit", run, "--data", other)
    ink = ["--data", "digits", "--sigma", 0.5]
    noiseproof("certify", tmp_path / "ink", "--model", "half_space:ink", *ink, "--samples", 100, "--limit", 5)
    with pytest.raises(NoiseproofError, match="must be a record with model"):
        noiseproof("audit", tmp_path / "ink", "--model", "half_space:thin_ink", "--data", "digits")
    arguments = ["--model", "half_space:ink", "--data", "digits", "--attack", "random", "--set", "tries=3"]
    assert noiseproof("audit", tmp_path / "ink", *arguments, "--samples", 100)["passed"]


def test_other_noises_are_audited_in_their_norm(tmp_path: Path) -> None:
    ink = ["--model", "half_space:ink", "--data", "digits"]
    noise = ["--noise", "laplace", "--sigma", 0.4, "--samples", 200, "--limit", 5]
    noiseproof("certify", tmp_path / "l1", *ink, *noise)
    assert noiseproof("audit", tmp_path / "l1", *ink, "--attack", "random", "--samples", 100)["passed"]
    assert AttackRecord.open(tmp_path / "l1" / "audit").settings.norm == "l1"


def test_what_cannot_be_attacked_leaves_no_record_behind(tmp_path: Path) -> None:
    arguments = ["--model", "half_space:ink", "--data", "digits", "--sigma", 0.25, "--limit", 2, "--epsilons", "0.5"]
    for more in ([], ["--attack", "random", "--alpha", 2.0]):
        with pytest.raises(NoiseproofError):
            noiseproof("attack", tmp_path / "ink", *arguments, *more)
        assert not list(tmp_path.rglob("attack.json"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--epsilons", "0.5,x"], "--epsilons must be numbers >= 0 with commas between; got '0.5,x'"),
        (["--epsilons", "-1"], "--epsilons must be numbers >= 0"),
        (["--norm", "linf"], "epsilons must be given for attacks in linf"),
        (["--norm", "l1", "--attack", "boundary", "--epsilons", "1"], "norm must be l2 for BoundaryAttack; got 'l1'"),
        (["--set", "strength=9"], "changes must be NAME=VALUE with a setting of PGD; got 'strength=9'. It has"),
        (["--set", "random_start=perhaps"], "random_start must be true or false"),
        (["--set", "draws=9"], "--set draws must be written --set eot_samples; got its old name"),
        (["--set", "steps=0"], "steps must be an integer >= 1"),
        (["--samples", "0"], "samples must be an integer >= 1"),
        (["--every", "0"], "every must be an integer >= 1"),
        (["--source", "nowhere", "--epsilons", "1"], "nowhere/checkpoint.safetensors must be a file"),
        (["--weights", "w.pt"], "holds its own; got w.pt"),
    ],
)
def test_bad_input_is_refused_before_anything_runs(run: Path, arguments: list[str], said: str, tmp_path: Path) -> None:
    with pytest.raises(NoiseproofError, match="must be") as error:
        noiseproof("attack", run, *arguments, "--out", tmp_path / "out")
    assert said in str(error.value)
    assert not (tmp_path / "out").exists()


def test_a_classifier_without_gradients_is_sent_to_attacks_on_decisions(tmp_path: Path) -> None:
    arguments = ["--model", "half_space:ink", "--data", "digits", "--sigma", 0.25, "--limit", 2, "--epsilons", "0.5"]
    with pytest.raises(NoiseproofError, match="hop-skip-jump"):
        noiseproof("attack", tmp_path / "ink", *arguments)
    found = noiseproof("attack", tmp_path / "ink", "--attack", "random", *arguments, "--samples", 50)
    assert found["images"] == 2
    rejudge = ("rejudge", found["attack"], "--samples", 100)
    with pytest.MonkeyPatch.context() as patch:  # as on another account
        patch.setattr("noiseproof.storage.trusted.cache", lambda: tmp_path / "unknown")
        with pytest.raises(
            NoiseproofError, match="code that was named on this account before: a record alone runs none"
        ):
            noiseproof(*rejudge)
    again = noiseproof(*rejudge)
    assert (again["images"], again["sizes"]) == (2, found["sizes"])
    with pytest.raises(NoiseproofError, match="must be a record with model"):
        noiseproof("rejudge", found["attack"], "--model", "half_space:thin_ink", "--data", "digits")


def test_accuracy_under_attack_is_rounded_up_and_certified_accuracy_down(run: Path, tmp_path: Path) -> None:
    """An upper bound of robust accuracy, and a lower one: of seven images no share but 0 and 1 is a tenth of a per cent."""
    few = (
        "--limit",
        7,
        "--every",
        10,
        "--epsilons",
        "0.2,0.8",
        "--set",
        "steps=2",
        "--samples",
        400,
        "--out",
        tmp_path / "a",
    )
    found = noiseproof("attack", run, *few)
    table = invoke("attack", run, *few).stdout
    rows = [
        line.replace(" %", "").split() for line in table.splitlines() if line.strip().startswith(("0 ", "0.2 ", "0.8 "))
    ]
    assert any(0.0 < share < 1.0 for share in found["robust"])
    assert [row[1] for row in rows] == [f"{math.ceil(1000 * share - 1e-9) / 10:.1f}" for share in found["robust"]]
    assert [row[-1] for row in rows] == [f"{math.floor(1000 * share + 1e-9) / 10:.1f}" for share in found["certified"]]
    invoke("report", tmp_path / "a", "--out", tmp_path / "page.html")
    cells = re.findall(r"<tr><td>still right</td>(.*?)</tr>", (tmp_path / "page.html").read_text())
    assert re.findall(r"<td>([0-9.]+) %</td>", cells[0]) == [row[1] for row in rows]


def test_ladder_of_a_small_network(run: Path, plain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of it, with small rungs."""
    for name, rungs in {"DRAWS": (1, 2), "STEPS": (2, 4), "RESTARTS": (1, 2), "_MIDDLE": (2, 4)}.items():
        monkeypatch.setattr(ladder, name, rungs)
    options = ("--epsilon", 0.4, "--limit", 10, "--no-decisions", "--samples", 400, "--source", plain)
    found = noiseproof("ladder", run, *options)
    assert set(found["robust"]) == {
        *(f"pgd-draws{draws}-steps{steps}" for draws in (1, 2) for steps in (2, 4)),
        *("pgd-restarts2", "random", "margin", "auto-attack", f"transfer-{plain.name}", "unbounded"),
    }
    assert all(check["passed"] for check in found["checks"])
    assert Path(found["pictures"][0]).stat().st_size > 10_000
    assert set(found["plateau"]) == {"eot_samples", "steps", "restarts"}
    for what, before, last in (("eot_samples", 1, 2), ("steps", 2, 4), ("restarts", 1, 2)):
        rung = found["plateau"][what]
        assert (rung["before"], rung["last"]) == (before, last)
        assert rung["verdict"] == (
            "still falling" if rung["p_value"] <= 0.025 else "no longer falling within the error"
        )
    top, fewer = (found["robust"][f"pgd-draws2-steps{steps}"] for steps in (4, 2))
    assert found["plateau"]["steps"]["gain"] == pytest.approx(fewer - top)
    monkeypatch.setattr(console, "width", 200)
    shown = invoke("ladder", run, *options)
    for what in ("eot_samples", "steps", "restarts"):
        assert f"accuracy under more {what} settles" in shown.stdout
    assert "no longer falling within the error" in shown.stdout


class _Digits(Network):
    """The network of these tests, in a folder of its own."""

    title = "STN"
    model = "digits-cnn"
    attacked = "auto"

    def folder(self, seed: int = 0) -> str:
        assert seed == 0
        return "stn"


DIGITS = _Digits("digits", "stn", 0.25)
FEW: dict[str, Any] = {"every": 150, "epsilons": (0.5,), "images": 599}


def small_figure(loss: AttackLoss) -> Figure[list[Panel]]:
    """A figure of two curves, of one and of two attacks on the network of these tests."""
    one = Attacked(DIGITS, PGD(loss=loss, eot_samples=4, steps=5), "l2", **FEW, samples=50)
    other = Attacked(DIGITS, RandomSearch(), "l2", **FEW, samples=50)
    curves = [("PGD", (one,), 0, False), ("both", (one, other), 1, True)]
    return dataclasses.replace(
        attack_figures.FIGURE6, planned={"digits": lambda norm: curves if norm == "l2" else []}, certified=[(DIGITS, 0)]
    )


def test_figures_are_drawn_from_the_records_there_are_and_name_the_others(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attack_figures, "FIGURE6", small_figure("margin"))
    records, out = tmp_path / "records", tmp_path / "out"
    empty = noiseproof("reproduce", "figure6", "--records", records, "--out", out, code=3)
    assert len(empty["missing"]) == 3  # two attacks, though three times wanted, and the certificates
    assert empty["files"] == []
    options = [*FAST, "--set", "loss=margin", "--every", 150, "--epsilons", "0.5", "--samples", 50]
    noiseproof("attack", run, *options, "--out", records / "stn" / "pgd-margin-l2")
    found = noiseproof("reproduce", "figure6", "--records", records, "--out", out)
    assert len(found["missing"]) == 2
    curves = json.loads((out / "figure6.json").read_text())
    assert [curve["curve"] for curve in curves] == ["PGD (4)", "both (4, 1 of 2 attacks)"]
    assert curves[0]["robust"] == curves[1]["robust"]
    assert (out / "figure6.png").stat().st_size > 10_000
    monkeypatch.setattr(attack_figures, "FIGURE6", small_figure("log_mean"))
    assert len(noiseproof("reproduce", "figure6", "--records", records, "--out", out, code=3)["missing"]) == 3


def test_what_is_certified_is_drawn_as_the_table_has_it(run: Path, plain: Path, tmp_path: Path) -> None:
    figure, network = small_figure("margin"), ["--model", run / "checkpoint.safetensors"]
    place = tmp_path / "stn" / "pgd-margin-l2"
    options = [*FAST, "--set", "loss=margin", "--every", 150, "--epsilons", "0.5", "--samples", 50]
    noiseproof("attack", run, *options, "--out", place)
    result = figure.compute(tmp_path)
    panels, missing = result.content, result.missing
    assert panels[0].certified == []
    assert any("certify" in each.command for each in missing)
    noiseproof("certify", tmp_path / "stn", *network, "--samples", 500, "--every", 50)
    result = figure.compute(tmp_path)
    panels, missing = result.content, result.missing
    (area,) = panels[0].certified
    assert not any("certify" in each.command for each in missing)
    expected = certified_beside(tmp_path / "stn", AttackRecord.open(place), area.radii)
    assert expected is not None
    np.testing.assert_array_equal(area.accuracy, expected)
    assert area.name == "STN (4)", "of the images that are attacked"
    assert (area.radii[0], area.radii[-1]) == (0.0, 0.5)
    assert area.accuracy[0] > area.accuracy[-1]
    other = tmp_path / "others" / "stn"
    noiseproof("attack", plain, "--sigma", 0.25, *options, "--out", other / "pgd-margin-l2")
    noiseproof("certify", other, *network, "--samples", 500, "--every", 50)
    panels = figure.compute(tmp_path / "others").content
    assert panels[0].certified == [], "another network of the same name"


def test_an_attack_on_another_precision_than_what_is_certified_is_not_drawn(run: Path, tmp_path: Path) -> None:
    one = Attacked(DIGITS, PGD(loss="margin", eot_samples=4, steps=5), "l2", **FEW, precision="bf16")
    options = [
        *FAST,
        "--set",
        "loss=margin",
        "--every",
        150,
        "--epsilons",
        "0.5",
        "--samples",
        50,
        "--precision",
        "fp32",
    ]
    noiseproof("attack", run, *options, "--out", tmp_path / one.folder)
    found = one.find(tmp_path)
    assert isinstance(found, Missing)
    assert "with precision bf16" in found.why
    assert "--precision bf16" in str(one.steps(tmp_path)[-1])


def test_a_record_of_another_attack_is_not_drawn(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attack_figures, "FIGURE6", small_figure("margin"))
    place = tmp_path / "stn" / "pgd-margin-l2"
    noiseproof("attack", run, *FAST, "--every", 150, "--epsilons", "0.5", "--samples", 50, "--out", place)
    found = noiseproof("reproduce", "figure6", "--records", tmp_path, "--out", tmp_path / "out", code=3)
    (why,) = {each["why"] for each in found["why"] if each["what"] == "stn/pgd-margin-l2"}
    assert "with settings" in why
    noiseproof(
        "attack",
        run,
        "--attack",
        "random",
        "--norm",
        "l2",
        "--every",
        150,
        "--epsilons",
        "0.5",
        "--samples",
        50,
        "--out",
        tmp_path / "two" / "stn" / "pgd-margin-l2",
    )
    found = noiseproof("reproduce", "figure6", "--records", tmp_path / "two", "--out", tmp_path / "out", code=3)
    (why,) = {each["why"] for each in found["why"] if each["what"] == "stn/pgd-margin-l2"}
    assert "with attack PGD" in why


def test_missing_records_come_with_commands_that_parse() -> None:
    """Every command of every figure names an attack, a norm and settings that exist."""
    from noiseproof.cli import names

    for figure in map(load_figure, ("figure3", "figure4", "figure6", "figure7")):
        for data, norm in itertools.product(figure.planned, (Norm.L2, Norm.LINF)):
            for one in (one for _, recipes, _, _ in figure.planned[data](norm) for one in recipes):
                attack = names.attack(one.name, changes_of(one.attack))
                assert attack == one.attack
                attack.require_norm(norm)
                assert (one.norm, one.defence.data) == (norm, data)
                *trainings, command = map(str, one.steps(Path("runs")))
                needed = [network for network in (one.defence, one.source) if network and network.model is None]
                assert len(trainings) == len(needed), "of what is neither released nor in the zoo"
                for training, network in zip(trainings, needed, strict=True):
                    assert training.startswith("noiseproof train")
                    assert training.endswith(f"--out runs/{network.folder()}")
                assert "--out runs/" in command
                precision = one.defence.attacked
                assert (f"--precision {precision}" in command) == (precision != "auto"), "that of the certificates"
                assert (precision != "auto") == (not one.defence.name.endswith("-linf"))
