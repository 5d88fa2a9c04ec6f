"""Noise is a pure function of (seed, image, phase, sample): laws that every sampler obeys, and oracles for their bits."""

import inspect
import subprocess
import sys
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from noise_laws import LAWS
from noiseproof.classifiers.autotune import has_compiler
from noiseproof.errors import InvalidInputError
from noiseproof.noises import Gaussian, Laplace, Noise, Uniform
from noiseproof.randomness import Phase, SecretKey
from noiseproof.sampling import DeviceSampler, HostSampler, Rows, Sampler, Span, counter, host, sampler_for
from noiseproof.sampling.philox import key_schedule, philox4x32
from noiseproof.smoothing import SmoothedClassifier

CPU = torch.device("cpu")
SHAPE = (1, 5, 5)
every_sampler = pytest.mark.parametrize("kind", [HostSampler, DeviceSampler])


def draw(sampler: Sampler, spans: list[Span], shape: tuple[int, ...] = SHAPE) -> Tensor:
    """Noisy copies of black images."""
    rows = Rows(spans, CPU)
    batch = torch.full((len(rows), *shape), torch.nan)
    sampler.fill(batch, torch.zeros(1 + max(span.image for span in spans), *shape), rows)
    return batch


def samples(
    sampler: Sampler,
    first: int,
    count: int,
    index: int = 3,
    phase: Phase = Phase.CERTIFY,
    shape: tuple[int, ...] = SHAPE,
) -> Tensor:
    return draw(sampler, [Span(0, index, phase, first, count)], shape)


@every_sampler
@pytest.mark.parametrize("noise", [Gaussian(0.5), Laplace(0.5), Uniform(0.5)])
@pytest.mark.parametrize("shape", [(1,), (2,), (3,), (7, 1), (1, 5, 5), (3, 8, 8), (70_001,)])
def test_any_division_gives_the_same_copies(kind: type[Sampler], noise: Noise, shape: tuple[int, ...]) -> None:
    whole = samples(kind(noise, 7), 0, 12, shape=shape)
    assert torch.isfinite(whole).all()
    for cut in (1, 5, 11):
        parts = [samples(kind(noise, 7), 0, cut, shape=shape), samples(kind(noise, 7), cut, 12 - cut, shape=shape)]
        assert torch.equal(torch.cat(parts), whole)
    one_by_one = [samples(kind(noise, 7), number, 1, shape=shape) for number in reversed(range(12))]
    assert torch.equal(torch.cat(one_by_one[::-1]), whole)


@every_sampler
def test_company_in_the_batch_changes_nothing(kind: type[Sampler]) -> None:
    sampler = kind(Gaussian(1.0), 0)
    spans = [Span(0, 9, Phase.CERTIFY, 4, 3), Span(1, 2, Phase.SELECT, 0, 2), Span(0, 9, Phase.SELECT, 4, 5)]
    together = draw(sampler, spans)
    apart = torch.cat([samples(sampler, span.first, span.count, span.index, span.phase) for span in spans])
    assert torch.equal(together, apart)
    many = [Span(0, index, Phase.CERTIFY, 1, 1) for index in range(100)]  # more spans than are added one by one
    assert torch.equal(draw(sampler, many)[57], samples(sampler, 1, 1, 57)[0])


@every_sampler
def test_everything_in_the_key_matters(kind: type[Sampler]) -> None:
    """Seeds that differ by 2**32 give equal draws from torch's CPU generator; not here."""
    keys = [
        *((seed, 3, Phase.CERTIFY, 0) for seed in (0, 1, 2**32, 2**33, 2**64 - 1)),
        *((0, index, Phase.CERTIFY, 0) for index in (0, 1, 2**31, 2**32 - 1)),
        *((0, 3, Phase.CERTIFY, sample) for sample in (1, 2, 10**6, 10**9)),
        *((0, 3, Phase.SELECT, sample) for sample in (0, 1)),
    ]
    drawn = {tuple(samples(kind(Gaussian(1.0), s), n, 1, i, phase).flatten().tolist()) for s, i, phase, n in keys}
    assert len(drawn) == len(keys)


@every_sampler
def test_no_word_is_used_twice(kind: type[Sampler]) -> None:
    """Samples, images, phases and the two draws of Laplace noise: uniform numbers of all are distinct."""
    sampler = kind(Uniform(0.5), 11)
    spans = [Span(0, index, phase, 0, 300) for index in (0, 1) for phase in Phase]
    numbers = draw(sampler, spans, (7,)).double().flatten()
    pairs = len(numbers) ** 2 / 2
    repeated = len(numbers) - len(numbers.unique())
    assert repeated <= pairs / 2**24 + 6 * np.sqrt(pairs / 2**24), "24 bits repeat by chance, and no more"
    rows = Rows(spans, CPU)
    source = kind(Laplace(1.0), 11).source(rows)  # type: ignore[attr-defined]
    like = torch.empty(len(rows), 7)
    first, second = source.exponential(like), source.exponential(like)
    assert abs(np.corrcoef(first.flatten(), second.flatten())[0, 1]) < 5 / np.sqrt(len(numbers))


@every_sampler
@pytest.mark.parametrize(("noise", "law"), LAWS, ids=[repr(noise) for noise, _ in LAWS])
def test_the_law_of_the_noise(kind: type[Sampler], noise: Noise, law: Any) -> None:
    drawn = samples(kind(noise, 5), 0, 2000, shape=(301,)).double().numpy()
    assert stats.kstest(drawn.ravel(), law.cdf).pvalue > 1e-4
    for other in (drawn[:, 1:], np.roll(drawn, 1, axis=0)[:, :-1], np.roll(drawn, 150, axis=1)[:, :-1]):
        assert abs(np.corrcoef(drawn[:, :-1].ravel(), other.ravel())[0, 1]) < 5 / np.sqrt(other.size)
    squares = drawn**2  # pairs of Box and Muller share a radius: their squares must not be correlated either
    for shift in (1, 2, 150, 152):
        assert abs(np.corrcoef(squares[:, shift:].ravel(), squares[:, :-shift].ravel())[0, 1]) < 5 / np.sqrt(drawn.size)


@every_sampler
def test_tails_reach_beyond_six_standard_deviations(kind: type[Sampler]) -> None:
    """Torch's float32 normals on the CPU end near 5.77: among 4e8 of them 3 are missing, and these are."""
    extremes = kind(Gaussian(1.0), 0)
    found = np.concatenate(
        [samples(extremes, 2_000 * i, 2_000, shape=(3000,)).abs().flatten().topk(20)[0] for i in range(5)]
    )
    expected = 30e6 * 2 * stats.norm.sf(4.9)
    assert abs((found > 4.9).sum() - expected) < 5 * np.sqrt(expected)
    # the smallest uniform number that a word can give
    words = np.zeros((1, 8), dtype=np.uint32)
    out = np.empty((1, 8), dtype=np.float32)
    host._normal(words, out)
    assert out.max() == pytest.approx(np.sqrt(2 * 33 * np.log(2)), rel=1e-6)
    words[:] = 2**32 - 1
    host._normal(words, out)
    assert np.isfinite(out).all()


def test_host_sampler_is_what_its_docstring_says() -> None:
    """Word by word, from NumPy's generator and the formulas, in float64."""
    numbers, steps = 13, 2
    for sample in (0, 1, 1000):
        philox = np.random.Philox(key=np.array([42, 7], dtype=np.uint64), counter=[sample * steps, 0, Phase.SELECT, 0])
        words = philox.random_raw(4 * steps).view(np.uint32).astype(np.float64)
        radius = np.sqrt(-2 * np.log((words[:8] + 0.5) / 2**32))
        angle = 2 * np.pi * words[8:].astype(np.uint32).view(np.int32) / 2**32
        expected = np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])[:numbers]
        found = samples(HostSampler(Gaussian(1.0), 42), sample, 1, 7, Phase.SELECT, (numbers,))
        np.testing.assert_allclose(found[0].numpy(), expected, rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize(
    ("counter", "key", "words"),
    [
        ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((2**32 - 1,) * 4, (2**32 - 1,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
)
def test_philox4x32_known_answers(counter: tuple[int, ...], key: tuple[int, int], words: tuple[int, ...]) -> None:
    """The published known-answer vectors of the generator's authors."""
    found = philox4x32(tuple(torch.tensor([word]) for word in counter), key_schedule(*key))  # type: ignore[arg-type]
    assert tuple(int(word) for word in found) == words


@pytest.mark.slow
@pytest.mark.skipif(not has_compiler(CPU), reason="no C++ compiler for torch.compile on this machine")
def test_compiled_philox_gives_the_same_words() -> None:
    """On a GPU it is compiled; the words must not depend on that, nor on keys and counters beyond 2**31."""
    rng = np.random.default_rng(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the compiler's own
        compiled = torch.compile(inspect.unwrap(philox4x32), dynamic=True)
        for rows, quads in ((5, 7), (3, 100), (64, 9)):
            words = (torch.from_numpy(rng.integers(0, 2**32, (rows, 1))) for _ in range(3))
            counter = (torch.from_numpy(rng.integers(0, 2**32, (1, quads))), *words)
            keys = key_schedule(*rng.integers(0, 2**32, 2).tolist())
            for expected, found in zip(philox4x32(counter, keys), compiled(counter, keys), strict=True):
                assert torch.equal(expected, found)


def test_votes_through_the_sampler_of_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole way of a vote with that sampler, here on the CPU: any batch, any order, the same votes."""
    monkeypatch.setattr(
        counter, "sampler_for", lambda _device, noise, seed=0, _kind="float", **_: DeviceSampler(noise, seed)
    )
    images = np.random.default_rng(0).random((5, 1, 4, 4), dtype=np.float32)

    def votes(batch_size: int, order: list[int]) -> np.ndarray:
        smoothed = SmoothedClassifier(
            lambda x: (x.mean((1, 2, 3)) > 0.5).astype(int), Gaussian(0.5), 2, batch_size=batch_size
        )
        return smoothed.count(images[order], samples=150, indices=order)

    expected = votes(64, [0, 1, 2, 3, 4])
    assert 0 < expected[:, 1].sum() < 750
    for size in (1, 7, 1000):
        np.testing.assert_array_equal(votes(size, [4, 2, 0, 3, 1])[[2, 4, 1, 3, 0]], expected)


def test_threads_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    alone = samples(HostSampler(Gaussian(1.0), 0), 0, 300, shape=(3000,))
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    assert torch.equal(samples(HostSampler(Gaussian(1.0), 0), 0, 300, shape=(3000,)), alone)


@pytest.mark.skipif(sys.platform == "win32", reason="no fork on Windows")
def test_a_forked_process_draws_too() -> None:
    """A pool of threads does not survive a fork: the child must make its own."""
    code = (
        "import os, torch; from sampling.test_samplers import *; torch.set_num_threads(1); torch.get_num_threads = lambda: 8\n"
        "before = samples(HostSampler(Gaussian(1.0), 0), 0, 300, shape=(3000,))\n"
        "child = os.fork()\n"
        "after = samples(HostSampler(Gaussian(1.0), 0), 0, 300, shape=(3000,))\n"
        "assert bool((before == after).all())\n"
        "os._exit(0) if child == 0 else None\n"
        "assert os.waitpid(child, 0)[1] == 0"
    )
    subprocess.run([sys.executable, "-c", code], cwd="tests", check=True, timeout=120)


@every_sampler
def test_batches_may_lie_channels_last(kind: type[Sampler]) -> None:
    sampler = kind(Gaussian(1.0), 0)
    plain = samples(sampler, 0, 4, shape=(3, 4, 4))
    rows = Rows([Span(0, 3, Phase.CERTIFY, 0, 4)], CPU)
    batch = torch.empty(5, 3, 4, 4, memory_format=torch.channels_last).fill_(9.0)
    sampler.fill(batch, torch.zeros(1, 3, 4, 4), rows)
    assert torch.equal(batch[:4], plain)
    assert (batch[4] == 9.0).all(), "rows beyond are not touched"


@every_sampler
@pytest.mark.parametrize("seed", [-1, 2**64, 1.5, True, None])
def test_seed_outside_its_range(kind: type[Sampler], seed: object) -> None:
    with pytest.raises(InvalidInputError, match="seed must be an integer from 0"):
        inspect.unwrap(Sampler.__init__)(object.__new__(kind), Gaussian(1.0), seed)


def test_image_index_that_does_not_fit_the_counter() -> None:
    assert samples(HostSampler(Gaussian(1.0), 0), 0, 1, 2**63).isfinite().all()
    with pytest.raises(InvalidInputError, match="image index must be from 0 to 2\\*\\*32 - 1"):
        samples(DeviceSampler(Gaussian(1.0), 0), 0, 1, 2**32)
    with pytest.raises(InvalidInputError, match="image index"):
        samples(HostSampler(Gaussian(1.0), 0), 0, 1, -1)


def test_each_device_has_its_sampler() -> None:
    noise, key = Gaussian(1.0), SecretKey(bytes(32))
    host, gpu = (sampler_for(torch.device(device), noise) for device in ("cpu", "cuda"))
    assert (type(host), type(gpu)) == (HostSampler, DeviceSampler)
    assert type(sampler_for(torch.device("cuda"), noise, key)) is HostSampler, "the key stream is the CPU's"
    names = {"philox4x64-box-muller-cpu", "philox4x32-box-muller-torch", "chacha20-box-muller-cpu"}
    assert {host.name, gpu.name, HostSampler(noise, key).name} == names
    with pytest.raises(InvalidInputError, match="seed must be an integer"):
        DeviceSampler(noise, key)
