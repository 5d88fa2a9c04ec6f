"""Votes that stop by themselves are those of a loop over single votes, whatever the batches, order, company or resumes."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache, partial

import numpy as np
import pytest
import torch
from torch import Tensor

import noiseproof as npf
from mutation import fails, mutated
from noiseproof.certificates import NeymanPearson
from noiseproof.classifiers.base import INVALID
from noiseproof.classifiers.batching import BatchSize
from noiseproof.errors import ClassifierError, OutOfMemoryError
from noiseproof.noises import Gaussian
from noiseproof.randomness import Phase
from noiseproof.sampling import HostSampler, Rows, Span
from noiseproof.sampling.scheduler import QueuedImage, Scheduler
from noiseproof.sequential import (
    AheadOfAll,
    CertifyRadii,
    Criterion,
    Exceeds,
    Level,
    RelativeError,
    SharedBudget,
    TopClass,
)

CPU, NOISE, SEED, CLASSES, CAP = torch.device("cpu"), Gaussian(0.5), 11, 3, 200
IMAGES = torch.from_numpy(np.random.default_rng(0).random((14, CLASSES), dtype=np.float32))
IMAGES[:3] = torch.tensor([[0.9, 0.0, 0.0], [0.0, 1.0, 0.1], [0.5, 0.5, 0.0]])
INDICES = [7 * i + 3 for i in range(len(IMAGES))]
ONE, SEVERAL = (Level(0.6, 0.4),), (Level(0.5, 0.5), Level(0.6, 0.4), Level(0.75, 0.25))
NEAR = (Level(0.5, 0.5), Level(0.55, 0.45), Level(0.6, 0.4))
CRITERIA: dict[str, Criterion] = {
    "radius": Exceeds(ONE, 0.05, 0.05, CAP),
    "radii": Exceeds(SEVERAL, 0.3, 0.1, CAP),
    "lasting": Exceeds(NEAR, 0.3, 0.1, CAP, lasting=True),
    "lasting, runner-up": AheadOfAll((0.05, 0.2, 0.4), 0.3, 0.1, CAP, lasting=True),
    "winner": TopClass(0.05, CAP),
    "relative error": RelativeError(0.85, 0.3, 0.3, 90, partial(NeymanPearson().radius, NOISE)),
}
Votes = dict[int, np.ndarray]


def answers(batch: Tensor) -> Tensor:
    """The class of the brightest pixel."""
    return batch.argmax(1)


def drawn_alone(image: int, number: int, count: int = 1) -> Tensor:
    """Noisy copies of one image, with no other in the batch."""
    batch = torch.empty(count, CLASSES)
    HostSampler(NOISE, SEED).fill(batch, IMAGES, Rows([Span(image, INDICES[image], Phase.CERTIFY, number, count)], CPU))
    return batch


@cache
def samples(image: int) -> Tensor:
    """All noisy copies of one image up to CAP."""
    return drawn_alone(image, 0, CAP)


@cache
def single_votes(image: int) -> np.ndarray:
    """The votes after 0, 1, .., CAP of them."""
    first = np.eye(CLASSES, dtype=np.int64)[answers(samples(image))]
    return np.concatenate([np.zeros_like(first[:1]), first.cumsum(0)])


@cache
def vote_by_vote(name: str) -> Votes:
    """One image after the other, one vote after the other, until its goal has ended."""
    criterion = CRITERIA[name]
    if criterion.lasting:
        return {index: until_it_ends(criterion, single_votes(image)) for image, index in enumerate(INDICES)}
    ended = criterion.ended(np.concatenate([single_votes(image) for image in range(len(IMAGES))]))
    stops = ended.reshape(len(IMAGES), CAP + 1).argmax(1)
    return {index: single_votes(image)[stop] for image, (index, stop) in enumerate(zip(INDICES, stops, strict=True))}


def until_it_ends(criterion: Criterion, every: np.ndarray) -> np.ndarray:
    """A loop over the votes of one image: those at the end, and those of the first look that certified most levels."""
    certifying, most = np.zeros_like(every[0]), 0
    for votes in every:
        if (now := int(criterion.reached(votes[None])[0])) > most:
            certifying, most = votes, now
        if criterion.ended(votes[None], np.array([most]))[0]:
            return np.stack([votes, certifying])
    raise AssertionError("it never ended")


@dataclass
class Spy:
    """A classifier that keeps what it was given, and how many rows each batch had."""

    answer: Callable[[Tensor], Tensor] = answers
    batches: list[Tensor] = field(default_factory=list)

    def __call__(self, batch: Tensor) -> Tensor:
        self.batches.append(batch.clone())
        return self.answer(batch)

    def rows(self) -> list[int]:
        """How many different rows each batch has: no two draws are alike, so the rest is filling."""
        return [len(batch.unique(dim=0)) for batch in self.batches]


def scheduler(
    criterion: Criterion,
    batch_size: int = 37,
    *,
    classify: Callable[[Tensor], Tensor] = answers,
    fixed: bool = False,
    told: Callable[[int], None] = lambda _: None,
    **more: object,
) -> Scheduler:
    sampler, batch = HostSampler(NOISE, SEED), BatchSize(batch_size, fixed=fixed, told=told)
    return Scheduler(classify, sampler, criterion, num_classes=CLASSES, batch=batch, device=CPU, **more)  # type: ignore[arg-type]


def queue(images: Sequence[int] = range(len(IMAGES)), votes: Votes | None = None) -> Iterator[QueuedImage]:
    for image in images:
        index = INDICES[image]
        before = (votes or {}).get(index, np.zeros(CLASSES, dtype=np.int64))
        yield QueuedImage(index, IMAGES[image], *np.atleast_2d(before))


def collected(runner: Scheduler, images: Sequence[int] = range(len(IMAGES)), votes: Votes | None = None) -> Votes:
    return {retired.index: retired.kept for retired in runner.run(queue(images, votes))}


def assert_same(found: Votes, expected: Votes) -> None:
    assert found.keys() == expected.keys()
    for index, votes in expected.items():
        np.testing.assert_array_equal(found[index], votes)


# ---- the same votes --------------------------------------------------------------------------------------------------


def test_images_stop_at_different_moments() -> None:
    """What the tests below compare with."""
    for name, criterion in CRITERIA.items():
        kept = np.stack([np.atleast_2d(each) for each in vote_by_vote(name).values()])
        votes = kept[:, 0]
        assert criterion.ended(votes, criterion.reached(kept[:, 1]) if criterion.lasting else None).all()
        assert len(np.unique(votes.sum(-1))) > 4
        assert votes.sum(-1).min() < 80 or name in {"radii", "lasting"}
        one = np.zeros((1, CLASSES), dtype=np.int64)
        while not criterion.ended(one)[0]:
            one[0, int(answers(drawn_alone(1, int(one.sum()))))] += 1
        np.testing.assert_array_equal(one[0], np.atleast_2d(vote_by_vote(name)[INDICES[1]])[0])
    assert (np.stack(list(vote_by_vote("winner").values())).sum(-1) == CAP).any()


@pytest.mark.parametrize(
    ("name", "batch_size"),
    [
        *((name, size) for name in ("radius", "lasting") for size in (7, 37, 256, 10_000)),
        ("radii", 10_000),
        ("winner", 37),
        ("relative error", 256),
        ("lasting, runner-up", 37),
        ("lasting, runner-up", 10_000),
    ],
)
def test_votes_do_not_depend_on_the_batch_size(name: str, batch_size: int) -> None:
    assert_same(collected(scheduler(CRITERIA[name], batch_size)), vote_by_vote(name))


def test_one_row_a_batch() -> None:
    runner, some = scheduler(CRITERIA["winner"], 1), (1, 5, 6)
    found = collected(runner, some)
    assert_same(found, {INDICES[i]: vote_by_vote("winner")[INDICES[i]] for i in some})
    assert runner.drawn == sum(votes.sum() for votes in found.values()), "nothing is drawn in vain"


@pytest.mark.parametrize("name", CRITERIA)
def test_votes_do_not_depend_on_order_or_company(name: str) -> None:
    expected = vote_by_vote(name)
    order = np.random.default_rng(1).permutation(len(IMAGES)).tolist()
    assert_same(collected(scheduler(CRITERIA[name]), order), expected)
    for some in ([5], range(1, 4)):
        assert_same(collected(scheduler(CRITERIA[name]), some), {INDICES[i]: expected[INDICES[i]] for i in some})


@pytest.mark.parametrize(
    ("name", "depth"),
    [
        ("radius", 1),
        ("radius", 3),
        ("radii", 3),
        ("winner", 1),
        ("relative error", 1),
        ("lasting", 1),
        ("lasting, runner-up", 3),
    ],
)
def test_votes_do_not_depend_on_batches_under_way(name: str, depth: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a GPU an image's next votes are drawn before those of its last batch are looked at."""
    monkeypatch.setattr(Scheduler, "_depth", depth)
    for batch_size in (11, 64) if name == "radius" else (50,):
        assert_same(collected(scheduler(CRITERIA[name], batch_size)), vote_by_vote(name))


def test_a_fixed_batch_size_is_kept() -> None:
    spy = Spy()
    assert_same(collected(scheduler(CRITERIA["radius"], 50, classify=spy, fixed=True)), vote_by_vote("radius"))
    assert {len(batch) for batch in spy.batches} == {50}


class KilledError(Exception):
    """What a kill looks like from inside."""


@pytest.mark.parametrize(
    ("name", "depth"),
    [
        ("radius", 0),
        ("radius", 2),
        ("radii", 2),
        ("winner", 0),
        ("relative error", 0),
        ("lasting", 0),
        ("lasting", 2),
        ("lasting, runner-up", 2),
    ],
)
def test_votes_do_not_depend_on_kills(name: str, depth: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed after 1, 2, 4, .. batches of another size, and begun again with the votes that were kept."""
    monkeypatch.setattr(Scheduler, "_depth", depth)
    kept: Votes = {}
    kills = 0
    for batches, size in zip((1, 2, 4, 5, 3, 8, 1, 10**6), (37, 7, 20, 64, 90, 37, 256, 50), strict=True):
        left = batches

        def progress(_: int) -> None:
            nonlocal left
            left -= 1
            if left < 0:
                raise KilledError

        runner = scheduler(CRITERIA[name], size, progress=progress)
        done: Votes = {}
        try:
            for retired in runner.run(queue(votes=kept)):
                done[retired.index] = retired.kept
        except KilledError:
            kills += 1
            kept |= runner.snapshot() | done
        else:
            break
    assert kills >= 5
    assert_same(done, vote_by_vote(name))


def test_snapshots_are_votes_on_the_way() -> None:
    """Of every image on hand, after every batch: some of its first votes, and more of them as time goes by."""
    taken: list[Votes] = []
    runner = scheduler(CRITERIA["radius"], 37, progress=lambda _: taken.append(runner.snapshot()))
    collected(runner)
    assert taken[-1].keys() < set(INDICES)
    sums = [sum(votes.sum() for votes in each.values()) for each in taken]
    assert sums[0] == 0
    assert len(set(sums)) > 10
    for index, image in zip(INDICES[:4], range(4), strict=True):
        for each in taken:
            if index in each:
                n = each[index].sum()
                np.testing.assert_array_equal(each[index], single_votes(image)[n])


# ---- certificates that last ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["lasting", "lasting, runner-up"])
def test_what_was_certified_at_some_moment_stays_certified(name: str) -> None:
    """Of the votes at which sampling ends alone, some of it would be lost; and sampling goes on for the others alone."""
    criterion, kept = CRITERIA[name], np.stack(list(vote_by_vote(name).values()))
    last, earlier = criterion.reached(kept[:, 0]), criterion.reached(kept[:, 1])
    for image, (votes, _) in enumerate(kept):
        on_the_way = single_votes(image)[: votes.sum() + 1]
        assert earlier[image] == criterion.reached(on_the_way).max()
    assert (earlier >= last).all()
    assert (earlier > last).any(), "none that could be lost"
    if name == "lasting":
        every = np.stack([single_votes(image) for image in range(len(IMAGES))])
        ended = Exceeds(NEAR, 0.3, 0.1, CAP).ended(every.reshape(-1, CLASSES)).reshape(every.shape[:2]).argmax(1)
        assert (kept[:, 0].sum(-1) <= ended).all()
        assert (kept[:, 0].sum(-1) < ended).any()


@pytest.mark.parametrize("name", ["lasting", "lasting, runner-up"])
def test_a_budget_pauses_and_forgets_nothing(name: str) -> None:
    whole = vote_by_vote(name)
    needed = sum(int(kept[0].sum()) for kept in whole.values())
    for budget in (needed, 10**6):
        assert_same(spent(name, budget), whole)
    short = spent(name, needed - 1, 256)
    assert sum(int(kept[0].sum()) for kept in short.values()) == needed - 1
    assert_same(spent(name, needed - 1, 11), short)


@pytest.mark.parametrize(
    ("function", "old", "new"),
    [
        ("_keep_most", "reached.searchsorted(reached[-1])", "-1"),
        ("_keep_most", "reached[-1] > self._reached[place]", "reached[-1] >= self._reached[place]"),
        ("_running_reached", "np.maximum.accumulate(reached + apart) - apart", "reached"),
        ("_running_reached", "reached + apart) - apart", "reached)"),
        ("_enter", "image.votes, 0, 0", "image.votes, 0, 3"),
        ("_enter", "self._certifying[place] = image.certifying", "pass"),
    ],
)
def test_faults_of_what_lasts_are_caught(function: str, old: str, new: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Scheduler, function, mutated(getattr(Scheduler, function), old, new))
    with pytest.raises((AssertionError, ValueError)):
        test_votes_do_not_depend_on_kills("lasting", 0, monkeypatch)


# ---- what is drawn ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("depth", [0, 1])
def test_every_sample_is_drawn_once(depth: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Scheduler, "_depth", depth)
    spy, told = Spy(), []
    runner = scheduler(CRITERIA["radii"], 37, classify=spy, progress=told.append)
    found = collected(runner)
    drawn = torch.cat(spy.batches).unique(dim=0)
    assert len(drawn) == runner.drawn == sum(told)
    assert spy.rows() == told
    needed = torch.cat([samples(image)[: found[index].sum()] for image, index in enumerate(INDICES)])
    assert {*map(tuple, needed.tolist())} <= {*map(tuple, drawn.tolist())}


@pytest.mark.parametrize(("name", "depth"), [("radius", 0), ("radius", 1), ("winner", 0)])
def test_batches_are_full_and_little_is_drawn_in_vain(name: str, depth: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Scheduler, "_depth", depth)
    told: list[int] = []
    runner = scheduler(CRITERIA[name], 64, progress=told.append)
    used = waiting = seen = 0

    def stream() -> Iterator[QueuedImage]:
        nonlocal waiting, seen
        for number in range(70):
            image = number % len(IMAGES)
            yield QueuedImage(number, IMAGES[image], np.zeros(CLASSES, dtype=np.int64))
        waiting = runner.drawn - (used + sum(int(votes.sum()) for votes in runner.snapshot().values()))
        seen = runner.drawn

    most = 0
    for retired in runner.run(stream()):
        used += int(retired.votes.sum())
        if retired.index % 8 == 0:
            most = max(most, len(runner.snapshot()))
    assert seen > 3000
    under_way = 64 * (1 + depth)
    assert waiting <= seen / 16 + under_way
    assert most <= 2 * 64 * (1 + depth) + 64, "images are asked for as they are needed"
    assert set(told[:-1]) == {64}, "there is always something to fill a batch with"
    assert runner.drawn <= used * (1 + 1 / 16) + 20 * 64 * (1 + depth)


def test_images_that_are_decided_take_no_batch() -> None:
    criterion, decided = CRITERIA["radius"], vote_by_vote("radius")
    spy = Spy()
    runner = scheduler(criterion, 16, classify=spy)
    assert_same(collected(runner, votes=decided), decided)
    assert not spy.batches
    assert runner.drawn == 0
    assert collected(runner, []) == {}
    again = {index: votes for index, votes in decided.items() if index != INDICES[2]}
    assert_same(collected(runner, votes=again), decided)


@pytest.mark.parametrize("depth", [0, 1])
def test_images_may_be_sampled_up_to_a_number_of_votes(depth: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Scheduler, "_depth", depth)
    runner, kept = scheduler(CRITERIA["radius"], 37), dict[int, np.ndarray]()
    for until in (1, 20, 20, 77, CAP + 5):
        before, kept = kept, {}
        for retired in runner.run(queue(votes=before), until=until):
            kept[retired.index] = retired.votes
        for index, votes in vote_by_vote("radius").items():
            assert kept[index].sum() == min(votes.sum(), until)
    assert_same(kept, vote_by_vote("radius"))


# ---- what goes wrong -------------------------------------------------------------------------------------------------


def failing(calls: set[int]) -> Callable[[Tensor], Tensor]:
    """A classifier that runs out of memory at these calls."""
    call = 0

    def classify(batch: Tensor) -> Tensor:
        nonlocal call
        call += 1
        if call in calls:
            raise OutOfMemoryError("a batch", required="small", got="large", remedy="None.")
        return answers(batch)

    return classify


@pytest.mark.parametrize("depth", [0, 2])
def test_a_batch_that_does_not_fit_is_halved_and_nothing_is_lost(depth: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Scheduler, "_depth", depth)
    sizes: list[int] = []
    spy = Spy(failing({1, 4, 5}))
    runner = scheduler(CRITERIA["radius"], 75, classify=spy, told=sizes.append)
    assert_same(collected(runner), vote_by_vote("radius"))
    assert sizes == [38, 19, 10]
    assert [len(batch) for batch in spy.batches[:7]] == [75, 38, 38, 38, 19, 10, 10]
    with pytest.raises(OutOfMemoryError):
        collected(scheduler(CRITERIA["radius"], 75, classify=failing({3}), fixed=True))
    with pytest.raises(OutOfMemoryError):
        collected(scheduler(CRITERIA["radius"], 1, classify=failing({3})))


def test_memory_of_the_device() -> None:
    """As torch says it, by way of `SmoothedClassifier`."""
    sizes: list[int] = []

    def classify(batch: Tensor) -> Tensor:
        sizes.append(len(batch))
        if len(sizes) == 9:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
        return answers(batch)

    smoothed = npf.SmoothedClassifier(classify, NOISE, CLASSES, batch_size=64)
    votes, _ = smoothed.counter.count_until(IMAGES, CRITERIA["radius"], seed=SEED, indices=INDICES)
    assert_same(dict(zip(INDICES, votes, strict=True)), vote_by_vote("radius"))
    assert smoothed.batch_size == 32
    assert set(sizes[:9]) == {64}
    assert set(sizes[9:]) == {32}


@pytest.mark.parametrize(("batch_size", "depth"), [(16, 0), (64, 1), (1000, 0)])
def test_answers_that_are_none(batch_size: int, depth: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """They stop everything where they count, and are as good as not drawn beyond the stop, whatever the batches."""
    monkeypatch.setattr(Scheduler, "_depth", depth)
    image = 4
    n = int(vote_by_vote("radius")[INDICES[image]].sum())
    assert 40 < n < CAP

    def without(*numbers: int) -> Callable[[Tensor], Tensor]:
        rows = samples(image)[list(numbers)]
        return lambda batch: torch.where((batch[:, None] == rows).all(2).any(1), INVALID, answers(batch))

    beyond = without(n, n + 1, n + 3, n + 20)
    assert_same(collected(scheduler(CRITERIA["radius"], batch_size, classify=beyond)), vote_by_vote("radius"))
    for number in (n - 1, 0):
        with pytest.raises(ClassifierError, match=rf"\d+ of \d+ in a batch without, first at image {INDICES[image]}\."):
            collected(scheduler(CRITERIA["radius"], batch_size, classify=without(number, n + 2)))


# ---- a budget --------------------------------------------------------------------------------------------------------


def spent(name: str, budget: int | None, batch_size: int = 37, order: Sequence[int] = range(len(IMAGES))) -> Votes:
    indices = [INDICES[image] for image in order]
    criterion = CRITERIA[name]
    ways = {} if budget is None else {"turns": partial(SharedBudget(CertifyRadii(0.0), budget).turns, criterion)}
    tables = scheduler(criterion, batch_size).count(IMAGES[list(order)], indices, **ways)
    assert (tables[1] is None) != criterion.lasting
    kept = tables[0] if tables[1] is None else np.stack(tables, axis=1)  # type: ignore[arg-type]
    return dict(zip(indices, kept, strict=True))


@pytest.mark.parametrize("name", ["radius", "winner"])
def test_a_budget_is_never_exceeded_and_spent_where_it_decides(name: str) -> None:
    criterion, whole = CRITERIA[name], vote_by_vote(name)
    needed = np.array([votes.sum() for votes in whole.values()])
    decided = []
    for budget in (1, 30, 200, 64 * len(IMAGES), 1250, int(needed.sum()) - 1):
        found = spent(name, budget)
        table = np.stack(list(found.values()))
        n = table.sum(-1)
        assert n.sum() == budget, "all of it is spent where it does not suffice"
        assert (n <= needed).all()
        ended = criterion.ended(table)
        np.testing.assert_array_equal(ended, n == needed)
        for index, votes, done in zip(found, table, ended, strict=True):
            assert not done or (votes == whole[index]).all()
        decided.append(ended.sum())
        if budget in {200, 1250}:
            assert_same(spent(name, budget, 256), found)
    assert (np.diff(decided) >= 0).all()
    assert decided[-1] == len(IMAGES) - 1
    assert decided[4] >= (np.cumsum(np.sort(needed)) <= 1250 / 2).sum(), "those that take few votes come first"
    for budget in (None, int(needed.sum()), 10**6):
        assert_same(spent(name, budget, 200), whole)


def test_a_budget_does_not_depend_on_order_once_votes_tell_images_apart() -> None:
    """Only where nothing is known of two images, or the same, does the first come first."""
    backwards = range(len(IMAGES))[::-1]
    budget = 64 * len(IMAGES) + 100
    assert_same(spent("radius", budget, order=backwards), spent("radius", budget))
    assert next(iter(spent("radius", 30, order=backwards).values())).sum() == 30


# ---- mutants: each must fail a test above ----------------------------------------------------------------------------


def test_surplus_votes_in_the_record_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """The votes at the end of the span, not at the stop."""
    monkeypatch.setattr(Scheduler, "_look", mutated(Scheduler._look, "votes[min(at, last)]", "votes[last]"))
    with pytest.raises(AssertionError):
        test_votes_do_not_depend_on_the_batch_size("relative error", 37)
    with pytest.raises(AssertionError):
        test_votes_do_not_depend_on_the_batch_size("radius", 256)


def test_a_class_chosen_by_votes_to_come_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """It stops where the leader of the whole span would have been decided."""
    ahead = mutated(
        Scheduler._look,
        "np.where(self._ended(votes, reached, until),",
        "np.where(self._ended(votes, reached, until) & (votes.argmax(1) == votes[batch.last].argmax(1).repeat(batch.counts)),",
    )
    monkeypatch.setattr(Scheduler, "_look", ahead)
    assert any(fails(test_votes_do_not_depend_on_the_batch_size, name, 10_000) for name in CRITERIA)


def test_samples_numbered_from_0_after_a_resume_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Scheduler, "_enter", mutated(Scheduler._enter, "int(image.votes.sum())", "0"))
    with pytest.raises(AssertionError):
        test_votes_do_not_depend_on_kills("radius", 0, monkeypatch)
    with pytest.raises(AssertionError):
        test_images_may_be_sampled_up_to_a_number_of_votes(0, monkeypatch)


@pytest.mark.parametrize(
    ("function", "old", "new", "depth"),
    [
        ("_running_votes", "self._votes[places] - before", "self._votes[places]", 0),
        ("_look", "np.minimum.reduceat(ended, batch.first)", "np.maximum.reduceat(ended, batch.first)", 0),
        ("_look", "if slot in here:", "if True:", 1),
    ],
)
def test_faults_of_the_account_are_caught(
    function: str, old: str, new: str, depth: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Scheduler, function, mutated(getattr(Scheduler, function), old, new))
    with pytest.raises((AssertionError, ValueError)):
        test_votes_do_not_depend_on_batches_under_way("radius", depth, monkeypatch)


def test_a_batch_that_is_counted_though_it_did_not_fit_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = "if labels is None:\n        waiting[0][0].drawn += waiting[0][1]"
    launch = mutated(Scheduler._launch, "if labels is None:", counted)
    monkeypatch.setattr(Scheduler, "_launch", launch)
    with pytest.raises(AssertionError):
        test_a_batch_that_does_not_fit_is_halved_and_nothing_is_lost(0, monkeypatch)


def test_a_budget_that_charges_the_whole_turn_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    charged = "budget -= int((until - n)[: len(sure)].sum())"
    turns = mutated(SharedBudget.turns, "budget -= int(votes.sum() - before)", charged)
    monkeypatch.setattr(SharedBudget, "turns", turns)
    with pytest.raises(AssertionError):
        test_a_budget_is_never_exceeded_and_spent_where_it_decides("radius")
