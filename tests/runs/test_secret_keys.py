"""Records under a secret key: committed to before the first vote, resumed, revealed at the end, counted again."""

import json
import stat
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from command_line import invoke
from noiseproof.data import ArrayDataset
from noiseproof.errors import DamagedRecordError, InvalidInputError, RunError
from noiseproof.noises import Gaussian
from noiseproof.randomness import SecretKey
from noiseproof.runs import CountVotes, Record, SequentialRecord, SequentialVotes, Subject, execute
from noiseproof.runs.keys import REVEALED, SECRET, named_seed
from noiseproof.runs.recount import recount
from noiseproof.sequential import CertifyRadii

IMAGES = np.random.default_rng(0).integers(0, 256, (12, 1, 4, 4)).astype(np.float32) / 255
LABELS = (IMAGES.mean((1, 2, 3)) > 0.5).astype(np.int64)
DATA = ArrayDataset("bright", "test", IMAGES, LABELS, 2)


def bright(images: np.ndarray) -> np.ndarray:
    return (images.mean((1, 2, 3)) > 0.5).astype(np.int64)


def subject(classifier: Callable[[np.ndarray], np.ndarray] = bright) -> Subject:
    return Subject(classifier, {"name": "bright", "digest": "0"}, Gaussian(0.25), DATA)


def job(key: SecretKey, sequential: bool = False) -> Any:
    if sequential:
        return SequentialVotes(CertifyRadii(0.05, max_samples=2000), key, shard_size=4)
    return CountVotes(300, 30, key, shard_size=4)


both = pytest.mark.parametrize("sequential", [False, True], ids=["fixed", "sequential"])


@both
def test_committed_to_before_the_first_vote_and_revealed_after_the_last(tmp_path: Path, sequential: bool) -> None:
    key, seen = SecretKey.draw(), []
    name = "sequential.json" if sequential else "record.json"

    def watching(images: np.ndarray) -> np.ndarray:
        if (tmp_path / name).exists():  # it is tried before
            said = json.loads((tmp_path / name).read_text())["settings"]["seed"]
            mode = stat.S_IMODE((tmp_path / SECRET).stat().st_mode)
            seen.append((said["sha256 of the key"], mode, (tmp_path / REVEALED).exists()))
        return bright(images)

    record, _ = execute(job(key, sequential), tmp_path, subject(watching))
    owner = 0o600 if sys.platform != "win32" else 0o666
    assert set(seen) == {(key.commitment, owner, False)}
    assert not (tmp_path / SECRET).exists()
    assert bytes.fromhex((tmp_path / REVEALED).read_text()) == key.reveal()
    assert record.settings.engine["sampler"] == "chacha20-box-muller-cpu"
    secret = key.reveal()
    for file in tmp_path.rglob("*"):
        if file.is_file() and file.name != REVEALED:
            assert secret.hex().encode() not in file.read_bytes(), file
            assert secret not in file.read_bytes(), file


@both
def test_an_interrupted_record_keeps_its_secret_and_goes_on(tmp_path: Path, sequential: bool) -> None:
    key = SecretKey.draw()
    whole, _ = execute(job(key, sequential), tmp_path / "whole", subject())
    part, _ = execute(job(key, sequential), tmp_path / "part", subject(), shards=[1])
    assert (part.path / SECRET).exists()
    assert not (part.path / REVEALED).exists()
    found = (SequentialRecord if sequential else Record).open(part.path)
    assert found.settings.seed == key
    again = (SequentialVotes if sequential else CountVotes).of(found)  # type: ignore[attr-defined]
    resumed, _ = execute(again, part.path, subject())
    assert (part.path / REVEALED).exists()
    np.testing.assert_array_equal(resumed.read().votes, whole.read().votes)


def test_another_key_does_not_go_on(tmp_path: Path) -> None:
    execute(job(SecretKey.draw()), tmp_path, subject(), shards=[0])
    kept = (tmp_path / SECRET).read_text()
    for seed in (SecretKey.draw(), 0):
        with pytest.raises(RunError, match="seed"):
            execute(CountVotes(300, 30, seed, shard_size=4), tmp_path, subject())
    assert (tmp_path / SECRET).read_text() == kept
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / SECRET).write_text(kept)
    with pytest.raises(RunError, match=r"key.secret must be no key, or that of this certification; got another one"):
        execute(job(SecretKey.draw()), tmp_path / "other", subject())


def test_files_of_keys_that_are_damaged_or_missing(tmp_path: Path) -> None:
    execute(job(SecretKey.draw()), tmp_path, subject())
    file = tmp_path / REVEALED
    right = file.read_text()
    file.write_text(right[:-2] + ("00" if right[-2:] != "00" else "11"))
    with pytest.raises(DamagedRecordError, match="must be the key whose SHA-256 digest is"):
        Record.open(tmp_path)
    for content, got in ((right[:-2], "31 bytes"), ("no key", "non-hexadecimal")):
        file.write_text(content)
        with pytest.raises(DamagedRecordError, match=f"64 hexadecimal digits; got .*{got}"):
            Record.open(tmp_path)
    file.unlink()
    record = Record.open(tmp_path)
    assert len(record.certify().radius) == 12, "votes can be read without the key"
    with pytest.raises(InvalidInputError, match="the secret key, to draw noise; got only its commitment"):
        recount(record, subject())


@both
@pytest.mark.parametrize("key", [SecretKey(bytes(32)), 5], ids=["chacha20", "philox"])
def test_counting_again_finds_what_was_changed(tmp_path: Path, key: Any, sequential: bool) -> None:
    record, _ = execute(job(key, sequential), tmp_path, subject())
    for shard in record.shards:
        found = recount(record, subject(), shard=shard)
        assert (found.indices, found.other, found.largest) == (list(range(4 * shard, 4 * shard + 4)), [], 0)
    if sequential:
        return
    table = record.read()
    votes = table.votes[4:8].copy()
    winner = votes[2].argmax()
    votes[2, winner] += min(3, votes[2, 1 - winner])
    votes[2, 1 - winner] = 300 - votes[2, winner]
    changed = type(table).of(range(4, 8), table.label[4:8], votes, table.selection_votes[4:8], IMAGES[4:8])
    record.write_shard(1, changed)
    found = recount(record, subject(), shard=1)
    assert found.other == [6] if (votes != table.votes[4:8]).any() else not found.other
    assert (votes != table.votes[4:8]).any(), "the test must change a vote"
    assert found.images == "the 4 images of shard 1"
    with pytest.raises(RunError, match="model"):
        recount(record, Subject(bright, {"name": "bright", "digest": "1"}, Gaussian(0.25), DATA))


def test_the_key_that_is_named(tmp_path: Path) -> None:
    assert named_seed(tmp_path, None, None) is None
    assert named_seed(tmp_path, 4, "philox") == 4
    drawn = named_seed(tmp_path, None, "chacha20")
    assert isinstance(drawn, SecretKey)
    execute(job(drawn), tmp_path, subject(), shards=[0])
    assert named_seed(tmp_path, None, "chacha20") == drawn
    assert named_seed(tmp_path, None, None) is None
    assert named_seed(tmp_path, None, "philox") == 0, "which is not the record's"
    with pytest.raises(InvalidInputError, match='seed must be left out with randomness="chacha20"; got 3'):
        named_seed(tmp_path, 3, "chacha20")


def test_on_the_command_line(trained: Path, tmp_path: Path) -> None:
    out = tmp_path / "votes"
    invoke("certify", trained, "--samples", 200, "--every", 60, "--out", out, "--randomness", "chacha20")
    said = invoke("inspect", out, "--verify-randomness")
    assert "revealed in key.revealed" in said.stdout
    assert "the noise of the record gives the votes of the" in said.stderr
    record = Record.open(out)
    table = record.read()
    votes = table.votes.copy()
    votes[0] = np.roll(votes[0], 1)
    record.write_shard(0, replace(table, votes=votes))
    found = invoke("inspect", out, "--verify-randomness", code=1)
    assert f"Other votes on 1 of the {len(votes)} images of shard 0" in found.stderr
