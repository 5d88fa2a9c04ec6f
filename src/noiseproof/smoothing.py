"""Algorithm 1 of the paper: the certified robust classifier."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from noiseproof.certified import DEFAULT_SAMPLES, Certified, FixedSamples, require_enough_samples
from noiseproof.classifiers.base import BaseClassifier
from noiseproof.classifiers.inputs import Images, as_indices
from noiseproof.data import Dataset
from noiseproof.errors import InvalidInputError, require_count
from noiseproof.models.loaded import classifier_of
from noiseproof.noises import Noise
from noiseproof.randomness import Phase, Seed, public_seed
from noiseproof.sampling.counter import VoteCounter
from noiseproof.sampling.counts import Progress
from noiseproof.sampling.progress_bar import ProgressLike, told
from noiseproof.sampling.stream import Stream, is_stream, numbered
from noiseproof.sequential import IdentifyTopClass, StoppingRule

__all__ = ["SmoothedClassifier", "require_base"]


class SmoothedClassifier:
    """The classifier g(x) = argmax_c P(f(x + z) = c), with z drawn from a noise (Algorithm 1).

    Args:
        classifier: f, any callable from images (batch, *shape), float32 around [0, 1], to scores (batch, classes) or
            integer labels (batch,): a torch module, a scikit-learn estimator's `predict`, a function, or what
            `models.load` returns. What is certified is this function as it runs, in its precision.
        noise: added to every pixel.
        num_classes: k >= 2.
        device: where batches run; None is the module's own device.
        batch_size: images per call of f; None chooses by image size, and fewer where fewer votes are wanted. It never
            changes the noise. Halved, and kept so, when memory runs out.
        sampler: "float" adds noise in floating point, to any image. "exact" adds it in integers, to 8-bit images: the
            certificate then holds for every 8-bit x' within the radius, whatever f does with the last bits of its
            input. With "float" that is proven in real arithmetic alone (docs/what-is-proven.md).

    A torch module runs in evaluation mode; its own mode stays as it is. Threads may call one smoothed classifier at
    once, and get the votes that each would get alone, if f may be called by threads: torch modules that keep nothing
    from call to call may, and so may ONNX sessions and fitted estimators of scikit-learn.

    Raises:
        InvalidInputError: classifier is not callable or is smoothed already, num_classes < 2, batch_size < 1, or no such
            sampler for this noise.

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
        sampler: str = "float",
    ) -> None:
        if not isinstance(noise, Noise):
            raise InvalidInputError(
                "noise",
                required="a noise, such as Gaussian(sigma=0.25)",
                got=repr(noise),
                remedy="See noiseproof.noises.",
            )
        require_base(classifier)
        base = BaseClassifier(classifier_of(classifier), num_classes=num_classes, device=device)
        self.counter = VoteCounter(base, noise, batch_size, one_shape=batch_size is not None, sampler=sampler)
        """Lines 1 to 5 of Algorithm 1, for code that controls the counting itself, such as `noiseproof.runs`."""

    @property
    def classifier(self) -> BaseClassifier:
        """The base classifier f, with its output checked."""
        return self.counter.classifier

    @property
    def noise(self) -> Noise:
        """The noise added to every pixel."""
        return self.counter.noise

    @property
    def batch_size(self) -> int | None:
        """Images per call of f; None where it is chosen by image size."""
        return self.counter.batch_size

    @property
    def sampler(self) -> str:
        """How noise is added: one of `sampling.SAMPLERS`."""
        return self.counter.sampler

    def __repr__(self) -> str:
        settings = f"num_classes={self.classifier.num_classes}, device={str(self.classifier.device)!r}"
        of = f"{_named(self.classifier.function)}, {self.noise!r}"
        return f"SmoothedClassifier({of}, {settings}, batch_size={self.batch_size}, sampler={self.sampler!r})"

    def __call__(self, images: Images | Stream) -> Int[np.ndarray, " images"]:
        """Return the labels of `predict` with its default settings: a classifier like f, except for `ABSTAIN` = -1."""
        return self.predict(images)

    def predict(
        self,
        images: Images | Stream,
        *,
        samples: int = 10_000,
        alpha: float = 0.001,
        seed: Seed = 0,
        indices: Sequence[int] | None = None,
        progress: ProgressLike = None,
    ) -> Int[np.ndarray, " images"]:
        """Name the most probable class under noise, or abstain.

        Sampling stops as soon as the class with most votes is certain at level alpha (`IdentifyTopClass`; 13 unanimous
        votes at 0.001 and ten classes). A wrong answer other than `ABSTAIN` has probability <= alpha per image.

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
        needed = IdentifyTopClass(alpha=alpha).under(self.noise).votes_needed(self.classifier.num_classes)
        require_enough_samples(samples, needed, alpha)
        rule = IdentifyTopClass(alpha=alpha, max_samples=samples)
        return self.certify(images, stop=rule, seed=seed, indices=indices, progress=progress).prediction

    def certify(
        self,
        images: Images | Stream,
        *,
        stop: FixedSamples | StoppingRule | None = None,
        samples: int | None = None,
        alpha: float | None = None,
        seed: Seed = 0,
        indices: Sequence[int] | None = None,
        progress: ProgressLike = None,
    ) -> Certified:
        """Classify every image and prove a radius within which no perturbation changes the answer.

        Args:
            images: (images, *shape), float, finite, in [0, 1]; torch or NumPy. Or a stream of batches of such images,
                read one after the other, never all in memory: a `data.Dataset`, a `torch.utils.data.DataLoader`, a
                generator. A batch is images alone, which are numbered in order from 0, or `data.IndexedImages(images,
                indices)`. Votes are those of one call with the same indices.
            stop: how many samples each image gets, and what its votes prove: `FixedSamples` (Algorithm 1),
                `CertifyRadii` (until it is decided whether given radii are certified), `EstimateRadius` (until the
                radius is known to a relative error), or another stopping rule of `noiseproof.sequential`.
            samples: short for `stop=FixedSamples(samples)`: n, votes per image, 10 000 if left out (radii of at most
                3.2 sigma at alpha = 0.001).
            alpha: short for `stop=FixedSamples(alpha=alpha)`: failure probability per image, 0.001 if left out.
            seed: key of the noise. The same seed gives the same votes, whatever the batch size. A number, for Philox; or
                `noiseproof.SecretKey.draw()`, for ChaCha20: noise that nobody can predict.
            indices: the key of each image's noise; None numbers them from 0. Give the data set's own indices when
                images are certified apart: they get the same votes as together, and their noise is independent, which
                statements about all of them rest on. Two calls without indices and with one seed share their noise.
                Left out for a stream, whose batches carry their own.
            progress: called with the number of votes added; True shows a bar on standard error.

        Raises:
            InvalidInputError: a rule or certificate that is not for this noise, images outside [0, 1] or not finite,
                samples or alpha outside their domain or given beside `stop`, or so few samples that nothing could be
                certified at this alpha (the message says how many are needed); before sampling. A stream with
                `indices`, with a rule that needs all images at once (`SharedBudget`), or with batches of another form.
            ClassifierError: the classifier raised, or returned NaN or the wrong shape.
        """
        rule = _rule(stop, samples, alpha)
        self._require_decidable(rule)
        if is_stream(images):
            _require_parts(rule, indices)
        with told(progress, _total(images, rule.phases.values() if isinstance(rule, FixedSamples) else ())) as each:
            if is_stream(images):
                return Certified.concatenate([self._certify(*part, rule, seed, each) for part in numbered(images)])
            return self._certify(images, indices, rule, seed, each)

    def _require_decidable(self, rule: FixedSamples | StoppingRule) -> None:
        """Raise `InvalidInputError` for another noise, or where even unanimous votes could not decide an image."""
        classes = self.classifier.num_classes
        if isinstance(rule, FixedSamples):
            rule.certificate.require_noise(self.noise)
            require_enough_samples(rule.samples, rule.votes_needed(classes), rule.alpha)
        else:
            needed = rule.under(self.noise).votes_needed(classes)
            require_enough_samples(rule.max_samples, needed, rule.alpha, name="max_samples")

    def _certify(
        self,
        images: Any,
        indices: Sequence[int] | None,
        rule: FixedSamples | StoppingRule,
        seed: Seed,
        progress: Progress | None,
    ) -> Certified:
        """Certify images that are at hand, which counting checks."""
        if isinstance(rule, FixedSamples):
            votes = self.counter.count(images, rule.phases, seed=seed, indices=indices, progress=progress)
            found = rule.certify(votes[Phase.CERTIFY], self.noise, votes.get(Phase.SELECT))
        else:
            test = rule.under(self.noise)
            turns = partial(rule.turns, test.criterion)
            found = test.certify(
                *self.counter.count_until(
                    images, test.criterion, seed=seed, indices=indices, progress=progress, turns=turns
                )
            )
        keys = as_indices(indices, len(found.radius))
        return replace(
            found, noise_key=np.array([(public_seed(seed), key) for key in keys], dtype=np.uint64).reshape(-1, 2)
        )

    def count(
        self,
        images: Images,
        *,
        samples: int,
        seed: Seed = 0,
        indices: Sequence[int] | None = None,
        progress: ProgressLike = None,
        phase: Phase = Phase.CERTIFY,
    ) -> Int[np.ndarray, "images classes"]:
        """Lines 1 to 5 of Algorithm 1: the votes of every image, (images, classes), int64.

        Args:
            images: see `certify`.
            samples: votes per image.
            seed: see `certify`.
            indices: see `certify`.
            progress: see `certify`.
            phase: what the votes are for; those of different phases share no noise.

        Raises:
            InvalidInputError: as `certify`.
            ClassifierError: as `certify`.
        """
        require_count("samples", samples, 1, "At least one vote is needed.")
        with told(progress, _total(images, [samples])) as each:
            return self.counter.count(images, {phase: samples}, seed=seed, indices=indices, progress=each)[phase]


def _rule(
    stop: FixedSamples | StoppingRule | None, samples: int | None, alpha: float | None
) -> FixedSamples | StoppingRule:
    """Return the stopping rule, or the fixed number of samples that `samples` and `alpha` are short for."""
    if stop is None:
        return FixedSamples(DEFAULT_SAMPLES if samples is None else samples, alpha=0.001 if alpha is None else alpha)
    if not isinstance(stop, FixedSamples | StoppingRule):
        raise InvalidInputError(
            "stop",
            required="a stopping rule, such as CertifyRadii([0.5])",
            got=repr(stop),
            remedy="See noiseproof.sequential.",
        )
    for name, value in (("samples", samples), ("alpha", alpha)):
        if value is not None:
            raise InvalidInputError(
                name,
                required="left out where stop is given, which has its own",
                got=value,
                remedy="Give it to the stopping rule: CertifyRadii([0.5], alpha=0.01, max_samples=20_000).",
            )
    return stop


def require_base(classifier: object) -> None:
    """Raise `InvalidInputError` for a smoothed classifier where its f is meant: noise would be added twice."""
    if isinstance(classifier, SmoothedClassifier):
        raise InvalidInputError(
            "classifier",
            required="the base classifier f, to which the noise is added",
            got=repr(classifier),
            remedy="Pass its f: smoothed.classifier.function.",
        )


def _require_parts(rule: FixedSamples | StoppingRule, indices: Sequence[int] | None) -> None:
    """Raise `InvalidInputError` unless images can come in batches."""
    if isinstance(rule, StoppingRule) and rule.all_images_at_once:
        raise InvalidInputError(
            "stop",
            required="a rule that treats each image by itself, where images come in batches",
            got=type(rule).__name__,
            remedy="This rule shares its samples among all images: pass them as one array.",
        )
    if indices is not None:
        raise InvalidInputError(
            "indices",
            required="left out where images come in batches",
            got=type(indices).__name__,
            remedy="Give each batch its own: noiseproof.data.IndexedImages(images, indices).",
        )


def _total(images: object, samples: Iterable[int]) -> int | None:
    """Return how many votes there will be; None where that depends on the votes, or on batches that are still to come."""
    each, known = sum(samples), getattr(images, "ndim", 1) > 0
    return len(images) * each if each and known and isinstance(images, Tensor | np.ndarray | Dataset) else None


def _named(function: Callable[[Any], Any]) -> str:
    """Return what a classifier is called in messages: a function its own name, anything else that of its class."""
    return str(getattr(function, "__qualname__", type(function).__name__))
