"""The exact sampler: its table against 100-digit arithmetic, its law at every cell, and classifiers that read low bits."""

from bisect import bisect_right
from collections.abc import Callable, Iterator
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
@pytest.mark.parametrize("bits", [48, 80])
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
        test_the_table_is_that_of_100_digit_arithmetic(Gaussian(0.12), 48)


def drawn(of: Inversion, numbers: np.ndarray, last: Callable[[int, int], Iterator[int]], width: int = 8) -> np.ndarray:
    """N of numbers of 48 bits, (samples, numbers), handed over as the sampler does: words by the ranks of open numbers."""
    first = (numbers >> 32).astype(np.uint16)
    open_ = np.isin(first, np.array(of._table(48)[1]) >> 32)
    words = [(row & (2**32 - 1))[at].astype(np.uint32) for row, at in zip(numbers, open_, strict=True)]
    blocks = 1 + max(map(len, words)) // width
    padded = np.stack([np.pad(each, (0, blocks * width - len(each)), constant_values=77) for each in words])
    return of.of_digits(first, lambda block: padded[:, block * width : (block + 1) * width], last)


@every_noise
def test_every_number_stands_for_its_integer(noise: Noise) -> None:
    """N = min{j : U < F_j} around every threshold and every border of a cell of the table, by bisection instead."""
    exact = Inversion(noise)
    first, table = exact._table(48)
    borders = np.arange(0, 2**48, 2**32)
    near = np.concatenate([np.array(table)[:, None] + range(-2, 3), borders[:, None] + range(-1, 2)], axis=None)
    numbers = np.unique(np.clip(near, 0, 2**48 - 1))
    numbers = np.random.default_rng(0).permutation(numbers)[: len(numbers) // 4 * 4].reshape(4, -1)
    asked: list[int] = []

    def last(sample: int, number: int) -> Iterator[int]:
        asked.append(int(numbers[sample, number]))
        return repeat(2**31)

    found = drawn(exact, numbers, last)
    assert set(asked) == set(table) & set(numbers.ravel().tolist()), "48 bits decide all but the thresholds themselves"
    expected = np.array([first + bisect_right(table, int(number)) for number in numbers.ravel()]).reshape(numbers.shape)
    decided = ~np.isin(numbers, table)
    np.testing.assert_array_equal(found[decided], expected[decided])


@every_noise
def test_most_numbers_are_decided_by_16_bits(noise: Noise) -> None:
    """Of the words that follow, a block holds those of most samples."""
    exact = Inversion(noise)
    opened = exact._open_cells / 2**16
    assert opened < 0.05
    words = 8 * exact.steps_after(784)
    assert stats.binom.sf(words, 784, opened) < 0.01
    assert words < 784 * opened * 4 / 3 + 16


def test_large_noise_has_a_table_of_32_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = np.random.default_rng(0).integers(0, 2**48, (3, 1000))
    small = drawn(Inversion(Gaussian(0.12)), numbers, lambda *_: repeat(0))
    monkeypatch.setattr(inversion, "_SMALL", 100)
    large = drawn(Inversion(Gaussian(0.12)), numbers, lambda *_: repeat(0))
    assert (small.dtype, large.dtype) == (np.int16, np.int32)
    np.testing.assert_array_equal(small, large)


@every_noise
def test_a_tie_takes_as_many_words_as_it_needs(noise: Noise) -> None:
    """Digits of F_j to any length, then one more word below or above those of F_j."""
    exact = Inversion(noise)
    for j in (-20, -1, 0, 13):
        for words in (1, 2, 4):
            bits = 48 + 32 * (words - 1)
            prefix, end_of_bound = divmod(bounds(noise, bits + 32, j), 2**32)
            digits = [prefix >> 32 * (words - 2 - i) & (2**32 - 1) for i in range(words - 1)]
            for end, expected in ((end_of_bound - 1, j), (end_of_bound + 1, j + 1)):
                if 0 <= end < 2**32 and probability(noise, j) * 2**bits % 1:
                    left = iter([*digits, end, 0, 0, 0])
                    assert exact.decide(prefix >> 32 * (words - 1), left) == expected
                    assert len(list(left)) == 3, "no more words than needed"


def test_a_tie_in_an_image_takes_the_last_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once in 10^11 numbers; here the first 48 bits are those of a threshold, at one place."""
    exact = Inversion(Gaussian(0.12))
    first, table = exact._table(48)
    numbers = np.full((2, 5), 2**47 + 12345)
    numbers[1, 3] = table[40]
    places: list[tuple[int, int]] = []

    def last(sample: int, number: int) -> Iterator[int]:
        places.append((sample, number))
        return repeat(2**32 - 1)

    high = drawn(exact, numbers, last)[1, 3]
    low = drawn(exact, numbers, lambda *_: repeat(0))[1, 3]
    assert places == [(1, 3)]
    assert (low, high) == (first + 40, first + 41)


def test_tails_have_no_end() -> None:
    """First digits that are all 0, or all 1, are no bound of the noise: further words tell how far it goes."""
    exact, sigma = Inversion(Gaussian(0.12)), 0.12 * LEVELS
    for zeros in (0, 1, 6):
        found = exact.decide(0, chain(repeat(0, zeros), [2**31], repeat(0)))
        tail = mpmath.mpf(2) ** (-48 - 32 * zeros - 1)
        with mpmath.workdps(100):
            assert probability(Gaussian(0.12), found - 1) <= tail < probability(Gaussian(0.12), found)
        assert exact.decide(2**48 - 1, chain(repeat(2**32 - 1, zeros), [2**31 - 1], repeat(2**32 - 1, 40))) == -found
    assert found < -16 * sigma


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
        on_device = sampler._on_device(images, Rows(spans, CPU), seed).view_as(on_host)
        assert torch.equal(on_device, on_host)


def test_where_48_bits_do_not_decide_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once in 10^11 numbers; here every third open number passes for one, and must be decided as the host decides it."""
    sampler = IntegerSampler(Gaussian(0.25), 0)
    images, rows = torch.zeros(2, 3000), Rows([Span(1, 2**63 + 1, Phase.CERTIFY, 5, 20)], CPU)
    expected = copies(sampler, images, list(rows.spans))
    asked = []
    honest = sampler._inversion.of_bits

    def coarse(number: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        noise, _ = honest(number)
        ties = number % 3 == 0
        asked.append(int(ties.sum()))
        return torch.where(ties, -9999, noise), ties

    monkeypatch.setattr(sampler._inversion, "of_bits", coarse)
    assert torch.equal(sampler._on_device(images, rows, 0), expected)
    assert asked[0] > 20


def test_samples_with_more_open_numbers_than_a_block_has_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of 8 words, where most samples have more open numbers: the law and both ways stay as they are."""
    monkeypatch.setattr(Inversion, "steps_after", lambda *_: 1)
    sampler = IntegerSampler(Gaussian(0.25), 3)
    spans = [Span(0, 3, Phase.CERTIFY, 4, 300)]
    on_host = copies(sampler, torch.zeros(1, 3000), spans)
    assert torch.equal(sampler._on_device(torch.zeros(1, 3000), Rows(spans, CPU), 3), on_host)
    drawn = on_host.mul(LEVELS).round().int().numpy()
    assert chi_square(sampler.noise, np.unique(drawn, return_counts=True)) > 1e-4


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
