"""Lines 1 to 5 of Algorithm 1 for one classifier and one noise: what `SmoothedClassifier` and runs count votes with."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Int
from torch import Tensor

from noiseproof.classifiers.base import BaseClassifier, RowsCheck
from noiseproof.classifiers.batching import BatchSize, default_batch_size
from noiseproof.classifiers.inputs import Images, as_indices, as_pixels
from noiseproof.errors import OutOfMemoryError, require_count
from noiseproof.noises import Noise
from noiseproof.randomness import Phase, Seed, as_seed
from noiseproof.sampling import Sampler, sampler_for
from noiseproof.sampling.counts import Progress, Tally, count_votes
from noiseproof.sampling.scheduler import Scheduler, Turns
from noiseproof.sequential import Criterion
from noiseproof.storage.stopwatch import Stopwatch

__all__ = ["VoteCounter"]

_TRIED = 16
"""Images that the classifier is tried on before votes are counted."""

Table = Int[np.ndarray, "images classes"]


class VoteCounter:
    """Counts the votes of a classifier under a noise: a fixed number per image, or until a criterion is met.

    Before the first votes on images of a shape, the classifier is tried on a few of them (`BaseClassifier.probe`), in a
    batch of the first size. When memory runs out, the batch size is halved and kept. Threads may count at once.

    Args:
        classifier: f.
        noise: added to every pixel.
        batch_size: images per call of f; None chooses by image size. It never changes the noise.
        one_shape: whether f is called on batches of that size only. The rounding of f, and so a vote, then does not
            depend on how many other votes are counted, as a record that is continued requires. Otherwise few votes go
            into a small batch. Compiled code always gets one shape, since every other would be compiled as well.
        sampler: how noise is added, one of `SAMPLERS`.

    Raises:
        InvalidInputError: batch_size < 1, no such sampler, or one that does not know this noise.
    """

    def __init__(
        self,
        classifier: BaseClassifier,
        noise: Noise,
        batch_size: int | None = None,
        *,
        one_shape: bool = True,
        sampler: str = "float",
    ) -> None:
        if batch_size is not None:
            require_count("batch_size", batch_size, 1, "Leave it out to have it chosen by image size.")
        self.classifier, self.noise, self.batch_size, self.sampler = classifier, noise, batch_size, sampler
        sampler_for(classifier.device, noise, kind=sampler)  # refuses what it cannot do
        self._one_shape = one_shape or classifier.runner.one_shape
        self.rows: RowsCheck | None = None
        """The result of `BaseClassifier.probe`; None before it."""
        self._tried_on: set[tuple[object, ...]] = set()

    def settings(self, seed: Seed = 0) -> dict[str, Any]:
        """Return what decides the votes beside classifier, noise and seed: device kind, precision, code, sampler.

        These are the settings for NumPy images, which data sets return: a plain function receives them on the CPU.
        """
        runner = self.classifier.reading("numpy").runner
        return runner.settings() | {"sampler": sampler_for(runner.device, self.noise, seed, self.sampler).name}

    def batch_size_for(self, shape: Sequence[int]) -> int:
        """Return how many images of a shape go through f at once."""
        return self.classifier.runner.batch_size or self.batch_size or default_batch_size(shape, self.classifier.device)

    def try_out(self, images: Images) -> int:
        """Try the classifier on a few images, and return the batch size that fits the memory. Counting does so itself.

        Raises:
            InvalidInputError: images that the sampler cannot add noise to.
            ClassifierError: it raised, returned no scores or labels, or depends on its batch: see `BaseClassifier.probe`.
            OutOfMemoryError: not even a batch of one image fits.
        """
        pixels, classifier = as_pixels(images), self._reading(images)
        self._sampler(classifier, pixels, 0)
        return self._tried(classifier, pixels.to(classifier.device), self.batch_size_for(pixels.shape[1:])).images

    def count(
        self,
        images: Images,
        samples: Mapping[Phase, int],
        *,
        seed: Seed = 0,
        indices: Sequence[int] | None = None,
        progress: Progress | None = None,
        stopwatch: Stopwatch | None = None,
        tally: Tally | None = None,
    ) -> dict[Phase, Table]:
        """Count a fixed number of votes of each phase, all phases together, so that batches stay full.

        Args:
            images: (images, *shape), float, finite, in [0, 1]; torch or NumPy.
            samples: votes per image of each phase; phases share no noise.
            seed: key of the noise.
            indices: the key of each image's noise; None numbers them from 0.
            progress: called with the number of votes added.
            stopwatch: charged with the stages noise, network and counting.
            tally: holds votes to go on with, and returns those so far (`Tally.so_far`).

        Raises:
            InvalidInputError: an argument outside its domain.
            ClassifierError: the classifier raised, or returned NaN or the wrong shape.
            OutOfMemoryError: not even a batch of one image fits the memory.
        """
        pixels = as_pixels(images)
        for number in samples.values():
            require_count("samples", number, 1, "At least one vote is needed.")
        keys, classifier = as_indices(indices, len(pixels)), self._reading(images)
        sampler = self._sampler(classifier, pixels, seed)
        if len(pixels) == 0:
            return {phase: np.zeros((0, classifier.num_classes), dtype=np.int64) for phase in samples}
        on_device = pixels.to(classifier.device)
        # 1-4: for i in [n], add noise to each pixel of x and apply the classifier; 5: count the answers
        return count_votes(
            classifier,
            on_device,
            sampler,
            samples=samples,
            indices=keys,
            batch=self._tried(classifier, on_device, len(pixels) * sum(samples.values())),
            progress=progress,
            stopwatch=stopwatch,
            tally=tally,
        )

    def count_until(
        self,
        images: Images,
        criterion: Criterion,
        *,
        seed: Seed = 0,
        indices: Sequence[int] | None = None,
        progress: Progress | None = None,
        turns: Turns | None = None,
    ) -> tuple[Table, Table | None]:
        """Count the votes of every image up to its stopping time (`Scheduler.count`); other arguments and errors as `count`.

        Args:
            images: as `count`.
            criterion: when the votes of an image suffice.
            seed: as `count`.
            indices: as `count`.
            progress: called with the number of votes drawn; those drawn beyond the stopping time are not returned.
            turns: see `Scheduler.count`; None samples all images together, each to its end.
        """
        pixels = as_pixels(images)
        keys = as_indices(indices, len(pixels))
        as_seed(seed)
        if len(pixels) == 0:
            return np.zeros((0, self.classifier.num_classes), dtype=np.int64), None
        scheduler = self.scheduler(images, criterion, seed=seed, progress=progress)
        return scheduler.count(pixels.to(scheduler.device), keys, **({} if turns is None else {"turns": turns}))

    def scheduler(
        self,
        images: Images,
        criterion: Criterion,
        *,
        seed: Seed = 0,
        progress: Progress | None = None,
        stopwatch: Stopwatch | None = None,
    ) -> Scheduler:
        """Return what samples images like these until a criterion ends them, after trying the classifier on them."""
        pixels, classifier = as_pixels(images), self._reading(images)
        first = criterion.pending(np.zeros((1, classifier.num_classes), dtype=np.int64))
        return Scheduler(
            classifier,
            self._sampler(classifier, pixels, seed),
            criterion,
            num_classes=classifier.num_classes,
            batch=self._tried(classifier, pixels.to(classifier.device), len(pixels) * int(first[0])),
            channels_last=classifier.runner.channels_last,
            device=classifier.device,
            progress=progress,
            stopwatch=stopwatch,
        )

    def _sampler(self, classifier: BaseClassifier, pixels: Tensor, seed: Seed) -> Sampler:
        """Return what adds noise to these images, or raise `InvalidInputError` where it cannot."""
        sampler = sampler_for(classifier.device, self.noise, seed, self.sampler)
        sampler.require_images(pixels)
        return sampler

    def _reading(self, images: Images) -> BaseClassifier:
        return self.classifier.reading("torch" if isinstance(images, Tensor) else "numpy")

    def _tried(self, classifier: BaseClassifier, images: Tensor, rows: int) -> BatchSize:
        """Return a batch size at which the classifier passed `BaseClassifier.probe` on images of this shape and kind.

        Args:
            classifier: for images of this kind.
            images: those to be counted.
            rows: votes that are wanted at first.
        """
        shape, kind = images.shape[1:], classifier.runner.kind
        batch = BatchSize(
            self.batch_size_for(shape),
            fixed=classifier.runner.batch_size is not None,
            one_shape=self._one_shape,
            told=self._keep_batch_size,
        )
        while (kind, *shape) not in self._tried_on:
            try:
                self.rows = classifier.probe(images[:_TRIED], batch.holding(rows), self._noise_of_no_vote)
            except OutOfMemoryError as error:
                batch.halve(error)
            else:
                self._tried_on.add((kind, *shape))
        return batch

    def _noise_of_no_vote(self, like: Tensor) -> Tensor:
        return self.noise.sample(like.cpu(), np.random.default_rng(0xB47)).to(like.device)

    def _keep_batch_size(self, images: int) -> None:
        self.batch_size = images
