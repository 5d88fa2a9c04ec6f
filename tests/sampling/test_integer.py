"""The exact sampler: its table against 100-digit arithmetic, its law at every cell, and classifiers that read low bits."""

from bisect import bisect_right
from collections.abc import Iterator
from functools import partial
from itertools import chain, repeat
from typing import Any

import mpmath
import numpy as np
import pytest
import torch
from scipy import stats

import noiseproof as npf
from noiseproof.errors import InvalidInputError
from noiseproof.noises import Gaussian, Laplace, Noise, Uniform
from noiseproof.perturbations.levels import LEVELS
from noiseproof.randomness import Phase
from noiseproof.sampling import Rows, Sampler, Span, inversion
from noiseproof.sampling.integer import IntegerSampler
from noiseproof.sampling.inversion import Inversion

CPU = torch.device("cpu")
NOISES = [Gaussian(0.12), Gaussian(100 / 255), Laplace(0.3), Uniform(0.25)]
every_noise = pytest.mark.parametrize("noise", NOISES, ids=repr)


def probability(noise: Noise, j: int) -> mpmath.mpf:
    """P(255 z <= j + 1/2), by other formulas than the noises' own, in 100 digits."""
    with mpmath.workdps(100):
        x = mpmath.mpf(2 * j + 1) / 510
        match noise:
            case Gaussian(sigma):
                return mpmath.erfc(-x / (sigma * mpmath.sqrt(2))) / 2
            case Laplace(scale):
                sign = mpmath.sign(x)
                return mpmath.mpf(1) / 2 - sign * mpmath.expm1(-abs(x) / scale) / 2
            case Uniform(width):
                return (
                    mpmath.mpf(0) if x < -width else mpmath.mpf(1) if x > width else mpmath.mpf(1) / 2 + x / width / 2
                )
    raise AssertionError(noise)


def bounds(noise: Noise, bits: int, j: int) -> int:
    with mpmath.workdps(100):
        return int(mpmath.floor(probability(noise, j) * 2**bits))


def copies(sampler: Sampler, images: torch.Tensor, spans: list[Span]) -> torch.Tensor:
    rows = Rows(spans, CPU)
    batch = torch.full((len(rows), *images.shape[1:]), torch.nan)
    sampler.fill(batch, images, rows)
    return batch


@every_noise
@pytest.mark.parametrize("bits", [32, 64])
def test_the_table_is_that_of_100_digit_arithmetic(noise: Noise, bits: int) -> None:
    first, table = Inversion(noise)._table(bits)
    expected = [min(bounds(noise, bits, j), 2**bits - 1) for j in range(first, first + len(table))]
    assert table == expected
    assert table[0] == 0 < table[1]
    assert table[-2] < table[-1] == 2**bits - 1


def test_a_threshold_off_in_its_40th_bit_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    own = Gaussian.cumulative
    there = partial(mpmath.almosteq, 3 / 510, rel_eps=1e-9)
    monkeypatch.setattr(Gaussian, "cumulative", lambda noise, x: own(noise, x) + mpmath.ldexp(there(x), -40))
    with pytest.raises(AssertionError):
        test_the_table_is_that_of_100_digit_arithmetic(Gaussian(0.12), 64)


@every_noise
def test_every_word_stands_for_its_integer(noise: Noise) -> None:
    """N = min{j : U < F_j} around every threshold and every border of a cell of the table, by bisection instead."""
    exact = Inversion(noise)
    first, table = exact._table(32)
    borders = np.arange(0, 2**32, 2**16)
    near = np.concatenate([np.array(table)[:, None] + range(-2, 3), borders[:, None] + range(-1, 2)], axis=None)
    words = np.unique(np.clip(near, 0, 2**32 - 1)).astype(np.uint32)
    asked: list[int] = []

    def digits(sample: int, number: int) -> Iterator[int]:
        asked.append(int(words[number]))
        return chain([int(words[number])], repeat(2**31))

    found = exact.of_words(words[None], digits)[0]
    assert sorted(set(asked)) == sorted(set(table)), "one word decides all but the thresholds themselves"
    expected = [first + bisect_right(table, int(word)) for word in words]
    decided = ~np.isin(words, table)
    np.testing.assert_array_equal(found[decided], np.array(expected)[decided])


def test_large_noise_has_a_table_of_32_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    words = np.random.default_rng(0).integers(0, 2**32, (3, 1000), dtype=np.uint32)
    small = Inversion(Gaussian(0.12)).of_words(words, lambda *_: repeat(0))
    monkeypatch.setattr(inversion, "_SMALL", 100)
    large = Inversion(Gaussian(0.12)).of_words(words, lambda *_: repeat(0))
    assert (small.dtype, large.dtype) == (np.int16, np.int32)
    np.testing.assert_array_equal(small, large)


@every_noise
def test_a_tie_takes_as_many_words_as_it_needs(noise: Noise) -> None:
    """Digits of F_j to any length, then one more word below or above those of F_j."""
    exact = Inversion(noise)
    for j in (-20, -1, 0, 13):
        for words in (1, 2, 3, 5):
            prefix, last = divmod(bounds(noise, 32 * (words + 1), j), 2**32)
            digits = [prefix >> 32 * (words - 1 - i) & (2**32 - 1) for i in range(words)]
            for end, expected in ((last - 1, j), (last + 1, j + 1)):
                if 0 <= end < 2**32 and probability(noise, j) * 2 ** (32 * words) % 1:
                    drawn = iter([*digits, end, 0, 0, 0])
                    assert exact.decide(drawn) == expected
                    assert len(list(drawn)) == 3, "no more words than needed"


def test_tails_have_no_end() -> None:
    """A first word of 0 or 2^32 - 1 is no bound of the noise: further words tell how far it goes."""
    exact, sigma = Inversion(Gaussian(0.12)), 0.12 * LEVELS
    for zeros in (1, 2, 6):
        drawn = exact.decide(chain(repeat(0, zeros), [2**31], repeat(0)))
        with mpmath.workdps(100):
            assert (
                probability(Gaussian(0.12), drawn - 1)
                <= mpmath.mpf(2) ** (-32 * zeros - 1)
                < probability(Gaussian(0.12), drawn)
            )
        mirrored = exact.decide(chain(repeat(2**32 - 1, zeros), [2**31 - 1], repeat(2**32 - 1, 40)))
        assert mirrored == -drawn
    assert drawn < -16 * sigma


@pytest.mark.parametrize("noise", [Gaussian(0.25), Laplace(0.3), Uniform(0.2)], ids=repr)
def test_the_law_of_the_noise(noise: Noise) -> None:
    """Chi-square over all cells that expect 20 and more, those beyond taken together."""
    sampler, numbers = IntegerSampler(noise, 11), 3000
    drawn = copies(sampler, torch.zeros(1, numbers), [Span(0, 5, Phase.CERTIFY, 0, 700)]).mul(LEVELS).round().int()
    assert chi_square(noise, np.unique(drawn.numpy(), return_counts=True)) > 1e-4


def chi_square(noise: Noise, counted: tuple[np.ndarray, np.ndarray]) -> float:
    values, counts = counted
    reach = int(np.abs(values).max()) + 1
    law = np.diff([float(probability(noise, j)) for j in range(-reach - 1, reach + 1)])
    observed = np.zeros(len(law))
    observed[values + reach] = counts
    expected = law * counts.sum()
    many = expected >= 20
    rest = counts.sum() - expected[many].sum(), counts.sum() - observed[many].sum()
    both = [
        np.append(of[many], end) if rest[0] >= 1 else of[many] for of, end in ((expected, rest[0]), (observed, rest[1]))
    ]
    statistic = ((both[1] - both[0]) ** 2 / both[0]).sum()
    return float(stats.chi2.sf(statistic, len(both[0]) - 1))


@pytest.mark.parametrize("noise", [Gaussian(0.25), Laplace(0.3), Uniform(0.2)], ids=repr)
@pytest.mark.parametrize("shape", [(1,), (3, 5, 7), (1, 28, 28)])
def test_gpus_draw_the_same_bits(noise: Noise, shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """The way of other devices, on the CPU, against NumPy's generator: large seeds and indices, several phases."""
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, *shape)).astype(np.float32)) / LEVELS
    spans = [
        Span(1, 3, Phase.CERTIFY, 4, 30),
        Span(0, 2**63 + 1, Phase.SELECT, 2**40, 3),
        Span(1, 2, Phase.JUDGE, 0, 1),
    ]
    for seed in (0, 2**64 - 5):
        sampler = IntegerSampler(noise, seed)
        on_host = copies(sampler, images, spans)
        on_device = sampler._on_device(images, Rows(spans, CPU)).view_as(on_host)
        assert torch.equal(on_device, on_host)


def test_where_two_words_do_not_decide_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once in 10^16 numbers; here the table of two words is cut to one, so that it happens in most samples."""
    sampler = IntegerSampler(Gaussian(0.25), 0)
    images, rows = torch.zeros(1, 3000), Rows([Span(0, 3, Phase.CERTIFY, 0, 20)], CPU)
    expected = sampler._on_device(images, rows)
    asked = []
    honest = sampler._inversion.of_pairs

    def coarse(high: torch.Tensor, low: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        noise, _ = honest(high, low)
        open_ = low % 1000 == 0
        asked.append(int(open_.sum()))
        return torch.where(open_, -9999, noise), open_

    monkeypatch.setattr(sampler._inversion, "of_pairs", coarse)
    assert torch.equal(sampler._on_device(images, rows), expected)
    assert asked[0] > 20


def test_what_the_classifier_receives_is_a_function_of_an_integer() -> None:
    """(k + N) / 255, correctly rounded, for every pixel k and image: so nothing of k is left beside the sum."""
    levels = torch.arange(256, dtype=torch.float32)
    images = torch.stack([levels / LEVELS, levels.flip(0) / LEVELS])
    received = copies(IntegerSampler(Gaussian(1.0), 0), images, [Span(i, i, Phase.CERTIFY, 0, 500) for i in (0, 1)])
    grid = {
        int(value): np.float32(value) / np.float32(LEVELS) for value in received.double().mul(LEVELS).round().unique()
    }
    assert set(received.unique().tolist()) <= {float(value) for value in grid.values()}
    plain = copies(IntegerSampler(Gaussian(1.0), 0), torch.zeros(1, 256), [Span(0, 0, Phase.CERTIFY, 0, 500)])
    sums = received[:500].double().mul(LEVELS).round() - plain.double().mul(LEVELS).round()
    assert (sums == levels).all(), "the noise does not depend on the image"


def leak(images: Any) -> Any:
    """Class 0 if any coordinate is off the lattice 2^-33: what float32 sums near 0 are, and others are not."""
    scaled = images.double() * 2**33
    return (scaled == scaled.round()).flatten(1).all(1).long()


def test_a_classifier_that_reads_low_bits_is_certified_falsely_in_floating_point_and_not_exactly() -> None:
    """Jin et al. 2022, Voráček and Hein 2023: at distance .217 from a black image its answer is another."""
    black, grey = torch.zeros(1, 3072), torch.full((1, 3072), 1 / 255)
    distance = float((grey - black).norm())
    false = npf.SmoothedClassifier(leak, Gaussian(0.25), 2)
    claimed = false.certify(black, samples=2000, seed=0)
    assert claimed.radius[0] > distance
    assert claimed.prediction[0] == 0
    assert false.predict(grey, seed=1)[0] == 1, "the false certificate of the float sampler"
    true = npf.SmoothedClassifier(leak, Gaussian(0.25), 2, sampler="exact")
    here, there = (true.certify(image, samples=2000, seed=seed) for seed, image in ((0, black), (1, grey)))
    assert here.radius[0] > distance
    assert here.prediction == there.prediction


def test_votes_do_not_depend_on_batches_or_order() -> None:
    images = np.random.default_rng(0).integers(0, 256, (5, 1, 4, 4)).astype(np.float32) / LEVELS

    def votes(batch_size: int, order: list[int]) -> np.ndarray:
        by_mean = npf.SmoothedClassifier(
            lambda x: (x.mean((1, 2, 3)) > 0.5).astype(int), Gaussian(0.5), 2, batch_size=batch_size, sampler="exact"
        )
        return by_mean.certify(images[order], samples=150, indices=order).votes

    expected = votes(64, [0, 1, 2, 3, 4])
    assert 0 < expected[:, 1].sum() < 750
    for size in (1, 7, 1000):
        np.testing.assert_array_equal(votes(size, [4, 2, 0, 3, 1])[[2, 4, 1, 3, 0]], expected)


def test_what_it_refuses() -> None:
    class Unknown(Gaussian):
        cumulative = Noise.cumulative

    def label(images: Any) -> Any:
        raise AssertionError("called before images were examined")

    with pytest.raises(InvalidInputError, match=r"8-bit pixels.*1 others, such as 0.3"):
        npf.SmoothedClassifier(label, Gaussian(0.25), 2, sampler="exact").certify(np.array([[0.0, 0.3, 1.0]]))
    with pytest.raises(InvalidInputError, match="cumulative"):
        npf.SmoothedClassifier(label, Unknown(0.25), 2, sampler="exact")
    with pytest.raises(InvalidInputError, match="one of float, exact; got 'integer'"):
        npf.SmoothedClassifier(label, Gaussian(0.25), 2, sampler="integer")
