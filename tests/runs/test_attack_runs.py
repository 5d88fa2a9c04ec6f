"""Attacks into records, and the audit: half-spaces, where every answer is known."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from jaxtyping import Float
from scipy.stats import binom
from torch import Tensor

from counting import run
from half_space import HalfSpace, images_at
from noiseproof.attacks import PGD, Attack, Batch, Defence, Finder, Transfer
from noiseproof.certified import ABSTAIN
from noiseproof.data import ArrayDataset
from noiseproof.errors import ClassifierError, InvalidInputError, RunError
from noiseproof.evaluation.audit import VERDICT_ALPHA, AuditResult, judge_audit, sizes_within
from noiseproof.evaluation.robust_accuracy import (
    Verdict,
    summarise_verdicts,
    verdicts,
    voted_class,
    worst_of,
    worst_so_far,
)
from noiseproof.models import model_digest
from noiseproof.noises import Gaussian
from noiseproof.perturbations.balls import distance
from noiseproof.perturbations.norms import Norm
from noiseproof.randomness import Phase
from noiseproof.runs import AttackImages, Audit, CountVotes, Rejudge, Selection, Subject, execute
from noiseproof.runs.attack import Limits
from noiseproof.runs.attack_records import AttackRecord, AttackTable
from noiseproof.smoothing import SmoothedClassifier

NETWORK = HalfSpace()
NOISE = Gaussian(0.3)
HEIGHTS = [0.05, 0.15, 0.25, -0.1, -0.2, 0.3]
SIZES = [0.1, 0.2]


def halves(repeat: int = 1) -> ArrayDataset:
    pictures, labels = images_at(HEIGHTS * repeat, NETWORK)
    return ArrayDataset("halves", "test", pictures.numpy(), labels.numpy(), 2)


def subject(dataset: ArrayDataset, noise: Gaussian | None = NOISE) -> Subject:
    return Subject(NETWORK, {"name": "half space", "digest": model_digest(NETWORK)}, noise, dataset)


def job(attack: Attack | None = None, **changes: Any) -> AttackImages:
    given = {"epsilons": SIZES, "samples": 2000, "shard_size": 4} | changes
    return AttackImages(attack or PGD(eot_samples=8, steps=10), **given)  # type: ignore[arg-type]


def attacked(path: Path, attack: Attack | None = None, noisy: bool = True, **changes: Any) -> AttackRecord:
    return execute(job(attack, **changes), path, subject(halves(), NOISE if noisy else None))[0]


@pytest.mark.parametrize("noisy", [True, False])
def test_an_attack_succeeds_exactly_where_the_boundary_is_within_its_size(tmp_path: Path, noisy: bool) -> None:
    """The smoothed classifier of a half-space is the half-space itself: distances are |height|, with noise or without."""
    table = attacked(tmp_path, noisy=noisy).read()
    found = verdicts(table.votes.transpose(1, 0, 2), table.label, 0.001, noisy=noisy)
    np.testing.assert_array_equal(found[0], Verdict.RIGHT)
    for number, size in enumerate(SIZES, start=1):
        within = np.abs(HEIGHTS) < size - 0.02
        beyond = np.abs(HEIGHTS) > size + 0.02
        assert (found[number][within] == Verdict.WRONG).all()
        assert (found[number][beyond] == Verdict.RIGHT).all()
    assert table.votes.sum() == len(HEIGHTS) * 3 * (2000 if noisy else 1)


def test_votes_are_fresh_and_points_are_kept_and_within_their_sizes(tmp_path: Path) -> None:
    record = attacked(tmp_path)
    dataset, table = halves(), record.read()
    for shard in record.shards:
        rows = slice(shard * 4, shard * 4 + 4)
        points = record.read_points(shard)
        images = torch.as_tensor(dataset.read(record.shard_indices(shard)))
        np.testing.assert_array_equal(points[:, 0], images)
        for number in range(3):
            gone = distance(torch.as_tensor(points[:, number]), images, "l2").numpy()
            assert (gone <= table.sizes[rows, number] * (1 + 1e-12)).all()
            again = SmoothedClassifier(NETWORK, NOISE, 2).count(
                points[:, number], samples=2000, seed=99, indices=record.shard_indices(shard)
            )
            assert np.abs(again - table.votes[rows, number]).max() < 200  # the same law ...
            assert (again != table.votes[rows, number]).any()  # ... other draws
            by = {
                phase: SmoothedClassifier(NETWORK, NOISE, 2).count(
                    points[:, number], samples=2000, indices=record.shard_indices(shard), phase=phase
                )
                for phase in Phase
            }
            np.testing.assert_array_equal(by.pop(Phase.JUDGE), table.votes[rows, number])
            assert all((votes != table.votes[rows, number]).any() for votes in by.values())  # the attacker's above all


def judged_again(path: Path, found: AttackRecord, told: list[int] | None = None, **changes: Any) -> AttackRecord:
    what = Rejudge(found, **{"samples": 3000, **changes})
    return run(what, path, subject(halves()), progress=([] if told is None else told).append)[0]  # type: ignore[no-any-return]


def test_points_are_judged_again_by_fresh_votes_of_the_same_noise(tmp_path: Path) -> None:
    found = attacked(tmp_path / "found")
    before = {file: file.read_bytes() for file in found.path.rglob("*") if file.is_file()}
    record = judged_again(tmp_path / "again", found)
    table, first = record.read(), found.read()
    assert record.missing() == ([], [])
    for name in ("index", "label", "sizes", "distances"):
        np.testing.assert_array_equal(getattr(table, name), getattr(first, name))
    for shard in record.shards:
        points, rows = record.read_points(shard), slice(shard * 4, shard * 4 + 4)
        np.testing.assert_array_equal(points, found.read_points(shard))
        for number in range(3):
            expected = SmoothedClassifier(NETWORK, NOISE, 2).count(
                points[:, number], samples=3000, seed=1, indices=record.shard_indices(shard), phase=Phase.JUDGE
            )
            np.testing.assert_array_equal(table.votes[rows, number], expected)
    shares, shares_before = table.votes / 3000, first.votes / 2000
    assert np.abs(shares - shares_before).max() < 0.1  # the same law ...
    assert (shares != shares_before).any(2).mean() > 0.9  # ... other draws
    assert {file: file.read_bytes() for file in before} == before


def test_a_judgement_goes_on_where_it_was_stopped_and_tells_how_far(tmp_path: Path) -> None:
    found, told = attacked(tmp_path / "found"), list[int]()
    whole = judged_again(tmp_path / "whole", found)
    record = judged_again(tmp_path / "again", found)
    record.shard_path(0).unlink()
    judged_again(record.path, found, told)
    assert sum(told) == 4 * 3, "the images of one shard, at three sizes"
    np.testing.assert_array_equal(record.read().votes, whole.read().votes)
    judged_again(record.path, found, told)
    assert sum(told) == 4 * 3, "nothing was left to do"


def test_what_is_judged_again_is_what_the_record_says(tmp_path: Path) -> None:
    found = attacked(tmp_path / "found")
    judged_again(tmp_path / "again", found)
    with pytest.raises(RunError, match=r"found must be a record with noise sigma 0\.4; got noise sigma 0\.3"):
        execute(Rejudge(found, 3000), tmp_path / "again", subject(halves(), Gaussian(0.4)))
    with pytest.raises(RunError, match="points record"):
        judged_again(tmp_path / "again", attacked(tmp_path / "other", alpha=0.01), alpha=0.001)
    with pytest.raises(RunError, match="points nothing"):  # they were not found under these settings
        attacked(tmp_path / "again")
    with pytest.raises(RunError, match="samples 4000"):
        judged_again(tmp_path / "again", found, samples=4000)
    with pytest.raises(RunError, match="samples 3000, seed 1; got points nothing"):
        judged_again(tmp_path / "found", found)
    found.points_path(1).write_bytes(b"other points")
    with pytest.raises(RunError, match="must be the points that the attack found; got ValueError: other points"):
        judged_again(tmp_path / "damaged", found)


def test_an_interrupted_attack_goes_on_to_the_same_end(tmp_path: Path) -> None:
    whole = attacked(tmp_path / "whole")

    class Stop(Exception):  # noqa: N818 - it is no error
        pass

    def stop(_number: int, _table: AttackTable) -> None:
        raise Stop

    with pytest.raises(Stop):
        run(job(), tmp_path / "part", subject(halves()), on_shard=stop)
    part = AttackRecord.open(tmp_path / "part")
    assert part.missing()[0] == [1]
    assert len(part.read()) == 4
    told: list[int] = []
    run(job(), part.path, subject(halves()), progress=told.append)
    assert told == [2, 2, 2]  # the second shard has two images, and three sizes
    for name in ("index", "label", "sizes", "votes"):
        np.testing.assert_array_equal(getattr(part.read(), name), getattr(whole.read(), name))
    for shard in whole.shards:
        np.testing.assert_array_equal(part.read_points(shard), whole.read_points(shard))
    run(job(), part.path, subject(halves()), progress=lambda _: pytest.fail("nothing was left to do"))


def test_points_are_written_before_the_votes_that_mark_a_shard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    real = AttackRecord._write

    def killed(self: AttackRecord, path: Path, columns: Mapping[str, Any], **more: str) -> None:
        if path.suffix != ".parquet":
            return real(self, path, columns, **more)
        written.extend(path.name for path in (tmp_path / "points").iterdir())
        raise KeyboardInterrupt

    monkeypatch.setattr(AttackRecord, "_write", killed)
    with pytest.raises(KeyboardInterrupt):
        attacked(tmp_path)
    record = AttackRecord.open(tmp_path)
    assert written == ["00000.safetensors"]
    assert record.missing()[0] == [0, 1]
    monkeypatch.setattr(AttackRecord, "_write", real)
    attacked(tmp_path)
    assert record.missing() == ([], [])
    record.read_points(0)


def test_votes_are_readable_without_points_and_damage_is_found(tmp_path: Path) -> None:
    record = attacked(tmp_path)
    before = record.read()
    points = record.points_path(0)
    content = points.read_bytes()
    points.write_bytes(content[:-4] + b"\0\0\0\1")
    with pytest.raises(RunError, match="other points than those that were voted on"):
        record.read_points(0)
    points.unlink()
    np.testing.assert_array_equal(record.read().votes, before.votes)
    with pytest.raises(RunError, match="votes can be read without it"):
        record.read_points(0)
    votes = bytearray(record.shard_path(1).read_bytes())
    votes[len(votes) // 3] ^= 0xFF
    record.shard_path(1).write_bytes(bytes(votes))
    missing, faults = record.missing()
    assert missing == [1]
    assert "only this shard" in str(faults[0])


@pytest.mark.parametrize(
    "change",
    [
        {"samples": 100},
        {"seed": 1},
        {"epsilons": [0.1]},
        {"norm": "linf"},
        {"selection": Selection(limit=3)},
        {"alpha": 0.01},
        {"noisy": False},
    ],
)
def test_other_settings_are_another_record(tmp_path: Path, change: dict[str, object]) -> None:
    attacked(tmp_path)
    (name,) = change
    with pytest.raises(RunError, match={"noisy": "noise", "selection": "stop", "epsilons": "sizes"}.get(name, name)):
        attacked(tmp_path, **change)
    with pytest.raises(RunError, match="attack steps 11"):
        attacked(tmp_path, PGD(eot_samples=8, steps=11))


def test_other_data_are_another_record(tmp_path: Path) -> None:
    attacked(tmp_path)
    dataset = halves()
    other = ArrayDataset("halves", "test", dataset.read(range(5)), dataset.labels[:5], 2)
    with pytest.raises(RunError, match="a record with data digest"):
        execute(job(), tmp_path, subject(other))


@dataclasses.dataclass(frozen=True)
class Cheat(Attack):
    """Goes further than its size, or leaves the box."""

    leave: str = "ball"
    norms: ClassVar[tuple[Norm, ...]] = (Norm.L2,)
    follows_gradients: ClassVar[bool] = False

    @property
    def eot_samples(self) -> int:
        return 1

    def begin(self, target: Defence, batch: Batch, norm: Norm) -> Finder:
        def find(sizes: Float[Tensor, " rows"], rows: Sequence[int]) -> Float[Tensor, "rows *shape"]:
            images = batch.images[list(rows)].clone()
            if self.leave == "ball":
                images[:, 0, 0, 0] += 1.001 * sizes.float()
            else:
                images[:, 0, 0, 0] = -1e-6
            return images

        return find


@pytest.mark.parametrize("leave", ["ball", "box"])
def test_an_attack_that_leaves_its_ball_or_the_box_is_found_out(tmp_path: Path, leave: str) -> None:
    with pytest.raises(ClassifierError, match="within their epsilons"):
        attacked(tmp_path, Cheat(leave), epsilons=[0.9])


@pytest.mark.parametrize(
    ("sizes", "got"), [([], "got \\[\\]"), ([-0.1], "-0.1"), ([float("nan")], "nan"), ([float("inf")], "inf")]
)
def test_wrong_sizes_are_refused(sizes: list[float], got: str) -> None:
    with pytest.raises(InvalidInputError, match=got):
        job(epsilons=sizes).plan(subject(halves()))


def test_sizes_rise_from_nought() -> None:
    assert job(epsilons=[1.0, 0.5, 1.0]).plan(subject(halves())).sizes == [0.0, 0.5, 1.0]
    assert job(epsilons=[2.0, 0.0]).plan(subject(halves())).sizes == [0.0, 2.0]


def test_a_norm_that_the_attack_has_not_is_refused_before_anything_runs() -> None:
    with pytest.raises(InvalidInputError, match="norm must be l2 for Cheat"):
        job(Cheat(), norm="linf").plan(subject(halves()))


def test_transfer_is_recorded_by_its_source(tmp_path: Path) -> None:
    attack = Transfer(PGD(eot_samples=1, steps=10), Defence(NETWORK, None, 2), "half space abc, no noise")
    record = attacked(tmp_path, attack)
    kept = json.loads((tmp_path / "attack.json").read_text())["settings"]["attack"]
    assert kept["attack"]["name"] == "PGD"
    assert kept["source_name"] == "half space abc, no noise"
    table = record.read()
    found = verdicts(table.votes.transpose(1, 0, 2), table.label, 0.001)
    assert (found[2][np.abs(HEIGHTS) < 0.18] == Verdict.WRONG).all()


# ---- verdicts ----


def test_verdicts_are_those_of_the_binomial_test() -> None:
    """Every split of 12 votes between two classes, against the test's definition."""
    alpha = 0.05
    votes = np.array([[right, 12 - right] for right in range(13)])
    found = voted_class(votes, alpha)
    for right, answer in enumerate(found):
        most = max(right, 12 - right)
        p_value = min(1.0, 2.0 * binom.sf(most - 1, 12, 0.5))
        expected = ABSTAIN if p_value > alpha else (0 if right > 6 else 1)
        assert answer == expected, right
    as_verdicts = verdicts(votes[None], np.zeros(13, dtype=np.int64), alpha)[0]
    np.testing.assert_array_equal(as_verdicts, np.select([found == 0, found == ABSTAIN], [0, 1], 2))


def test_one_vote_decides_without_noise_and_nothing_with_it() -> None:
    votes = np.array([[0, 1, 0]])
    assert voted_class(votes, 0.001, noisy=False) == [1]
    assert voted_class(votes, 0.001) == [ABSTAIN]


def test_the_worst_so_far_and_of_several_attacks() -> None:
    first, second = np.array([[0, 0, 1], [2, 0, 0]]), np.array([[0, 1, 0], [0, 0, 2]])
    np.testing.assert_array_equal(worst_so_far(first), [[0, 0, 1], [2, 0, 1]])
    np.testing.assert_array_equal(worst_of([first, second]), [[0, 1, 1], [2, 0, 2]])
    summary = summarise_verdicts(first, np.array([0.0, 1.0]))
    np.testing.assert_allclose(summary.robust, [2 / 3, 1 / 3])
    np.testing.assert_allclose(summary.abstained, [1 / 3, 1 / 3])
    np.testing.assert_allclose(summary.wrong, [0.0, 1 / 3])
    np.testing.assert_allclose(summary.robust + summary.abstained + summary.wrong, 1.0)
    # Clopper-Pearson by its definition: at the ends, the count seen or beyond has probability 2.5 %
    assert binom.sf(1, 3, summary.low[0]) == pytest.approx(0.025)
    assert binom.cdf(2, 3, summary.high[0]) == pytest.approx(0.025)
    with pytest.raises(InvalidInputError, match="same epsilons="):
        worst_of([first, second[:1]])


# ---- the audit ----


def audited(path: Path, stretch: float, noise: Gaussian = NOISE) -> AuditResult:
    """Audit tight certificates of half-spaces whose radii are `stretch` times what was proven."""
    dataset = halves(5)
    images = dataset.read(range(len(dataset)))
    certified = SmoothedClassifier(NETWORK, noise, 2).certify(images, samples=10_000, alpha=0.001, seed=7)
    limits = Limits(certified.prediction, sizes_within(certified.radius * stretch), {"stretch": stretch})
    attack = PGD(eot_samples=16, steps=20)
    what = job(attack, epsilons=[1.0], limits=limits, alpha=VERDICT_ALPHA, shard_size=100)
    table = execute(what, path, subject(dataset))[0].read()
    np.testing.assert_array_equal(table.label, certified.prediction)
    return judge_audit(
        certified.prediction, certified.radius, table.index, table.votes[:, 1], alpha=0.001, majority=True
    )


def test_a_certificate_half_as_large_again_as_the_truth_is_caught(tmp_path: Path) -> None:
    broken = audited(tmp_path / "broken", 1.5)
    assert not broken.passed
    assert len(broken.contradictions) > 0.5 * broken.attacked
    sound = audited(tmp_path / "sound", 1.0)
    assert sound.passed
    assert sound.contradictions == ()
    assert sound.attacked == broken.attacked >= 25


def test_an_image_without_a_certificate_is_left_alone(tmp_path: Path) -> None:
    dataset = halves()
    size = np.array([0.5, 0.0, 0.5, 0.0, 0.0, 0.5])
    label = np.where(size > 0.0, dataset.labels, ABSTAIN)
    limits = Limits(label, size, {"from": "a test"})
    record = attacked(tmp_path, epsilons=[1.0], limits=limits)
    table = record.read()
    np.testing.assert_array_equal(table.sizes[:, 1], np.where(size > 0.0, size, -1.0))
    np.testing.assert_array_equal(table.label, label)
    points = np.concatenate([record.read_points(shard) for shard in record.shards])
    moved = np.abs(points[:, 1] - points[:, 0]).reshape(6, -1).max(1) > 0.0
    np.testing.assert_array_equal(moved, size > 0.0)


@pytest.mark.parametrize(("every", "index"), [(1, [0, 4, 8, 12, 16]), (2, [0, 4, 8, 12, 16]), (6, [0, 12])])
def test_every_counts_images_of_the_data_set_in_an_audit_too(every: int, index: list[int], tmp_path: Path) -> None:
    on = subject(halves(5))
    certified, _ = execute(CountVotes(500, selection=Selection(every=4, limit=5)), tmp_path, on)
    made, _ = execute(Audit(certified, PGD(steps=1), samples=100, selection=Selection(every)), tmp_path / "audit", on)
    assert made.read().index.tolist() == index


def test_an_audit_in_a_few_lines(tmp_path: Path) -> None:
    """Certificates of half-spaces are audited from Python; a second run finds them audited, another network is refused."""
    on = subject(halves(5))
    certified, _ = execute(CountVotes(10_000, selection=Selection(every=2), shard_size=8), tmp_path, on)
    audit = Audit(certified, PGD(eot_samples=16, steps=20), samples=2000, selection=Selection(every=3, limit=4))
    made, left = execute(audit, tmp_path / "audit", on)
    assert left == []
    assert made.read().index.tolist() == [0, 6, 12, 18]
    found = certified.certify()
    np.testing.assert_array_equal(made.read().sizes[:, 1], sizes_within(found.radius)[::3][:4])
    result = audit.judge(made)
    assert result.passed
    assert (result.images, result.attacked, result.contradictions) == (4, 4, ())
    before = made.shard_path(0).stat().st_mtime_ns
    execute(audit, tmp_path / "audit", on)
    assert made.shard_path(0).stat().st_mtime_ns == before
    made.shard_path(0).unlink()
    with pytest.raises(RunError, match="must be at least one shard"):
        audit.judge(made)
    with pytest.raises(RunError, match=r"a record with noise sigma 0\.4; got noise sigma 0\.3"):
        execute(audit, tmp_path / "audit", subject(halves(5), Gaussian(0.4)))
    certified.shard_path(0).unlink()
    with pytest.raises(RunError, match="complete, to be audited"):
        execute(Audit(certified, PGD(eot_samples=16, steps=20)), tmp_path / "later", on)
