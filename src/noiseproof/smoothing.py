"""Algorithm 1 of the paper: the certified robust classifier."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from noiseproof.bounds import Bound
from noiseproof.certificates import Certificate
from noiseproof.certified import (
    ABSTAIN,
    DEFAULT_BOUND,
    DEFAULT_CERTIFICATE,
    Certified,
    certify_votes,
    require_enough_samples,
    samples_needed,
)
from noiseproof.classifiers.base import BaseClassifier
from noiseproof.classifiers.batching import default_batch_size
from noiseproof.classifiers.inputs import Images, as_indices, as_pixels
from noiseproof.errors import InvalidInputError, OutOfMemoryError, require_count
from noiseproof.noises import Noise
from noiseproof.randomness import Phase, require_seed
from noiseproof.sampling import sampler_for
from noiseproof.sampling.counts import Progress, count_votes
from noiseproof.sampling.scheduler import Scheduler
from noiseproof.sequential import FittedPrior, Goal, IdentifyTopClass, winner_votes_needed
from noiseproof.sequential.certify_radii import DEFAULT_CAP, asked_for
from noiseproof.storage.stopwatch import Stopwatch

__all__ = ["DEFAULT_SAMPLES", "SmoothedClassifier"]

DEFAULT_SAMPLES = 10_000
"""Radii up to 3.2 sigma at alpha = 0.001; with 100 000, ten times the work, 3.8 sigma."""

_PROBED = 16
"""Images that the classifier is tried on before votes are counted."""


class SmoothedClassifier:
    """The classifier g(x) = argmax_c P(f(x + z) = c), with z drawn from a noise (Algorithm 1).

    Args:
        classifier: f, any callable from images (batch, *shape), float32 around [0, 1], to scores (batch, classes) or
            integer labels (batch,): a torch module, a scikit-learn estimator's `predict`, a function. What is certified
            is this function as it runs, in its precision.
        noise: added to every pixel.
        num_classes: k >= 2.
        device: where batches run; None is the module's own device.
        batch_size: images per call of f; None chooses by image size. It never changes the noise. Halved, and kept so,
            when memory runs out.

    Raises:
        InvalidInputError: classifier is not callable, num_classes < 2, or batch_size < 1.

    Example:
        >>> from noiseproof.noises import Gaussian
        >>> images = np.full((1, 4), 0.5, dtype=np.float32)
        >>> half_space = SmoothedClassifier(lambda x: (x[:, 0] > 0.3).astype(int), Gaussian(sigma=0.25), num_classes=2)
        >>> half_space.certify(images, samples=1000, seed=0).prediction
        array([1])
    """

    def __init__(
        self,
        classifier: Callable[[Any], Any],
        noise: Noise,
        num_classes: int,
        *,
        device: torch.device | str | None = None,
        batch_size: int | None = None,
    ) -> None:
        if not isinstance(noise, Noise):
            raise InvalidInputError(
                "noise",
                required="a noise, such as Gaussian(sigma=0.25)",
                got=repr(noise),
                remedy="See noiseproof.noises.",
            )
        if batch_size is not None:
            require_count("batch_size", batch_size, 1, "Leave it out to have it chosen by image size.")
        self.classifier = BaseClassifier(classifier, num_classes=num_classes, device=device)
        self.noise = noise
        self.batch_size = batch_size
        self._probed: tuple[object, ...] | None = None

    def predict(
        self,
        images: Images,
        *,
        samples: int = 10_000,
        alpha: float = 0.001,
        seed: int = 0,
        indices: Sequence[int] | None = None,
        progress: Progress | None = None,
    ) -> Int[np.ndarray, " images"]:
        """Name the most probable class under noise, or abstain.

        Votes stop as soon as the class with most of them is certain at level alpha (`sequential.winner_certain`; 13
        unanimous votes at 0.001 and ten classes). A wrong answer other than `ABSTAIN` has probability <= alpha per image.

        Args:
            images: see `certify`.
            samples: votes per image at most; only near-ties need that many.
            alpha: probability, per image, that a class which is not the most probable one is returned.
            seed: see `certify`.
            indices: see `certify`.
            progress: see `certify`.

        Returns:
            Labels (images,), int64, `ABSTAIN` = -1 where undecided.

        Raises:
            InvalidInputError: as `certify`.
            ClassifierError: as `certify`.
        """
        classes = self.classifier.num_classes
        require_enough_samples(samples, winner_votes_needed(alpha, classes), alpha)
        goal = IdentifyTopClass(alpha, samples, classes)
        votes = self.count_until(images, goal, seed=seed, indices=indices, progress=progress)
        return np.where(goal.certain(votes), votes.argmax(-1), ABSTAIN)

    def certify(
        self,
        images: Images,
        *,
        samples: int | None = None,
        radius: float | Sequence[float] | None = None,
        precision: float | None = None,
        runner_up: bool = False,
        alpha: float = 0.001,
        beta: float | None = None,
        budget: int | None = None,
        seed: int = 0,
        bound: Bound | None = None,
        certificate: Certificate = DEFAULT_CERTIFICATE,
        prior: FittedPrior | None = None,
        indices: Sequence[int] | None = None,
        progress: Progress | None = None,
    ) -> Certified:
        """Classify every image and prove a radius within which no perturbation changes the answer.

        Three ways to stop, one guarantee: after `samples` votes (Algorithm 1); with `radius`, as soon as it is decided whether
        that radius, or each of several, is certified (`stopping.DecideRadii`); with `precision`, as soon as the radius is
        known up to that part (`stopping.KnowRadius`).

        Args:
            images: (images, *shape), float, finite, in [0, 1]; torch or NumPy.
            samples: n, votes per image that count; at most so many, with `radius` or `precision`. None is 10 000 (radii of
                at most 3.2 sigma at alpha = 0.001), or at most 100 000.
            radius: to be decided, in the noise's norm and pixel units; `Certified.radius` is the largest that is certified.
            precision: relative, in (0, 1).
            runner_up: with `radius` and Gaussian noise: the runner-up decides, not all others together; more is certified.
            alpha: failure probability per image, at all radii and moments together. 0.001 is the field's usual choice.
            beta: probability, per image and radius, of giving up although it could be certified; None is 0.001.
            budget: votes for all images together, with `radius` or `precision`; spent first where it decides most.
            seed: key of the noise. The same seed gives the same votes, whatever the batch size.
            bound: how votes become probabilities; its selection votes are drawn on top of `samples`. None is `TwoPhase()`.
            certificate: how probabilities become a radius.
            prior: learned from votes on other images, for one `radius`: fewer votes, the same guarantee.
            indices: the key of each image's noise; None numbers them from 0. Give the data set's own indices when
                images are certified apart: they get the same votes as together, and their noise is independent, which
                statements about all of them rest on. Two calls without indices and with one seed share their noise.
            progress: called with the number of votes added.

        Raises:
            InvalidInputError: images outside [0, 1] or not finite, alpha outside (0, 1), options that do not go
                together, or so few samples that nothing could be certified at this alpha (the message says how many are
                needed); before sampling.
            ClassifierError: the classifier raised, or returned NaN or the wrong shape.
        """
        for name, value, kind in (("bound", bound or DEFAULT_BOUND, Bound), ("certificate", certificate, Certificate)):
            if not isinstance(value, kind):
                raise InvalidInputError(
                    name,
                    required=f"an object, such as {DEFAULT_BOUND if kind is Bound else DEFAULT_CERTIFICATE}",
                    got=repr(value),
                    remedy=f"See noiseproof.{name}s.",
                )
        cap, classes = DEFAULT_CAP if samples is None else samples, self.classifier.num_classes
        asked: dict[str, Any] = {
            "alpha": alpha,
            "beta": beta,
            "runner_up": runner_up,
            "cap": cap,
            "certificate": certificate,
        }
        procedure = asked_for(self.noise, radius, precision, bound, budget, prior, **asked)
        if procedure is not None:
            require_enough_samples(cap, procedure.votes_needed(classes), alpha)
            stopped = self.count_until(
                images, procedure.goal, seed=seed, indices=indices, progress=progress, budget=budget
            )
            return procedure.read(stopped)
        chosen, fixed = bound or DEFAULT_BOUND, DEFAULT_SAMPLES if samples is None else samples
        require_enough_samples(fixed, samples_needed(chosen, alpha, classes), alpha)
        votes, selection = self.count_phases(
            images,
            samples=fixed,
            selection_samples=chosen.selection_samples,
            seed=seed,
            indices=indices,
            progress=progress,
        )
        return certify_votes(
            votes, self.noise, alpha=alpha, bound=chosen, certificate=certificate, selection_votes=selection
        )

    def count(
        self,
        images: Images,
        *,
        samples: int,
        seed: int = 0,
        indices: Sequence[int] | None = None,
        progress: Progress | None = None,
        phase: Phase = Phase.CERTIFY,
    ) -> Int[np.ndarray, "images classes"]:
        """Lines 1 to 5 of Algorithm 1: the votes of every image, (images, classes), int64; arguments as `certify`.

        Args:
            images: see `certify`.
            samples: see `certify`.
            seed: see `certify`.
            indices: see `certify`.
            progress: see `certify`.
            phase: what the votes are for; those of different phases share no noise.
        """
        return self._count(images, {phase: samples}, seed, indices, progress, None)[phase]

    def count_phases(
        self,
        images: Images,
        *,
        samples: int,
        selection_samples: int = 0,
        seed: int = 0,
        indices: Sequence[int] | None = None,
        progress: Progress | None = None,
        stopwatch: Stopwatch | None = None,
    ) -> tuple[Int[np.ndarray, "images classes"], Int[np.ndarray, "images classes"] | None]:
        """Count votes of both phases together, so that batches stay full: the votes, and those of selection or None.

        Args:
            images: see `certify`.
            samples: see `certify`.
            selection_samples: votes of the selection phase, with noise of their own; 0 for none.
            seed: see `certify`.
            indices: see `certify`.
            progress: see `certify`.
            stopwatch: charged with the stages noise, network and counting.

        Raises:
            InvalidInputError: as `certify`.
            ClassifierError: as `certify`.
            OutOfMemoryError: not even a batch of one image fits the memory.
        """
        require_count("selection_samples", selection_samples, 0, "0 leaves the selection phase out.")
        phases = {Phase.SELECT: selection_samples} if selection_samples else {}
        votes = self._count(images, phases | {Phase.CERTIFY: samples}, seed, indices, progress, stopwatch)
        return votes[Phase.CERTIFY], votes.get(Phase.SELECT)

    def count_until(
        self,
        images: Images,
        goal: Goal,
        *,
        seed: int = 0,
        indices: Sequence[int] | None = None,
        progress: Progress | None = None,
        budget: int | None = None,
    ) -> Int[np.ndarray, "images classes"]:
        """Count the votes of every image until its goal is met, (images, classes), int64; other arguments as `certify`.

        Args:
            images: see `certify`.
            goal: when an image has votes enough.
            seed: see `certify`.
            indices: see `certify`.
            progress: called with the number of votes drawn; those drawn beyond the goal are not returned.
            budget: see `certify`.
        """
        pixels = as_pixels(images)
        keys = as_indices(indices, len(pixels))
        if budget is not None:
            require_count("budget", budget, 1, "Votes for all images together.")
        require_seed(seed)
        if len(pixels) == 0:
            return np.zeros((0, self.classifier.num_classes), dtype=np.int64)
        scheduler = self.scheduler(images, goal, seed=seed, progress=progress)
        return scheduler.count(pixels.to(scheduler.device), keys, budget=budget)

    def scheduler(
        self,
        images: Images,
        goal: Goal,
        *,
        seed: int = 0,
        progress: Progress | None = None,
        stopwatch: Stopwatch | None = None,
    ) -> Scheduler:
        """Return what samples images like these until a goal is met, after trying the classifier on them."""
        classifier = self.classifier.reading("torch" if isinstance(images, Tensor) else "numpy")
        return Scheduler(
            classifier,
            sampler_for(classifier.device)(self.noise, seed),
            goal,
            num_classes=classifier.num_classes,
            batch_size=self.try_out(images),
            fixed_batch_size=classifier.runner.batch_size is not None,
            channels_last=classifier.runner.channels_last,
            device=classifier.device,
            progress=progress,
            stopwatch=stopwatch,
            shrunk=self._shrink,
        )

    def _count(
        self,
        images: Images,
        phases: Mapping[Phase, int],
        seed: int,
        indices: Sequence[int] | None,
        progress: Progress | None,
        stopwatch: Stopwatch | None,
    ) -> dict[Phase, Int[np.ndarray, "images classes"]]:
        pixels = as_pixels(images)
        for samples in phases.values():
            require_count("samples", samples, 1, "At least one vote is needed.")
        keys = as_indices(indices, len(pixels))
        classifier = self.classifier.reading("torch" if isinstance(images, Tensor) else "numpy")
        sampler = sampler_for(classifier.device)(self.noise, seed)
        if len(pixels) == 0:
            return {phase: np.zeros((0, classifier.num_classes), dtype=np.int64) for phase in phases}
        on_device = pixels.to(classifier.device)
        # 1-4: for i in [n], add noise to each pixel of x and apply the classifier; 5: count the answers
        return count_votes(
            classifier,
            on_device,
            sampler,
            num_classes=classifier.num_classes,
            samples=phases,
            indices=keys,
            batch_size=self._tried(classifier, on_device),
            fixed_batch_size=classifier.runner.batch_size is not None,
            channels_last=classifier.runner.channels_last,
            progress=progress,
            stopwatch=stopwatch,
            shrunk=self._shrink,
        )

    def engine(self) -> dict[str, Any]:
        """Return what decides the votes beside classifier, noise and seed: device kind, precision, code, sampler.

        That of NumPy images, which is what data sets give: a plain function is fed those on the CPU.
        """
        runner = self.classifier.reading("numpy").runner
        return runner.settings() | {"sampler": sampler_for(runner.device).name}

    def batch_size_for(self, shape: Sequence[int]) -> int:
        """Return how many images of a shape go through f at once."""
        return self.classifier.runner.batch_size or self.batch_size or default_batch_size(shape, self.classifier.device)

    def try_out(self, images: Images) -> int:
        """Try the classifier on a few images and return the batch size that fits the memory.

        Counting does it by itself, once for every shape and kind of images.

        Raises:
            ClassifierError: it raised, returned no scores or labels, or depends on its batch: see `BaseClassifier.probe`.
            OutOfMemoryError: not even a batch of one image fits.
        """
        pixels = as_pixels(images)
        classifier = self.classifier.reading("torch" if isinstance(images, Tensor) else "numpy")
        return self._tried(classifier, pixels.to(classifier.device))

    def _tried(self, classifier: BaseClassifier, images: Tensor) -> int:
        size = self.batch_size_for(images.shape[1:])
        if self._probed == (classifier.runner.kind, *images.shape[1:]):
            return size
        while True:
            try:
                classifier.probe(images[:_PROBED], size)
            except OutOfMemoryError:
                if size == 1 or classifier.runner.batch_size is not None:
                    raise
                size = -(-size // 2)
                self._shrink(size)
            else:
                self._probed = (classifier.runner.kind, *images.shape[1:])
                return size

    def _shrink(self, size: int) -> None:
        self.batch_size = size
