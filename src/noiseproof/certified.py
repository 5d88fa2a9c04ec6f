"""What votes prove: lines 5 to 7 of Algorithm 1, under any bound, certificate and alpha."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int, UInt64

from noiseproof.bounds import Bound, TwoPhase
from noiseproof.bounds.base import require_alpha
from noiseproof.certificates import Certificate, NeymanPearson, separated
from noiseproof.errors import InvalidInputError, MissingExtraError, require_count
from noiseproof.noises import Noise
from noiseproof.numerics.decimals import round_down
from noiseproof.randomness import Phase

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

__all__ = [
    "ABSTAIN",
    "DEFAULT_ALPHA",
    "DEFAULT_BOUND",
    "DEFAULT_CERTIFICATE",
    "DEFAULT_SAMPLES",
    "Certified",
    "FixedSamples",
    "certify_votes",
    "require_enough_samples",
    "samples_needed",
]

ABSTAIN = -1
"""The prediction where the votes do not separate the classes; its radius is 0."""

DEFAULT_ALPHA = 0.001
"""Failure probability per image, the field's usual choice."""

DEFAULT_BOUND = TwoPhase()
"""Exact, independent of the number of classes, and the bound that the literature reports."""

DEFAULT_CERTIFICATE = NeymanPearson()
"""Tight: no larger radius holds for every classifier."""

DEFAULT_SAMPLES = 10_000
"""Radii up to 3.2 sigma at alpha = 0.001; with 100 000, ten times the work, 3.8 sigma."""


@dataclass(frozen=True, repr=False)
class Certified:
    """What Algorithm 1 returns for each image, as NumPy arrays.

    `to_dict`, `to_table` (Arrow) and `to_pandas` give a row for each image; an attribute that is None has no column.

    Attributes:
        prediction: the class c, or `ABSTAIN`; int64.
        radius: L, in the norm of the noise and pixel units: for every x' closer than L to x, the smoothed classifier's
            most probable class is the same. float64, 0 where it abstains. Wrong with probability <= alpha per image.
        p1_lower: lower confidence bound of the class's probability.
        p2_upper: upper confidence bound of every other class's probability, as the bound gave it.
        votes: (images, classes), int64: how often f returned each class.
        selection_votes: those of the selection phase, or None.
        outcome: of a sequential test, CERTIFIED (1), UNDECIDED (0) or FUTILE (-1) for every radius, smallest first; None
            where the number of votes was fixed.
        noise_key: (seed, index) of each image's noise, where it is known; no column. Images of equal keys share their
            noise, so that their failures are not independent.
    """

    prediction: Int[np.ndarray, " images"]
    radius: Float[np.ndarray, " images"]
    p1_lower: Float[np.ndarray, " images"]
    p2_upper: Float[np.ndarray, " images"]
    votes: Int[np.ndarray, "images classes"]
    selection_votes: Int[np.ndarray, "images classes"] | None
    outcome: Int[np.ndarray, "images radii"] | None = None
    noise_key: UInt64[np.ndarray, "images 2"] | None = None

    @staticmethod
    def concatenate(parts: "Sequence[Certified]") -> "Certified":
        """Return the images of one or more results of the same classifier and rule as one, in order.

        Raises:
            InvalidInputError: images share their noise, as those of two calls without `indices` do: a statement about all
                of them would count their failures as independent.
        """
        columns = [part.columns() for part in parts]
        joined: dict[str, Any] = {name: np.concatenate([part[name] for part in columns]) for name in columns[0]}
        keys = [part.noise_key for part in parts if part.noise_key is not None]
        if len(keys) == len(parts):
            joined["noise_key"] = np.concatenate(keys)
            if shared := len(joined["noise_key"]) - len(np.unique(joined["noise_key"], axis=0)):
                raise InvalidInputError(
                    "parts",
                    required="images with independent noise",
                    got=f"{shared} that share the noise of another",
                    remedy="Certify them with indices=, each image's own: calls without it number their noise from 0.",
                )
        return Certified(**{"selection_votes": None} | joined)

    def columns(self) -> dict[str, np.ndarray]:
        """Return the arrays that are not None, by name; the first axis of each is that of the images."""
        named = {part.name: getattr(self, part.name) for part in fields(self) if part.name != "noise_key"}
        return {name: array for name, array in named.items() if array is not None}

    def to_dict(self) -> dict[str, list[Any]]:
        """Return it as plain lists of numbers, which JSON can hold."""
        return {name: array.tolist() for name, array in self.columns().items()}

    def to_table(self) -> "pa.Table":
        """Return it as an Arrow table; votes are lists of as many numbers as there are classes."""
        import pyarrow as pa

        def column(array: np.ndarray) -> Any:
            flat = pa.array(array.ravel())
            return flat if array.ndim == 1 else pa.FixedSizeListArray.from_arrays(flat, array.shape[1])

        return pa.table({name: column(array) for name, array in self.columns().items()})

    def to_pandas(self) -> "pd.DataFrame":
        """Return it as a pandas table (extra `pandas`).

        Raises:
            MissingExtraError: pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError as error:
            raise MissingExtraError("pandas", extra="pandas", needed_for="Certified.to_pandas") from error
        columns = self.columns()
        return pd.DataFrame({name: array if array.ndim == 1 else list(array) for name, array in columns.items()})

    def __repr__(self) -> str:
        images, classes = self.votes.shape
        decided = self.prediction != ABSTAIN
        said = [f"{images} images of {classes} classes", f"{int(decided.sum())} decided"]
        if decided.any():
            low, middle, high = map(round_down, np.quantile(self.radius[decided], [0.0, 0.5, 1.0]))
            said.append(f"radius {low} to {high}, median {middle}")
        return f"Certified({', '.join(said)}; votes per image {_range(self.votes.sum(1))})"


@dataclass(frozen=True)
class FixedSamples:
    """The same fixed number of samples for every image: the stopping rule of Algorithm 1.

    Args:
        samples: n, votes counted per image; those of a bound's selection phase are drawn in addition.
        alpha: failure probability per image. 0.001 is the field's usual choice.
        bound: how votes become probabilities.
        certificate: how probabilities become a radius.

    Raises:
        InvalidInputError: samples is no integer of at least 1, alpha is outside (0, 1), or bound or certificate is no
            such object.

    Example:
        >>> FixedSamples(1000).votes_needed(num_classes=10)
        10
    """

    samples: int = DEFAULT_SAMPLES
    _: KW_ONLY
    alpha: float = DEFAULT_ALPHA
    bound: Bound = DEFAULT_BOUND
    certificate: Certificate = DEFAULT_CERTIFICATE

    def __post_init__(self) -> None:
        require_alpha(self.alpha)
        require_count("samples", self.samples, 1, "At least one vote is needed.")
        for name, kind, like in (("bound", Bound, DEFAULT_BOUND), ("certificate", Certificate, DEFAULT_CERTIFICATE)):
            if not isinstance(value := getattr(self, name), kind):
                raise InvalidInputError(
                    name,
                    required=f"an object, such as {like}",
                    got=repr(value),
                    remedy=f"See noiseproof.{name}s.",
                )

    @property
    def phases(self) -> dict[Phase, int]:
        """The number of samples in each phase."""
        selection = self.bound.selection_samples
        return ({Phase.SELECT: selection} if selection else {}) | {Phase.CERTIFY: self.samples}

    def votes_needed(self, num_classes: int) -> int:
        """Return the smallest n for which unanimous votes are certified."""
        return samples_needed(self.bound, self.alpha, num_classes)

    def certify(
        self,
        votes: Int[np.ndarray, "images classes"],
        noise: Noise,
        selection_votes: Int[np.ndarray, "images classes"] | None = None,
    ) -> Certified:
        """Return what votes prove: `certify_votes`."""
        return certify_votes(
            votes,
            noise,
            alpha=self.alpha,
            bound=self.bound,
            certificate=self.certificate,
            selection_votes=selection_votes,
        )


def _range(counts: Int[np.ndarray, " images"]) -> str:
    """The smallest and the largest of some numbers, once where they are the same."""
    return " to ".join(str(number) for number in sorted({int(counts.min()), int(counts.max())})) if len(counts) else "0"


def certify_votes(
    votes: Int[np.ndarray, "images classes"],
    noise: Noise,
    *,
    alpha: float,
    bound: Bound = DEFAULT_BOUND,
    certificate: Certificate = DEFAULT_CERTIFICATE,
    selection_votes: Int[np.ndarray, "images classes"] | None = None,
) -> Certified:
    """Lines 5 to 7 of Algorithm 1, from votes alone: any bound, certificate and alpha on votes already counted.

    Choose the bound before you see the votes: the best of several bounds does not hold at level alpha.

    Args:
        votes: how often f returned each class under noise; their number must have been fixed beforehand.
        noise: the noise under which they were counted.
        alpha: failure probability per image.
        bound: from votes to probabilities.
        certificate: from probabilities to a radius.
        selection_votes: those of the bound's selection phase, if it has one.

    Raises:
        InvalidInputError: alpha outside (0, 1), malformed votes, or no selection votes where the bound needs them.
    """
    # 5: estimate the distribution of the output, here by confidence bounds instead of the frequencies themselves
    found = bound(votes, alpha=alpha, selection_votes=selection_votes)
    # 6: calculate the tolerable size of the attack
    radius = certificate.radius(noise, found.p1_lower, found.p2_upper)
    # 7: return the class and the radius
    prediction = np.where(separated(found.p1_lower, found.p2_upper), found.prediction, ABSTAIN)
    return Certified(prediction, radius, found.p1_lower, found.p2_upper, votes, selection_votes)


def samples_needed(bound: Bound, alpha: float, num_classes: int) -> int:
    """Return the smallest n for which unanimous votes are certified: with fewer, no image can be, at this alpha."""

    def suffices(n: int) -> bool:
        unanimous = np.zeros((1, num_classes), dtype=np.int64)
        unanimous[0, 0] = n
        found = bound(unanimous, alpha=alpha, selection_votes=unanimous)
        return bool(separated(found.p1_lower, found.p2_upper).all())

    high = 1
    while not suffices(high):
        high *= 2
    # bisection between the last number that did not suffice and the first that did: more votes never certify less
    return bisect_left(range(high), True, lo=high // 2 + 1, key=suffices)


def require_enough_samples(samples: int, needed: int, alpha: float, *, name: str = "samples") -> None:
    """Raise `InvalidInputError` where even unanimous votes could not decide an image."""
    require_count(name, samples, 1, f"alpha = {alpha:g} needs at least {needed}.")
    if samples < needed:
        raise InvalidInputError(
            name,
            required=f"at least {needed} at alpha = {alpha:g}: with fewer even unanimous votes decide nothing",
            got=samples,
            remedy="Take more samples or a larger alpha; radii of 2 sigma and more need hundreds to thousands.",
        )
