"""The auditor: valid tables are never flagged, forged lines always; levels are found; nothing is half read."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import noiseproof as npf
from command_line import figures, invoke
from mutation import mutated
from noiseproof.published import Rounding, check_file, check_list, read_file, read_table
from noiseproof.published import check as module
from published.published_tables import FORMATS, HEADER, attained, valid_rows, write

Rows = list[list[str]]
SETTINGS = [(0.25, 100_000, 0.001), (1.0, 1000, 0.01), (0.12, 10_000, 0.05), (0.5, 100, 0.001)]


@pytest.mark.parametrize("shape", FORMATS)
@pytest.mark.parametrize(("sigma", "n", "alpha"), SETTINGS)
def test_valid_tables_are_never_flagged(shape: str, sigma: float, n: int, alpha: float, tmp_path: Path) -> None:
    for seed in range(25):
        rows = valid_rows(seed, 60, sigma, n, alpha, shape)
        found = check_file(write(tmp_path / "t.tsv", rows), sigma=sigma, samples=n, alpha=alpha)
        assert found.possible, [str(each) for each in found.findings]
        assert isinstance(found, npf.published.CheckedList)
        assert found.unattainable[alpha] == 0
        assert found.counts.rounding is Rounding.NEAREST
        assert found.equal is not None
        assert not found.equal.suspicious
        right = np.array([row[4] == "1" for row in rows])
        assert found.right == right.mean()
        radius = np.array([float(row[3]) for row in rows])
        assert found.claimed == tuple((right & (radius > 0) & (radius >= at)).mean() for at in found.radii)
        for low, claimed in zip(found.curves["neyman-pearson"], found.claimed, strict=True):
            assert low <= claimed  # digits that were rounded up are not certified


def first(rows: Rows, wanted: Callable[[list[str]], bool]) -> list[str]:
    return next(row for row in rows if wanted(row))


def too_large(rows: Rows) -> None:
    first(rows, lambda row: row[2] != "-1")[3] = "0.954"


def negative(rows: Rows) -> None:
    first(rows, lambda row: row[2] != "-1")[3] = "-0.25"


def abstained(rows: Rows) -> None:
    row = first(rows, lambda row: row[2] != "-1")
    row[2], row[4] = "-1", "0"


def duplicated(rows: Rows) -> None:
    rows[7][0] = rows[3][0]


def wrongly_right(rows: Rows) -> None:
    first(rows, lambda row: row[4] == "0")[4] = "1"


def wrongly_wrong(rows: Rows) -> None:
    first(rows, lambda row: row[4] == "1")[4] = "0"


FORGED: dict[Callable[[Rows], None], str] = {
    too_large: "unattainable at n 100000, alpha 0.001",
    negative: "negative radii",
    abstained: "above 0 where the classifier abstained",
    duplicated: "index that an earlier row has",
    wrongly_right: "correct that differ from label = predict",
    wrongly_wrong: "correct that differ from label = predict",
}


def check_forged(forge: Callable[[Rows], None], said: str, folder: Path, check: Any = check_list) -> None:
    for seed in range(10):
        rows = valid_rows(seed, 80, 0.25, 100_000, 0.001, "{:.3}")
        forge(rows)
        found = check(read_table(write(folder / "t.tsv", rows)), sigma=0.25)
        assert [said in each.what for each in found.findings] == [True]
        assert len(found.findings[0].rows) == 1
        assert not found.possible
        assert found.allowance is None or found.alpha != 0.001, "nothing is stated of a table that is not possible"


@pytest.mark.parametrize("forge", FORGED)
def test_one_forged_line_is_always_flagged(forge: Callable[[Rows], None], tmp_path: Path) -> None:
    check_forged(forge, FORGED[forge], tmp_path)


def test_a_radius_between_two_counts_is_flagged_where_digits_tell_them_apart(tmp_path: Path) -> None:
    for seed in range(10):
        rows = valid_rows(seed, 60, 0.5, 1000, 0.001, "{:.4f}")
        count = 800 + seed
        between = (attained(count, 0.5, 1000, 0.001) + attained(count + 1, 0.5, 1000, 0.001)) / 2
        forged = first(rows, lambda row: row[2] != "-1")
        forged[3] = f"{between:.4f}"
        found = check_file(write(tmp_path / "t.tsv", rows), sigma=0.5, samples=1000)
        assert [each.rows for each in found.findings] == [(rows.index(forged),)]


FAULTS = [
    ("_inconsistent", "value < 0.0", "value < -1.0", negative),
    ("_inconsistent", "source.abstained & (value > 0.0)", "source.abstained & (value > 2.0)", abstained),
    ("_inconsistent", "~first", "first & ~first", duplicated),
    ("_inconsistent", "!= source.right", "> 1 - source.right", wrongly_right),
    ("_out_of_reach", "~found.fits", "found.fits & ~found.fits", too_large),
]


@pytest.mark.parametrize(("name", "old", "new", "forge"), FAULTS)
def test_an_auditor_that_looks_away_is_caught(
    name: str, old: str, new: str, forge: Callable[[Rows], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, name, mutated(getattr(module, name), old, new))
    with pytest.raises(AssertionError):
        check_forged(forge, FORGED[forge], tmp_path)


def test_the_level_that_fits_is_found(tmp_path: Path) -> None:
    for level in (0.01, 0.05, 0.0005):
        rows = valid_rows(1, 500, 0.25, 100_000, level, "{:.4f}")
        found = check_file(write(tmp_path / "t.tsv", rows), sigma=0.25)
        assert isinstance(found, npf.published.CheckedList)
        assert found.fitting == (level,)
        assert f"all fit alpha {level:g}" in found.findings[0].what
        assert found.alpha == level
        assert found.allowance == npf.evaluation.failure_allowance(500, level)
        assert check_file(tmp_path / "t.tsv", sigma=0.25, alpha=level).possible


def test_shares_are_those_of_the_counts_behind_the_table(tmp_path: Path) -> None:
    """Rényi and PixelDP radii of the p1 behind printed digits, against those of the votes themselves."""
    rng, n, alpha = np.random.default_rng(5), 1000, 0.001
    noise, counts = npf.Gaussian(0.5), rng.integers(600, 1001, 200)
    rows = [[str(i), "1", "1", f"{attained(int(k), 0.5, n, alpha):.4f}", "1"] for i, k in enumerate(counts)]
    found = check_file(write(tmp_path / "t.csv", rows, HEADER[:5], ","), sigma=0.5, samples=n, radii=(0.1, 0.3, 0.7))
    p1 = npf.bounds.clopper_pearson_lower(counts, np.full(200, n), alpha)
    for name in npf.published.COMPARED:
        radius = npf.certificates.CERTIFICATES.make(name).radius(noise, p1, 1.0 - p1)
        assert found.curves[name] == tuple((radius >= at).mean() for at in (0.1, 0.3, 0.7))
        assert isinstance(found, npf.published.CheckedList)
        assert all(low == high for low, high in found.accuracy[name])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "an empty file"),
        ("idx\tlabel\tpredict\tradius\tscore\n0\t1\t1\t0.5\t2\n", "unknown 'score'"),
        ("idx,label,radius\n0,1,0.5\n", "missing 'predict'"),
        ("idx,index,label,predict,radius\n0,0,1,1,0.5\n", "repeated 'index'"),
        ("idx,label,predict,radius\n", "one image at least; got none"),
        ("idx,label,predict,radius\n0,1,1,0.5\n1,1,1\n", "line 3, must be 4 fields, one for each column; got 3"),
        (
            "idx,label,predict,radius\n0,1,1,0.5\n\n1,1,1,wide\n",
            "line 4, must be a finite number for radius; got 'wide'",
        ),
        ("idx,label,predict,radius\n0,1,-2,0.5\n", "line 2, must be a whole number >= -1 in the column predict"),
        ("idx,label,predict,radius\n0,1.5,1,0.5\n", "in the column label; got '1.5'"),
        ("idx,label,predict,radius\n0,1,1,nan\n", "a finite number for radius; got 'nan'"),
        (
            "idx,label,predict,radius,correct\n0,1,1,0.5,yes\n",
            "line 2, must be 0 or 1 in the column correct; got 'yes'",
        ),
        ("0.9\n1.2\n", 'line 2, must be a probability p1 in [0, 1]; radii are a table, or JSON with the name "radii"'),
        ("[0.9, true]", "something else"),
        ("[0.9, ", "JSONDecodeError"),
        ('{"scores": [0.9]}', "something else"),
        ("[]", "one image at least; got none"),
        ('[{"idx": 0, "label": 1, "predict": 1, "radius": 0.5}, {"idx": 1}]', "row 1, must be the keys of row 0"),
    ],
)
def test_what_cannot_be_read_is_refused_and_says_where(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "t.tsv"
    path.write_text(text)
    with pytest.raises(npf.InvalidInputError, match=f"^{path}") as refused:
        read_file(path)
    assert said in str(refused.value)


def test_every_form_is_read(tmp_path: Path) -> None:
    rows = valid_rows(3, 20, 0.25, 1000, 0.001, "{:.3}")
    plain = read_file(write(tmp_path / "a.tsv", rows))
    comma = read_file(
        write(tmp_path / "b.csv", rows, ("Index", "label", "prediction", "radius", "correct", "time"), ",")
    )
    listed = [dict(zip(HEADER[:4], (*map(int, row[:3]), float(row[3])), strict=True)) for row in rows]
    (tmp_path / "c.json").write_text(json.dumps(listed))
    objects = read_file(tmp_path / "c.json")
    for other in (comma, objects):
        for name in ("index", "label", "predict"):
            assert (getattr(other, name) == getattr(plain, name)).all()
        assert (other.printed.value == plain.printed.value).all()
    assert (plain.correct == plain.right).all()
    (tmp_path / "d.txt").write_text("# p_A\n0.91\n0.5\n\n1.0  # unanimous\n")
    (tmp_path / "e.json").write_text('{"pA": [0.91, 0.5, 1.0]}')
    (tmp_path / "f.json").write_text("[0.91, 0.5, 1.0]")
    for name in ("d.txt", "e.json", "f.json"):
        found = read_file(tmp_path / name)
        assert found.quantity == "p1"
        assert found.printed.value.tolist() == [0.91, 0.5, 1.0]
    (tmp_path / "g.json").write_text('{"radii": [0.25, 1.5]}')
    assert read_file(tmp_path / "g.json").quantity == "radius"
    (tmp_path / "h.tsv").write_bytes(b"\xef\xbb\xbf" + (tmp_path / "a.tsv").read_bytes().replace(b"\n", b"\r\n"))
    assert (read_file(tmp_path / "h.tsv").printed.value == plain.printed.value).all()


def test_lists_of_lower_bounds(tmp_path: Path) -> None:
    n, alpha, counts = 1000, 0.001, np.arange(400, 1001, 7)
    p1 = npf.bounds.clopper_pearson_lower(counts, np.full(len(counts), n), alpha)
    path = tmp_path / "pa.txt"
    path.write_text("".join(f"{p:.6f}\n" for p in p1))
    found = check_file(path, samples=n)
    assert found.possible
    assert found.radii == ()
    assert isinstance(found, npf.published.CheckedList)
    assert (found.counts.first == counts).all()
    assert found.largest == pytest.approx(alpha ** (1 / n))
    with_sigma = check_file(path, sigma=0.5, samples=n, radii=(0.0, 0.5))
    radius = npf.certificates.NeymanPearson().radius(npf.Gaussian(0.5), p1, 1 - p1)
    assert with_sigma.curves["neyman-pearson"] == ((radius > 0).mean(), (radius >= 0.5).mean())
    path.write_text(path.read_text() + "0.99999\n")
    assert "numbers unattainable at n 1000, alpha 0.001" in str(check_file(path, samples=n).findings[0])


def test_runs_claim_nothing_and_are_certified_again(certified: Path) -> None:
    record = npf.records.Record.open(certified)
    found = npf.published.check_run(certified, radii=(0.0, 0.2))
    table, result = record.read(), record.certify()
    right = result.prediction == table.label
    assert found.possible
    assert found.curves["neyman-pearson"] == pytest.approx((right.mean(), (right & (result.radius >= 0.2)).mean()))
    assert found.allowance == npf.evaluation.failure_allowance(len(table), record.procedure.alpha)
    assert found.population is None, "every tenth image is no random sample"
    assert found.equal is not None
    shown = invoke("check", certified)
    assert "none: radii are computed from the votes" in shown.stdout


def test_runs_of_other_kinds(trained: Path, tmp_path: Path) -> None:
    """The tight certificate beside the run's own, sequential votes, and a damaged run."""
    folder = tmp_path / "renyi"
    few = ("--every", 20, "--seed", 1)
    invoke("certify", trained, "--out", folder, "--samples", 200, "--certificate", "renyi", *few)
    found = npf.published.check_run(folder)
    assert found.certificate == "renyi"
    assert list(found.curves) == ["renyi", "neyman-pearson"]
    assert all(ours <= tight for ours, tight in zip(*found.curves.values(), strict=True))
    assert found.alpha == 0.001
    invoke("certify", trained, "--out", tmp_path / "sequential", "--radius", "0.2", "--samples", 400, *few)
    found = npf.published.check_run(tmp_path / "sequential", radii=(0.2,))
    record = npf.runs.SequentialRecord.open(tmp_path / "sequential")
    table, result = record.read(), record.certify()
    right = (result.prediction == table.label) & (result.radius >= 0.2)
    assert found.curves["neyman-pearson"] == pytest.approx((right.mean(),))
    assert found.equal is None, "the number of votes was not fixed"
    damaged = npf.records.Record.open(folder)
    damaged.shard_path(damaged.shards[-1]).write_bytes(b"damaged")
    assert "Error: " in invoke("check", folder, code=1).stderr


def test_other_folders_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nowhere.tsv"):
        message = invoke("check", path, "--sigma", 1, code=2).stderr
        assert f"Error: {path} must be a run folder with votes, or a file with a table, a list or JSON; got " in message


def test_the_command(tmp_path: Path) -> None:
    good = write(tmp_path / "good.tsv", valid_rows(1, 60, 0.25, 100_000, 0.001, "{:.3}"))
    rows = valid_rows(2, 60, 0.25, 100_000, 0.001, "{:.3}")
    too_large(rows)
    bad = write(tmp_path / "bad.tsv", rows)
    said = invoke("check", good, "--sigma", 0.25).stdout
    assert "Nothing is claimed that cannot be true." in said
    said = invoke("check", good, bad, "--sigma", 0.25, code=1).stdout
    assert said.count("Cannot be true:") == 1
    plain = figures("check", good, bad, "--sigma", 0.25, "--radii", "0.1,0.5", code=1)["files"]
    assert [each["possible"] for each in plain] == [True, False]
    assert plain[0]["statement"]["alpha"] == 0.001
    assert list(plain[0]["certified"]["renyi"]) == ["0.1", "0.5"]
    assert plain[1]["findings"][0]["number"] == 1
    refused = invoke("check", good, code=2)
    assert refused.stdout == ""
    assert refused.stderr.startswith("Error: --sigma must be given for radii: ")
    (tmp_path / "worse.tsv").write_text("idx,label,predict,radius,score\n")
    refused = invoke("check", good, tmp_path / "worse.tsv", "--sigma", 0.25, code=2)
    assert refused.stdout == "", "nothing is shown before all files are read"
    assert "unknown 'score'" in refused.stderr


PUBLISHED_AT_001 = {
    "cohen2019": {"cifar10_resnet110_sigma_0.12.tsv": 0.12},
    "salman2019": {
        "cifar10_gaussian_resnet110_sigma_0.12.tsv": 0.12,
        "imagenet_gaussian_resnet50_sigma_0.50.tsv": 0.5,
        "imagenet_smoothadv_ddn2_eps255_sigma_1.00.tsv": 1.0,
    },
    "jeong2023": {"mnist_cat-rs_sigma_0.5.tsv": 0.5, "cifar10_stab_sigma_0.25.tsv": 0.25},
}
PUBLISHED_AT_01 = {
    "cifar10_resnet110_sigma_0.25.tsv": 0.25,
    "cifar10_resnet110_sigma_0.50.tsv": 0.5,
    "cifar10_resnet110_sigma_1.00.tsv": 1.0,
    "imagenet_resnet50_sigma_0.25.tsv": 0.25,
    "imagenet_resnet50_sigma_0.50.tsv": 0.5,
    "imagenet_resnet50_sigma_1.00.tsv": 1.0,
}


def published(data_dir: Path, folder: str, name: str) -> Path:
    path = data_dir / "published" / folder / name
    if not path.exists():
        pytest.skip(f"{path} is not there")
    return path


@pytest.mark.parametrize(
    ("folder", "name"), [(folder, name) for folder, some in PUBLISHED_AT_001.items() for name in some]
)
def test_published_tables_that_fit_their_level(folder: str, name: str, data_dir: Path) -> None:
    path, sigma = published(data_dir, folder, name), PUBLISHED_AT_001[folder][name]
    found = check_file(path, sigma=sigma)
    assert isinstance(found, npf.published.CheckedList)
    assert found.possible, [str(each) for each in found.findings]
    assert 0.001 in found.fitting
    assert found.equal is not None
    assert not found.equal.suspicious


@pytest.mark.parametrize("name", PUBLISHED_AT_01)
def test_published_tables_that_only_fit_another_level(name: str, data_dir: Path) -> None:
    found = check_file(published(data_dir, "cohen2019", name), sigma=PUBLISHED_AT_01[name])
    assert isinstance(found, npf.published.CheckedList)
    to_the_nearest = [level for level in found.fitting if found.rounding[level] is Rounding.NEAREST]
    assert to_the_nearest == [0.01]
    if name == "cifar10_resnet110_sigma_1.00.tsv":  # few large radii: at .001 all of them may have been rounded down
        assert found.fitting == (0.001, 0.01)
        assert found.rounding[0.001] is Rounding.DOWN
    else:
        assert found.fitting == (0.01,)
        assert [each.alpha for each in found.findings] == [True]


def test_figure_2_of_a_published_table(data_dir: Path) -> None:
    """Rényi is above classical PixelDP at every radius, and below the analytic one at small radii."""
    path = published(data_dir, "salman2019", "imagenet_gaussian_resnet50_sigma_0.50.tsv")
    curves = check_file(path, sigma=0.5, radii=(0.1, 0.25, 0.5, 1.0, 1.5)).curves
    assert curves["neyman-pearson"] == pytest.approx((0.570, 0.538, 0.480, 0.390, 0.274))
    assert curves["renyi"] == pytest.approx((0.564, 0.526, 0.460, 0.356, 0.196))
    assert curves["pixeldp-analytic"] == pytest.approx((0.570, 0.536, 0.466, 0.0, 0.0))
    assert curves["pixeldp"] == pytest.approx((0.504, 0.416, 0.0, 0.0, 0.0))


def test_the_page_shows_what_the_command_prints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (Path(__file__).parents[2] / "docs" / "published-tables.md").read_text()
    table, shown = page.split("```text\n")[1].split("```")[0], page.split("```console\n")[1].split("```")[0]
    (tmp_path / "table.tsv").write_text(table)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    command, *lines = shown.splitlines()
    printed = invoke(*command.removeprefix("$ noiseproof ").split(), code=1).stdout
    assert [line.rstrip() for line in printed.splitlines() if line.strip()] == [line for line in lines if line]
