"""Whose votes a record holds: what the classifier's fingerprint tells apart, and mixtures of shards."""

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from counting import IMAGES, NOISE, ink, job, run, subject
from noiseproof.attacks import RandomSearch
from noiseproof.errors import RunError
from noiseproof.noises import Gaussian
from noiseproof.runs import AttackImages, AttackRecord, Record, Rejudge, Selection, SequentialRecord, SequentialVotes
from noiseproof.runs.identity import fingerprints, require_fingerprint
from noiseproof.runs.running import Running
from noiseproof.sequential import CertifyRadii

Classifier = Callable[[np.ndarray], np.ndarray]


def scores(batch: np.ndarray) -> np.ndarray:
    return np.asarray(batch.reshape(len(batch), -1)[:, 10:20])


def darker(batch: np.ndarray) -> np.ndarray:
    return ink(batch * np.float32(0.9))


def swapped_on(share: float) -> Classifier:
    """The best score and another change places on a share of all inputs; the best value stays as it is."""

    def classifier(batch: np.ndarray) -> np.ndarray:
        found = scores(batch).copy()
        chosen = (np.abs(np.float32(1e4) * batch.reshape(len(batch), -1).sum(1)) % 1.0 < share).nonzero()[0]
        best = found.argmax(1)[chosen]
        other = (best + 1) % found.shape[1]
        found[chosen, best], found[chosen, other] = found[chosen, other], found[chosen, best]
        return found

    return classifier


def part(number: int, parts: int, path: Path, classifier: Classifier) -> Record:
    what = dataclasses.replace(job(), selection=Selection(3, IMAGES, part=(number, parts)))
    record: Record = run(what, path, subject(classifier))[0]
    return record


def merged(one: Any, other: Any, *, fingerprints: bool) -> Any:
    for pattern in ("*.parquet", "answers-*.json") if fingerprints else ("*.parquet",):
        for file in (other.path / "votes").glob(pattern):
            shutil.copy(file, one.path / "votes" / file.name)
    return type(one).open(one.path)


@pytest.mark.parametrize("share", [0.03, 0.02])
def test_two_scores_swapped_on_a_few_inputs_are_noticed(share: float, tmp_path: Path) -> None:
    run(job(), tmp_path, subject(scores), shards=[0])
    run(job(), tmp_path, subject(lambda batch: scores(batch) * np.float32(1.0 + 1e-6)), shards=[1])
    with pytest.raises(RunError, match="the one that the record was begun with; got other labels for"):
        run(job(), tmp_path, subject(swapped_on(share)))


def test_every_score_is_compared_and_not_the_best_alone(tmp_path: Path) -> None:
    def least_moved(batch: np.ndarray) -> np.ndarray:
        found = scores(batch).copy()
        np.put_along_axis(found, found.argmin(1)[:, None], -9.0, axis=1)
        return found

    run(job(), tmp_path, subject(scores), shards=[0])
    with pytest.raises(RunError, match=r"other labels for 0\.0% of 360 noisy images, scores moved"):
        run(job(), tmp_path, subject(least_moved))


class Moving(nn.Module):
    """Ten pixels as scores, of which one is moved by what no digest covers."""

    moved = 0.0

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        found = images.flatten(1)[:, 10:20]
        return found + self.moved * (torch.arange(10, device=images.device) == 4)


@pytest.mark.parametrize(
    ("precision", "recorded", "tolerance"),
    [("fp32", "fp32", 1e-3), ("fp16", "fp16", 0.02), ("bf16", "bf16", 0.1), ("fp32", "int8", 0.5)],
)
def test_scores_may_move_by_the_tolerance_of_the_precision_and_no_further(
    precision: str, recorded: str, tolerance: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tolerances are written here once more; a half of each is let pass, twice as much is not."""
    running = Running(subject(Moving()), Moving(), None, torch.device("cpu"))
    monkeypatch.setattr(Running, "engine", lambda _: {"precision": precision})
    record = Record.create(tmp_path, job().plan(running.subject).under(running.engine() | {"precision": recorded}), {})
    require_fingerprint(record, running)
    ((_, file),) = fingerprints(tmp_path).items()
    deviation = np.std(json.loads(file.read_text())["scores"])
    for share in (-0.5, 0.5):
        monkeypatch.setattr(Moving, "moved", share * tolerance * deviation)
        require_fingerprint(record, running)
    for share in (-2.0, 2.0):
        monkeypatch.setattr(Moving, "moved", share * tolerance * deviation)
        with pytest.raises(RunError, match="the one that the record was begun with"):
            require_fingerprint(record, running)


def test_a_boundary_that_moves_is_noticed_where_labels_are_all_there_is(tmp_path: Path) -> None:
    """A threshold moved so little that it changes less than one in a thousand noisy images."""

    def threshold(at: float) -> Classifier:
        return lambda batch: (batch.mean(axis=(1, 2, 3)) > at).astype(np.int64)

    run(job(), tmp_path, subject(threshold(0.3)), shards=[0])
    run(job(), tmp_path, subject(threshold(0.3)), shards=[1])
    with pytest.raises(RunError, match="the one that the record was begun with"):
        run(job(), tmp_path, subject(threshold(0.3005)))


@pytest.mark.parametrize("fingerprints", [True, False])
def test_shards_of_another_classifier_are_named_by_every_reader(fingerprints: bool, tmp_path: Path) -> None:
    """The settings are equal, since a function has no digest: only the fingerprint tells."""
    mixed = merged(part(1, 2, tmp_path / "one", ink), part(2, 2, tmp_path / "two", darker), fingerprints=fingerprints)
    foreign = ", ".join(f"{number:05d}.parquet" for number in mixed.shards[1::2])
    own = ", ".join(f"{number:05d}.parquet" for number in mixed.shards[0::2])
    with pytest.raises(RunError, match="shards of one classifier") as raised:
        mixed.read()
    assert foreign in str(raised.value) or own in str(raised.value)
    for reader in (mixed.certify, lambda: list(mixed.tables())):
        with pytest.raises(RunError, match="shards of one classifier"):
            reader()
    if fingerprints:
        with pytest.raises(RunError, match="the one that the record was begun with"):
            run(job(), mixed.path, subject())
    else:
        assert mixed.missing()[0] == list(mixed.shards[1::2]), "they are counted anew"
        run(job(), mixed.path, subject())
        assert len(mixed.read()) == IMAGES


def test_parts_of_one_classifier_merge_with_their_fingerprints(tmp_path: Path) -> None:
    """Rounding differs from machine to machine, and the files with it."""
    rounded = lambda batch: scores(batch) * np.float32(1.0 + 1e-5)  # noqa: E731
    one, other = part(1, 2, tmp_path / "one", scores), part(2, 2, tmp_path / "two", rounded)
    whole = merged(one, other, fingerprints=True)
    assert len(list((whole.path / "votes").glob("answers-*.json"))) == 2
    assert len(whole.read()) == IMAGES
    assert whole.missing() == ([], [])


def test_mixtures_of_sequential_votes_are_refused_too(tmp_path: Path) -> None:
    rule = CertifyRadii([0.05], max_samples=300)
    records = []
    for number, classifier in enumerate((ink, darker)):
        what = SequentialVotes(rule, selection=Selection(3, IMAGES, part=(number + 1, 2)), shard_size=5)
        records.append(run(what, tmp_path / str(number), subject(classifier))[0])
    for file in (records[1].path / "votes").glob("*.parquet"):
        shutil.copy(file, records[0].path / "votes" / file.name)
    with pytest.raises(RunError, match="shards of one classifier"):
        SequentialRecord.open(records[0].path).read()


def test_records_of_earlier_versions_are_read_and_gone_on_with(tmp_path: Path) -> None:
    """Their shards carry nothing, and their fingerprint has best scores, of one copy of each image."""
    record, _ = run(job(), tmp_path, subject(scores), shards=[0])
    table, about = record.read(), record.shard_about(0)
    (file,) = (tmp_path / "votes").glob("answers-*.json")
    kept = json.loads(file.read_text())
    best = [max(row) for row in kept["scores"][:IMAGES]]
    file.unlink()
    (tmp_path / "votes" / "answers.json").write_text(json.dumps({"labels": kept["labels"][:IMAGES], "scores": best}))
    del about["classifier"]
    record.write_shard(0, table, about)
    assert len(record.read()) == 5
    with pytest.raises(RunError, match="the one that the record was begun with"):
        run(job(), tmp_path, subject(lambda batch: scores(batch)[:, ::-1].copy()))
    run(job(), tmp_path, subject(scores))
    assert record.missing() == ([], [])
    assert len(record.read()) == IMAGES


def attacked(number: int, path: Path, classifier: Classifier, noise: Gaussian | None = NOISE) -> AttackRecord:
    """One of two parts of an attack; the classifier has no digest."""
    by, chosen = RandomSearch(tries=2, eot_samples=4), Selection(3, 20, part=(number, 2))
    what = AttackImages(by, [0.2], samples=60, alpha=0.1, selection=chosen, shard_size=5)
    record: AttackRecord = run(what, path, subject(classifier, noise))[0]
    return record


@pytest.mark.parametrize("noise", [NOISE, None])
def test_shards_of_attacks_carry_their_classifier_and_mixtures_are_refused(
    noise: Gaussian | None, tmp_path: Path
) -> None:
    one, other = attacked(1, tmp_path / "one", ink, noise), attacked(2, tmp_path / "two", darker, noise)
    for file in (other.path / "points").iterdir():
        shutil.copy(file, one.path / "points")
    mixed = merged(one, other, fingerprints=True)
    readers = [mixed.read, mixed.read_verdicts, mixed.present]
    if noise is not None:
        readers.append(lambda: run(Rejudge(mixed, 100, alpha=0.1), tmp_path / "again", subject(ink)))
    for reader in readers:
        with pytest.raises(
            RunError, match=r"shards of one classifier; got another one's in 00001\.parquet, 00003\.parquet"
        ):
            reader()
    with pytest.raises(RunError, match="the one that the record was begun with"):
        attacked(1, mixed.path, ink, noise)
    for file in mixed.path.glob("votes/answers-*.json"):
        if file.name not in {kept.name for kept in (tmp_path / "two" / "votes").iterdir()}:
            file.unlink()
    assert mixed.missing()[0] == [0, 2], "those of the classifier whose fingerprint is not there"


def test_another_classifier_does_not_go_on_with_an_attack(tmp_path: Path) -> None:
    attacked(1, tmp_path, ink)
    with pytest.raises(RunError, match="the one that the record was begun with"):
        attacked(2, tmp_path, darker)
    assert len(attacked(2, tmp_path, ink).read()) == 20


def test_earlier_attacks_carry_nothing_and_are_read_and_gone_on_with(tmp_path: Path) -> None:
    record = attacked(1, tmp_path, ink)
    for shard in (0, 2):
        table, about = record.read_shard(shard), record.shard_about(shard)
        assert about.pop("classifier")
        record.write_shard(shard, dataclasses.replace(table, points=record.read_points(shard)), about)
    for file in tmp_path.glob("votes/answers-*.json"):
        file.unlink()
    assert len(AttackRecord.open(tmp_path).read()) == 10
    assert len(attacked(2, tmp_path, ink).read()) == 20
