"""A record that goes on under a higher cap: the votes are those of a record begun under it, and none is drawn twice."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import Tensor

from cli.test_cli_attacks import noiseproof
from deciding_process import ALPHA, BETA, CAP, RADII, decide, require_true, same, sequential, settings
from noiseproof.errors import RunError
from noiseproof.runs import partial, store
from noiseproof.runs.sequential_records import SequentialRecord, SequentialSettings
from noiseproof.sampling import FloatSampler, Rows
from noiseproof.sequential import CertifyRadii, EstimateRadius, StoppingRule
from noiseproof.storage.files import write_atomically
from runs.test_sequential_runs import quick  # noqa: F401 - a fixture of every test here

LOW = 120


def radii(cap: int) -> StoppingRule:
    return CertifyRadii(RADII, alpha=ALPHA, beta=BETA, max_samples=cap)


def by_runner_up(cap: int) -> StoppingRule:
    return CertifyRadii(RADII, alpha=ALPHA, beta=BETA, max_samples=cap, runner_up=True)


def within(cap: int) -> StoppingRule:
    return EstimateRadius(0.7, alpha=ALPHA, beta=BETA, max_samples=cap)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> SequentialRecord:
    return decide(tmp_path_factory.mktemp("whole"), sequential(radii(CAP)))


@pytest.fixture(scope="module")
def low(tmp_path_factory: pytest.TempPathFactory) -> SequentialRecord:
    return decide(tmp_path_factory.mktemp("low"), sequential(radii(LOW)))


@pytest.fixture
def lower(low: SequentialRecord, tmp_path: Path) -> SequentialRecord:
    shutil.copytree(low.path, tmp_path / "run")
    return SequentialRecord.open(tmp_path / "run")


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Index and number of the first sample of every span that is drawn."""
    found: list[tuple[int, int]] = []
    real = FloatSampler.fill

    def fill(self: FloatSampler, batch: Tensor, images: Tensor, rows: Rows) -> None:
        found.extend((span.index, span.first) for span in rows.spans)
        real(self, batch, images, rows)

    monkeypatch.setattr(FloatSampler, "fill", fill)
    return found


@pytest.mark.parametrize("procedure", [radii, by_runner_up, within])
def test_the_votes_are_those_of_a_record_begun_under_it(
    procedure: Any, drawn: list[tuple[int, int]], tmp_path: Path
) -> None:
    fresh = decide(tmp_path / "fresh", sequential(procedure(CAP))).read()
    before = decide(tmp_path / "run", sequential(procedure(LOW))).read()
    assert (before.votes.sum(1) < fresh.votes.sum(1)).any(), "some were stopped by the cap"
    assert (before.votes.sum(1) == fresh.votes.sum(1)).any(), "some were decided"
    drawn.clear()
    raised = decide(tmp_path / "run", sequential(procedure(CAP)))
    assert same(raised.read(), fresh)
    assert same(SequentialRecord.open(raised.path).read(), fresh)
    start = dict(zip(before.index.tolist(), before.votes.sum(1).tolist(), strict=True))
    assert drawn
    assert all(first >= start[index] for index, first in drawn), "no vote is drawn twice"


def test_it_says_where_it_comes_from(lower: SequentialRecord) -> None:
    before = dict(lower.about)
    raised = SequentialRecord.create(lower.path, settings(radii(CAP)), {"command": ["second"]})
    assert raised.about == {"command": ["second"], "raised_from": {"cap": LOW, "about": before}}
    assert SequentialRecord.open(lower.path).about == raised.about
    assert SequentialRecord.open(lower.path).settings == settings(radii(CAP))
    assert raised.missing() == (list(raised.shards), [])
    require_true(raised)


def test_a_cap_is_not_lowered(whole: SequentialRecord) -> None:
    before = whole.read()
    with pytest.raises(RunError, match=f"procedure samples {LOW}; got procedure samples {CAP}"):
        SequentialRecord.create(whole.path, settings(radii(LOW)), {})
    assert same(whole.read(), before)


@pytest.mark.parametrize(
    "other",
    [
        CertifyRadii(RADII, alpha=0.02, beta=BETA, max_samples=CAP),
        CertifyRadii(RADII, alpha=ALPHA, beta=0.5, max_samples=CAP),
        CertifyRadii((0.1,), alpha=ALPHA, beta=BETA, max_samples=CAP),
        CertifyRadii(RADII, alpha=ALPHA, beta=BETA, max_samples=CAP, runner_up=True),
    ],
)
def test_nothing_else_may_change_with_it(other: StoppingRule, lower: SequentialRecord) -> None:
    before = lower.read()
    with pytest.raises(RunError, match="must not mix"):
        SequentialRecord.create(lower.path, settings(other), {})
    assert same(SequentialRecord.open(lower.path).read(), before)


def test_a_record_that_is_not_whole_goes_on_too(
    low: SequentialRecord, whole: SequentialRecord, lower: SequentialRecord
) -> None:
    table = low.read()
    lower.shard_path(1).unlink()
    lower.shard_path(3).unlink()
    assert table.certifying is not None
    lower.keep(1, {int(table.index[4]): np.stack([table.votes[4], table.certifying[4]])})
    raised = SequentialRecord.create(lower.path, settings(radii(CAP)), {})
    assert set(raised.kept(1)) == {table.index[4]}
    assert raised.kept(3) == {}
    assert same(decide(lower.path, sequential(radii(CAP))).read(), whole.read())


def test_the_cap_is_not_raised_under_another_process(lower: SequentialRecord) -> None:
    before = lower.read()
    with lower.claim(2), pytest.raises(RunError, match="at rest"):
        SequentialRecord.create(lower.path, settings(radii(CAP)), {})
    assert SequentialRecord.open(lower.path).settings == settings(radii(LOW))
    assert same(lower.read(), before)


class KilledError(Exception):
    pass


@pytest.mark.parametrize("written", range(7))
def test_killed_at_any_file_it_loses_nothing(
    written: int, lower: SequentialRecord, whole: SequentialRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Five shards and the configuration are written, then five files go."""
    before, count = lower.read(), 0

    def write(path: Path, content: bytes, **options: Any) -> bool:
        nonlocal count
        if count == written:
            raise KilledError
        count += 1
        return write_atomically(path, content, **options)

    unlink = Path.unlink

    def remove(self: Path, **options: Any) -> None:
        if self.suffix == ".parquet":
            raise KilledError
        unlink(self, **options)

    with monkeypatch.context() as patch:
        for module in (partial, store):  # the votes that are kept, and the configuration
            patch.setattr(module, "write_atomically", write)
        patch.setattr(Path, "unlink", remove)
        with pytest.raises(KilledError):
            SequentialRecord.create(lower.path, settings(radii(CAP)), {})
    left = SequentialRecord.open(lower.path)
    if written < 6:
        assert left.settings == settings(radii(LOW))
        assert same(left.read(), before)
    else:
        assert left.settings == settings(radii(CAP))
        assert len(left.missing()[0]) == len(left.shards), "the shards are of the lower cap"
        assert sum(len(left.kept(shard)) for shard in left.shards) == len(before.index)
    assert same(decide(lower.path, sequential(radii(CAP))).read(), whole.read())


def test_from_the_command_line(tmp_path: Path) -> None:
    command = ("certify", tmp_path / "run", "--model", "half_space:ink", "--data", "digits", "--sigma", 0.25)
    options = ("--every", 30, "--radius", "0.02,0.1", "--seed", 4, "--samples")
    first = noiseproof(*command, *options, 200)
    found = noiseproof(*command, *options, 3000)
    assert first["outcomes"]["0.1"]["undecided"] > found["outcomes"]["0.1"]["undecided"]
    fresh = noiseproof(*command, *options, 3000, "--out", tmp_path / "fresh")
    names = {"name", "run"}
    assert {key: found[key] for key in found.keys() - names} == {key: fresh[key] for key in fresh.keys() - names}
    with pytest.raises(RunError, match="procedure samples 200; got procedure samples 3000"):
        noiseproof(*command, *options, 200)


def test_settings_of_a_plan_are_compared_whole() -> None:
    base = settings(radii(LOW))
    record = SequentialRecord(Path("nowhere"), base, {})
    assert record.goes_on_under(settings(radii(CAP)))
    assert not record.goes_on_under(base)
    for name in ("seed", "stop", "shard_size"):
        changed: dict[str, Any] = settings(radii(CAP)).plain() | {name: getattr(base, name) + 1}
        assert not record.goes_on_under(SequentialSettings(**changed))
