"""Continuous batching: undecided images share every batch, and leave once their votes meet the criterion."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from noiseproof.classifiers.base import INVALID
from noiseproof.classifiers.batching import BatchSize
from noiseproof.randomness import Phase
from noiseproof.sampling.counts import Classify, Progress, classify_rows, no_valid_label
from noiseproof.sampling.rows import Rows, Span
from noiseproof.sampling.sampler import Sampler
from noiseproof.sequential import Criterion
from noiseproof.storage.stopwatch import Stopwatch

__all__ = ["QueuedImage", "RetiredImage", "Scheduler"]

_BATCHES_WAITING = 2
"""Batches' worth of samples that are requested by the images on hand, before further images are enqueued."""

_AHEAD = 16
"""An image of n votes requests at least n / 16 more: at most 6 % of its votes are surplus, and an image that needs
100 000 votes gets them in some 130 requests."""

Table = Int[np.ndarray, "rows classes"]
Turns = Callable[[Table, Table | None], Iterator[tuple[Int[np.ndarray, " rows"], int | None]]]


@dataclass(frozen=True)
class QueuedImage:
    """An image to be sampled.

    Attributes:
        index: key of its noise.
        pixels: the image, on the device of the classifier.
        votes: those counted before; its next sample is number votes.sum().
        certifying: under a lasting criterion, those of the look at which most levels were certified; None for none.
    """

    index: int
    pixels: Float[Tensor, "*shape"]
    votes: Int[np.ndarray, " classes"]
    certifying: Int[np.ndarray, " classes"] | None = None


@dataclass(frozen=True)
class RetiredImage:
    """An image that was sampled.

    Attributes:
        index: key of its noise.
        votes: at the stopping time, without surplus votes.
        certifying: under a lasting criterion, those of the first look at which most levels were certified, zeros where
            there is none; None under another.
    """

    index: int
    votes: Int[np.ndarray, " classes"]
    certifying: Int[np.ndarray, " classes"] | None = None

    @property
    def kept(self) -> Int[np.ndarray, "*moments classes"]:
        """The votes, and below them the certifying ones where there are any: what it can go on with."""
        return self.votes if self.certifying is None else np.stack([self.votes, self.certifying])


@dataclass(eq=False)
class _Slot:
    """An image on hand: its place in the window, how many samples were drawn of it, and how many it requests next."""

    index: int
    place: int
    drawn: int
    requested: int = 1


@dataclass(frozen=True)
class _Batch:
    """A batch under way: a span of rows for each slot, and the labels of all rows."""

    slots: list[_Slot]
    spans: list[Span]
    labels: Int[Tensor, " rows"]

    @cached_property
    def counts(self) -> Int[np.ndarray, " spans"]:
        """How many rows each slot has."""
        return np.array([span.count for span in self.spans])

    @cached_property
    def first(self) -> Int[np.ndarray, " spans"]:
        """The first row of each slot."""
        return np.asarray(np.cumsum(self.counts) - self.counts)

    @cached_property
    def last(self) -> Int[np.ndarray, " spans"]:
        """The last row of each slot."""
        return np.asarray(self.first + self.counts - 1)


class Scheduler:
    """Fills batches with noisy copies of the images that are still undecided.

    The votes of an image are examined in their order. Those returned are the votes at the first look at which the criterion
    ends sampling, whatever the batches were: a function of (seed, index, image) and the criterion alone. Votes drawn beyond
    that look, because a batch had room or was under way, are discarded. Under a lasting criterion the votes of the first
    look at which most levels were certified are kept as well.

    On a GPU a batch is computed while the one before is examined; images in that batch are left out of the next as long
    as others fill it.

    Args:
        classify: maps a batch to labels, `INVALID` where there is none.
        sampler: adds the noise.
        criterion: when sampling ends.
        num_classes: k.
        batch: rows per call of `classify`.
        device: where images are.
        channels_last: whether batches of images are stored channels-last.
        progress: called after every batch with the votes drawn.
        stopwatch: charged with the stages noise, network and counting.
    """

    def __init__(
        self,
        classify: Classify,
        sampler: Sampler,
        criterion: Criterion,
        *,
        num_classes: int,
        batch: BatchSize,
        device: torch.device,
        channels_last: bool = False,
        progress: Progress | None = None,
        stopwatch: Stopwatch | None = None,
    ) -> None:
        self.criterion, self.device = criterion, device
        self.drawn = 0
        """Votes drawn so far, the surplus included."""
        self._classify, self._sampler = classify, sampler
        self._classes, self._batch, self._channels_last = num_classes, batch, channels_last
        self._progress, self._watch = progress, stopwatch or Stopwatch()
        self._slots: list[_Slot] = []
        self._under_way: deque[_Batch] = deque()
        self._window: Float[Tensor, "places *shape"] | None = None
        self._votes = self._certifying = np.zeros((0, num_classes), dtype=np.int64)
        self._reached = np.zeros(0, dtype=np.int64)
        self._free: list[int] = []
        self._first_request = int(criterion.pending(np.zeros((1, num_classes), dtype=np.int64))[0])

    def run(self, queue: Iterator[QueuedImage], *, until: int | None = None) -> Iterator[RetiredImage]:
        """Sample all images of the queue, and yield each when it is retired, in the order in which that happens.

        Args:
            queue: iterated as batches need them, so that a data set is never in memory as a whole.
            until: votes per image at which it is retired in any case.

        Raises:
            ClassifierError: a noisy image got no valid label; says which image.
            OutOfMemoryError: not even one row fits, or the batch size is fixed.
        """
        while True:
            yield from self._enqueue(queue, until)
            waiting = self._fill(until)
            if waiting:
                self._launch(waiting)
            elif not self._under_way:
                return
            if self._under_way and (not waiting or len(self._under_way) > self._depth):
                yield from self._look(self._under_way.popleft(), until)

    def count(
        self,
        images: Float[Tensor, "images *shape"],
        indices: Sequence[int],
        *,
        turns: Turns = lambda votes, _: iter([(np.arange(len(votes)), None)]),
    ) -> tuple[Table, Table | None]:
        """Sample images that are all at hand, and return their votes where they stopped, and `RetiredImage.certifying`.

        Args:
            images: on the device of the classifier.
            indices: the key of each image's noise; all different.
            turns: from both tables, which go on being filled, to which rows are sampled next, and up to how many votes
                each (`StoppingRule.turns`).
        """
        votes = np.zeros((len(images), self._classes), dtype=np.int64)
        certifying = np.zeros_like(votes) if self.criterion.lasting else None
        tables = [votes] if certifying is None else [votes, certifying]
        for rows, until in turns(votes, certifying):
            row_of = {int(indices[row]): row for row in rows}
            queue = (QueuedImage(index, images[row], *(each[row] for each in tables)) for index, row in row_of.items())
            for retired in self.run(queue, until=until):
                for table, counts in zip(tables, np.atleast_2d(retired.kept), strict=True):
                    table[row_of[retired.index]] = counts
        return votes, certifying

    def snapshot(self) -> dict[int, Int[np.ndarray, "*moments classes"]]:
        """Return `RetiredImage.kept` of the images on hand, by index: with it each can go on another time."""
        return {slot.index: self._standing(slot).kept for slot in self._slots}

    @property
    def _depth(self) -> int:
        """Batches under way while another is looked at."""
        return 1 if self.device.type == "cuda" else 0

    def _enqueue(self, queue: Iterator[QueuedImage], until: int | None) -> Iterator[RetiredImage]:
        """Enqueue images until those on hand request some batches; those whose votes suffice already are retired at once."""
        wanted = _BATCHES_WAITING * self._batch.images * (1 + self._depth)
        while (requested := sum(slot.requested for slot in self._slots)) < wanted:
            entered = [self._enter(image) for image in islice(queue, -((requested - wanted) // self._first_request))]
            if not entered:
                return
            places = [slot.place for slot in entered]
            ended = self._ended(self._votes[places], self._earlier(places), until)
            self._request([slot for slot, out in zip(entered, ended, strict=True) if not out], until)
            for slot, out in zip(entered, ended, strict=True):
                if out:
                    yield self._retire(slot)

    def _enter(self, image: QueuedImage) -> _Slot:
        if not self._free:
            self._grow(image.pixels)
        place = self._free.pop()
        assert self._window is not None  # noqa: S101 - grown when the first image came
        self._window[place] = image.pixels
        self._votes[place], self._certifying[place], self._reached[place] = image.votes, 0, 0
        if image.certifying is not None and image.certifying.any():
            self._certifying[place] = image.certifying
            self._reached[place] = self.criterion.reached(image.certifying[None])[0]
        slot = _Slot(image.index, place, int(image.votes.sum()))
        self._slots.append(slot)
        return slot

    def _grow(self, like: Float[Tensor, "*shape"]) -> None:
        """Double the window."""
        places = len(self._votes)
        more = max(places, 16)
        window = torch.empty((places + more, *like.shape), dtype=like.dtype, device=like.device)
        if self._window is not None:
            window[:places] = self._window
        self._window = window
        new = np.zeros((more, self._classes), dtype=np.int64)
        self._votes, self._certifying = np.concatenate([self._votes, new]), np.concatenate([self._certifying, new])
        self._reached = np.concatenate([self._reached, new[:, 0]])
        self._free.extend(range(places + more - 1, places - 1, -1))

    def _retire(self, slot: _Slot) -> RetiredImage:
        self._slots.remove(slot)
        self._free.append(slot.place)
        return self._standing(slot)

    def _standing(self, slot: _Slot) -> RetiredImage:
        certifying = self._certifying[slot.place].copy() if self.criterion.lasting else None
        return RetiredImage(slot.index, self._votes[slot.place].copy(), certifying)

    def _earlier(self, places: list[int]) -> Int[np.ndarray, " places"] | None:
        """How many levels were certified so far, under a lasting criterion."""
        return self._reached[places] if self.criterion.lasting else None

    def _ended(
        self, votes: Table, reached: Int[np.ndarray, " rows"] | None, until: int | None
    ) -> Bool[np.ndarray, " rows"]:
        ended = self.criterion.ended(votes, reached)
        return ended if until is None else np.asarray(ended | (votes.sum(-1) >= until))

    def _request(self, slots: list[_Slot], until: int | None) -> None:
        """Set how many samples each slot requests next."""
        if not slots:
            return
        places = [slot.place for slot in slots]
        votes = self._votes[places]
        n = votes.sum(-1)
        requested = np.maximum(self.criterion.pending(votes, self._earlier(places)), n // _AHEAD)
        for slot, count in zip(slots, np.minimum(requested, self._most(until) - n).tolist(), strict=True):
            slot.requested = count

    def _most(self, until: int | None) -> int:
        """The largest number of votes of an image."""
        return self.criterion.max_samples if until is None else min(until, self.criterion.max_samples)

    def _fill(self, until: int | None) -> list[tuple[_Slot, int]]:
        """Share out the next batch: first what slots without rows under way request, then whatever room is left."""
        most = self._most(until)
        awaiting = {slot for batch in self._under_way for slot in batch.slots}
        shares = dict.fromkeys(self._slots, 0)
        room = self._batch.holding(sum(slot.requested for slot in self._slots if slot not in awaiting))
        for slot in self._slots:
            if slot not in awaiting:
                shares[slot] = min(slot.requested, room)
                room -= shares[slot]
        able = [slot for slot in self._slots if slot.drawn + shares[slot] < most]
        while room and able:
            each = max(1, room // len(able))
            for slot in able:
                more = min(each, room, most - slot.drawn - shares[slot])
                shares[slot] += more
                room -= more
            able = [slot for slot in able if slot.drawn + shares[slot] < most]
        return [(slot, count) for slot, count in shares.items() if count]

    def _launch(self, waiting: list[tuple[_Slot, int]]) -> None:
        assert self._window is not None  # noqa: S101 - there are images
        spans = [Span(slot.place, slot.index, Phase.CERTIFY, slot.drawn, count) for slot, count in waiting]
        rows = Rows(spans, self.device)
        labels = classify_rows(
            self._classify,
            self._window,
            self._sampler,
            rows,
            self._batch,
            channels_last=self._channels_last,
            watch=self._watch,
        )
        if labels is None:  # to be shared out anew
            return
        for slot, count in waiting:
            slot.drawn += count
        self.drawn += len(rows)
        self._under_way.append(_Batch([slot for slot, _ in waiting], spans, labels))
        if self._progress is not None:
            self._progress(len(rows))

    def _look(self, batch: _Batch, until: int | None) -> Iterator[RetiredImage]:
        """Examine the votes of a batch in their order, and retire the images that they suffice for."""
        with self._watch.stage("counting"):
            labels = batch.labels.cpu().numpy()
            votes = self._running_votes(batch, labels)
            reached = self._running_reached(batch, votes)
            ended = np.where(self._ended(votes, reached, until), np.arange(len(labels)), len(labels))
            stop = np.minimum.reduceat(ended, batch.first)  # the first look that ends it, or beyond the span
            here = set(self._slots).intersection(batch.slots)  # the others were retired by the batch before
            counted = np.repeat(np.where([slot in here for slot in batch.slots], stop, -1), batch.counts)
            self._require_valid(batch, labels, np.arange(len(labels)) <= counted)
            out: list[_Slot] = []
            stay: list[_Slot] = []
            for slot, first, at, last in zip(batch.slots, batch.first, stop, batch.last, strict=True):
                if slot in here:
                    self._votes[slot.place] = votes[min(at, last)]
                    (out if at <= last else stay).append(slot)
                    if reached is not None:
                        span = slice(first, min(at, last) + 1)
                        self._keep_most(slot.place, votes[span], reached[span])
            self._request(stay, until)
        for slot in out:
            yield self._retire(slot)

    def _running_votes(self, batch: _Batch, labels: Int[np.ndarray, " rows"]) -> Table:
        """Return, for every row, the votes of its image up to it."""
        valid = labels != INVALID
        votes = np.zeros((len(labels), self._classes), dtype=np.int64)
        votes[valid.nonzero(), labels[valid]] = 1
        votes = np.cumsum(votes, axis=0)
        before = np.concatenate([np.zeros_like(votes[:1]), votes])[batch.first]
        places = np.array([slot.place for slot in batch.slots])
        votes += np.repeat(self._votes[places] - before, batch.counts, axis=0)
        return votes

    def _running_reached(self, batch: _Batch, votes: Table) -> Int[np.ndarray, " rows"] | None:
        """Return, for every row, how many levels of its image were certified at it or before, if that lasts."""
        earlier = self._earlier([slot.place for slot in batch.slots])
        if earlier is None:
            return None
        reached = self.criterion.reached(votes)
        reached[batch.first] = np.maximum(reached[batch.first], earlier)
        apart = np.repeat(np.arange(len(earlier)) * (1 + reached.max()), batch.counts)  # one maximum for all images
        return np.asarray(np.maximum.accumulate(reached + apart) - apart)

    def _keep_most(self, place: int, votes: Table, reached: Int[np.ndarray, " rows"]) -> None:
        """Keep the votes of the first look at which most levels were certified, of votes that follow each other."""
        if reached[-1] > self._reached[place]:
            self._certifying[place] = votes[reached.searchsorted(reached[-1])]
            self._reached[place] = reached[-1]

    def _require_valid(
        self, batch: _Batch, labels: Int[np.ndarray, " rows"], counted: Bool[np.ndarray, " rows"]
    ) -> None:
        """Raise where a row that is counted got no label; one beyond a stop might as well not have been drawn."""
        invalid = counted & (labels == INVALID)
        if not invalid.any():
            return
        span = batch.spans[int(np.searchsorted(batch.last, invalid.argmax()))]
        raise no_valid_label(
            self._classes, f"{invalid.sum()} of {len(invalid)} in a batch without, first at image {span.index}"
        )
