"""Random subsets of a data set: drawn by a rule that anyone can repeat, recorded, and enough for a bound of the whole file."""

import hashlib
import itertools
import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import chi2

from cli.test_cli_attacks import noiseproof
from counting import NOISE, count, ink, planned, run, subject
from mutation import fails
from noiseproof import data
from noiseproof.attacks import RandomSearch
from noiseproof.data import random_subset
from noiseproof.errors import InvalidInputError, RunError
from noiseproof.evaluation import file_lower_bound
from noiseproof.reports.analysis import analyse, images_of_file
from noiseproof.runs import AttackImages, Audit, CountVotes, Record, Selection, SequentialVotes, Subject, execute
from noiseproof.runs.begun import certification
from noiseproof.runs.inspection import inspect_record, inspection_rows
from noiseproof.sequential import CertifyRadii
from noiseproof.smoothing import SmoothedClassifier

DIGITS = data.load("digits", "test")
SUBSET = Selection(subset=12, subset_seed=3)
DRAWN = random_subset(len(DIGITS), 12, 3)


def job(selection: Selection = SUBSET) -> CountVotes:
    return CountVotes(200, 20, 0, selection, 5)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Record:
    return count(tmp_path_factory.mktemp("whole"), job())


# ---- the drawing -----------------------------------------------------------------------------------------------------


def test_the_drawing_can_be_repeated_by_anyone() -> None:
    """By its definition in other words; and as it was, since records rest on it."""
    keys = {
        index: hashlib.sha256(f"subset 3 of {len(DIGITS)}: {index}".encode()).hexdigest()
        for index in range(len(DIGITS))
    }
    assert sorted(sorted(keys, key=keys.__getitem__)[:12]) == list(DRAWN)
    assert random_subset(10, 3, seed=0) == (0, 2, 3)
    assert random_subset(7, 7, seed=5) == tuple(range(7))
    assert set(DRAWN) < set(random_subset(len(DIGITS), 13, 3))
    assert random_subset(len(DIGITS), 12, 4) != DRAWN


def test_all_subsets_are_as_likely() -> None:
    """All 15 pairs of 6 images, over 6000 seeds: from both sides, neither too far apart nor too even."""
    seeds, pairs = 6000, list(itertools.combinations(range(6), 2))
    drawn = [random_subset(6, 2, seed) for seed in range(seeds)]
    counts = np.array([drawn.count(pair) for pair in pairs])
    statistic = ((counts - seeds / 15) ** 2 / (seeds / 15)).sum()
    assert chi2.ppf(1e-3, 14) < statistic < chi2.ppf(1 - 1e-3, 14)


@pytest.mark.parametrize(("images", "of"), [(4, 9), (5, 10), (10, 10)])
def test_the_bound_holds_over_all_subsets(images: int, of: int) -> None:
    """Every subset, every number of robust images of the file, certificates that never fail: exact, from both sides."""
    rho, missed = 0.2, []
    subsets = [set(each) for each in itertools.combinations(range(of), images)]
    for robust in range(of + 1):
        seen = np.array([len(each & set(range(robust))) for each in subsets])
        above = file_lower_bound(seen, images, of, 1e-12, rho) > robust / of + 1e-12
        missed.append(float(above.mean()))
    assert max(missed) <= 0.5 * rho
    assert len(subsets) == math.comb(of, images)
    assert images == of or max(missed) > 0.2 * rho, "the level is given away"


def test_every_second_image_is_no_subset() -> None:
    """Mutant: an even file, of which one sees one half. The bound is false with certainty."""

    def holds() -> None:
        seen = np.array([5])  # robust: images 0, 2, 4, .. of 10, which are those that are seen
        assert file_lower_bound(seen, 5, 10, 1e-12, 0.2)[0] <= 0.5

    assert fails(holds)


# ---- records ---------------------------------------------------------------------------------------------------------


def test_a_record_of_a_subset(whole: Record) -> None:
    """N, seed and size of the file are recorded; the votes are those that the images have in any record."""
    said = json.loads((whole.path / "record.json").read_text())["settings"]
    assert said["subset"] == {"images": 12, "of": len(DIGITS), "seed": 3}
    table = Record.open(whole.path).read()
    assert table.index.tolist() == list(DRAWN)
    np.testing.assert_array_equal(table.label, DIGITS.labels[list(DRAWN)])
    votes = SmoothedClassifier(ink, NOISE, 10).count(DIGITS.read(DRAWN), samples=200, seed=0, indices=DRAWN)
    np.testing.assert_array_equal(table.votes, votes)
    assert Selection.of(whole) == SUBSET
    assert CountVotes.of(whole).selection == SUBSET
    assert whole.settings == planned(job(), subject())


def test_records_without_a_subset_are_as_before(tmp_path: Path) -> None:
    made = count(tmp_path, job(Selection(every=50)))
    assert "subset" not in json.loads((tmp_path / "record.json").read_text())["settings"]
    assert made.settings.indices == range(0, len(DIGITS), 50)
    assert made.settings.drawn_from is None


def test_parts_and_interruptions_make_the_same_record(whole: Record, tmp_path: Path) -> None:
    for part in (2, 1):
        made = count(tmp_path / str(part), job(Selection(subset=12, subset_seed=3, part=(part, 2))))
        assert len(made.read()) < 12
    for file in (tmp_path / "2" / "votes").glob("*.parquet"):
        shutil.copy(file, tmp_path / "1" / "votes" / file.name)
    for path in (tmp_path / "1", tmp_path / "2"):
        resumed = count(path, CountVotes.of(Record.open(path)))
        np.testing.assert_array_equal(resumed.read().votes, whole.read().votes)
    with pytest.raises(RunError, match="subset seed 4; got subset seed 3"):
        count(whole.path, job(Selection(subset=12, subset_seed=4)))
    assert certification(CountVotes.of(whole), {}).selection == SUBSET
    named = {"subset": 20, "subset_seed": 1}
    assert certification(None, named).selection == Selection(subset=20, subset_seed=1)


def test_a_damaged_subset_is_told(whole: Record, tmp_path: Path) -> None:
    shutil.copytree(whole.path, tmp_path / "run")
    file = tmp_path / "run" / "record.json"
    for damage in ({"images": 12}, {"images": 700, "of": 600, "seed": 3}, 7):
        content: dict[str, Any] = json.loads(file.read_text())
        content["settings"]["subset"] = damage
        file.write_text(json.dumps(content))
        with pytest.raises(RunError, match="the configuration of a record"):
            Record.open(tmp_path / "run")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"subset": 5, "every": 2}, "every must be left out with subset="),
        ({"subset_seed": 2}, "subset_seed must be left out without subset="),
        ({"subset": 0}, "subset must be an integer >= 1"),
        ({"subset": 5, "subset_seed": -1}, "seed must be"),
    ],
)
def test_what_makes_no_random_subset_is_refused(given: dict[str, int], said: str) -> None:
    with pytest.raises(InvalidInputError, match=said):
        Selection(**given)  # type: ignore[arg-type]


def test_more_images_than_there_are_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=f"subset must be at most {len(DIGITS)}, those of the data; got 601"):
        count(tmp_path, job(Selection(subset=601)))
    assert not any(tmp_path.iterdir())
    with pytest.raises(InvalidInputError, match="images must be from 1 to 5"):
        random_subset(5, 6, 0)


# ---- what it says ----------------------------------------------------------------------------------------------------


def test_the_report_and_inspect_bound_the_whole_file(whole: Record, tmp_path: Path) -> None:
    table, found = whole.read(), whole.certify()
    assert images_of_file(whole, 12) == len(DIGITS)
    assert images_of_file(whole, 11) is None, "not all that were drawn"
    right = (found.prediction == table.label)[:, None] & (found.radius[:, None] >= [0.0, NOISE.scale])
    bounds = file_lower_bound(right.sum(0), 12, len(DIGITS), whole.procedure.alpha)
    seen = inspect_record(whole)
    assert seen["file"] == {
        "images": len(DIGITS),
        "confidence": 0.95,
        "lower_bound": {"0": bounds[0], "0.5": bounds[1]},
    }
    rows = dict(inspection_rows(seen))
    assert f"of its {len(DIGITS)} images" in rows["whole file"]
    assert rows["whole file"].endswith("for one radius and a seed of the subset that were chosen beforehand")
    drawn = f"drawn at random from {len(DIGITS)} by seed 3"
    assert rows["images"].startswith(f"12, {drawn}, of")
    summary = analyse([whole], alpha=whole.procedure.alpha, radii=[0.0, 0.5])[0].curves[0].summary
    assert summary.population is not None
    np.testing.assert_array_equal(summary.population, bounds)
    first = count(tmp_path, job(Selection(subset=12, subset_seed=3, limit=6)))
    assert images_of_file(first, 6) is None, "the first of those that were drawn are not at random"
    assert "file" not in inspect_record(first)
    said = dict(inspection_rows(inspect_record(first)))["images"]
    assert said.startswith(f"6, the first 6 of 12 {drawn}: no random sample")
    with pytest.raises(InvalidInputError, match="subset_seed must be an integer from 0"):
        Selection(subset=12, subset_seed=-1)
    assert analyse([first], alpha=0.001, radii=[0.0])[0].curves[0].summary.population is None


def test_all_images_of_a_file_say_what_holds_of_it(tmp_path: Path) -> None:
    """Nothing is drawn, so that the only doubt is in the certificates; the first half of the file says nothing of it."""
    few = data.ArrayDataset("few", "test", DIGITS.read(range(30)), DIGITS.labels[:30], 10)
    made, _ = execute(job(Selection()), tmp_path / "all", Subject.of(ink, NOISE, few, name="ink"))
    table, found = made.read(), made.certify()
    right = (found.prediction == table.label)[:, None] & (found.radius[:, None] >= [0.0, NOISE.scale])
    seen = inspect_record(made)
    assert seen["file"]["lower_bound"]["0"] == file_lower_bound(right.sum(0), 30, 30, 0.001)[0]
    said = dict(inspection_rows(seen))["whole file"]
    assert said.endswith(f"of its {30} images right and certified, with 95 % confidence")
    first, _ = execute(job(Selection(limit=15)), tmp_path / "first", Subject.of(ink, NOISE, few, name="ink"))
    assert "file" not in inspect_record(first)
    next((made.path / "votes").glob("*.parquet")).unlink()
    assert "file" not in inspect_record(made), "an image is missing"


# ---- other jobs ------------------------------------------------------------------------------------------------------


def test_attacks_audits_and_sequential_votes_take_the_same_images(whole: Record, tmp_path: Path) -> None:
    attack, on = RandomSearch(tries=4), subject()
    attacked, _ = run(AttackImages(attack, [0.2], samples=100, alpha=0.05, selection=SUBSET), tmp_path / "attack", on)
    assert attacked.read().index.tolist() == list(DRAWN)
    audit = Audit(whole, attack, samples=100)
    made, _ = run(audit, tmp_path / "audit", on)
    assert made.read().index.tolist() == list(DRAWN)
    some, _ = run(Audit(whole, attack, samples=100, selection=Selection(limit=4)), tmp_path / "some", on)
    assert some.read().index.tolist() == list(DRAWN[:4])
    np.testing.assert_array_equal(some.settings.limits["alpha"], made.settings.limits["alpha"])
    for selection, said in ((Selection(every=3), "every"), (Selection(subset=4), "subset")):
        with pytest.raises(InvalidInputError, match=f"{said} must be left out"):
            run(Audit(whole, attack, samples=100, selection=selection), tmp_path / "no", on)
    votes, _ = run(SequentialVotes(CertifyRadii(0.1, max_samples=200), selection=SUBSET), tmp_path / "until", on)
    assert votes.read().index.tolist() == list(DRAWN)


def test_from_the_command_line(tmp_path: Path) -> None:
    run_folder = tmp_path / "run"
    command = ("certify", run_folder, "--model", "half_space:ink", "--data", "digits", "--sigma", 0.25)
    drawn = ("--samples", 300, "--subset", 20, "--subset-seed", 5)
    found = noiseproof(*command, *drawn)
    assert found["images"] == 20
    assert found["population_lower_bound"] is not None
    assert noiseproof(*command) == found, "it goes on with the images that were drawn"
    assert Record.open(run_folder).settings.indices == random_subset(len(DIGITS), 20, 5)
    assert noiseproof("inspect", run_folder)["file"]["images"] == len(DIGITS)
    with pytest.raises(InvalidInputError, match="every must be left out with subset="):
        noiseproof(*command, *drawn, "--every", 2)
