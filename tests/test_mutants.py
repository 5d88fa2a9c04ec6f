"""Mistakes that others have published, made on purpose: the tests must fail on each of them.

The mutants of confidence statements stand beside their enumeration, in `test_bounds.py`.
"""

import dataclasses
from typing import Any

import numpy as np
import pytest
from scipy.stats import norm

import test_smoothing
from certificates import test_certificates
from noiseproof.certificates import NeymanPearson, Renyi, base
from noiseproof.noises import Gaussian
from noiseproof.randomness import Phase, as_source
from noiseproof.sampling import HostSampler, Rows, words
from noises import test_noises
from sampling import test_samplers

IMAGES = np.random.default_rng(0).random((5, 3, 2, 2), dtype=np.float32)


def test_crossed_bounds_certified(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "separated", lambda p1, _: np.ones(np.shape(p1), dtype=bool))
    with pytest.raises((AssertionError, RuntimeWarning)):
        test_certificates.test_51_to_49_with_crossed_bounds(Renyi(), Gaussian(1.0))


def test_runner_up_not_clipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "clip_runner_up", lambda _, p2: p2)
    with pytest.raises(AssertionError):
        test_certificates.test_runner_up_is_clipped_to_what_is_left(NeymanPearson(), Gaussian(1.0))


@pytest.mark.parametrize("rounding", [0.0, -1e-12])
def test_radius_not_rounded_down(rounding: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "ROUNDING", rounding)
    caught = 0
    for p1, p2 in test_certificates.HARD_CASES + test_certificates.random_cases(25):
        try:
            test_certificates.test_radii_agree_with_40_digits_and_never_exceed_them(p1, p2)
        except AssertionError:
            caught += 1
    assert caught >= 5


def test_sigma_wrong_by_one_percent_in_the_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    def draw(self: Gaussian, like: Any, source: Any) -> Any:
        return source.normal(like).mul_(self.sigma * 1.01)

    monkeypatch.setattr(Gaussian, "draw", draw)
    with pytest.raises(AssertionError):
        test_noises.test_samples_follow_the_law_and_a_scale_wrong_by_one_percent_is_seen(
            Gaussian(0.25), norm(scale=0.25), "numpy"
        )


def test_sigma_wrong_by_one_percent_in_the_radius(monkeypatch: pytest.MonkeyPatch) -> None:
    right = Gaussian.quantile_gap
    monkeypatch.setattr(Gaussian, "quantile_gap", lambda self, p1, p2: 1.01 * right(self, p1, p2))
    with pytest.raises(AssertionError):
        test_certificates.test_half_space(1.0, 1.0)


def test_selection_and_certification_share_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    spans_differ_in(monkeypatch, phase=Phase.CERTIFY)
    with pytest.raises(AssertionError):
        test_smoothing.test_seed_image_and_phase_change_the_votes(IMAGES)


def test_every_image_gets_the_same_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    spans_differ_in(monkeypatch, index=0)
    with pytest.raises(AssertionError):
        test_smoothing.test_seed_image_and_phase_change_the_votes(IMAGES)


def test_every_batch_gets_the_same_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    """The mistake of a generator that is seeded anew for every batch."""
    spans_differ_in(monkeypatch, first=0)
    with pytest.raises(AssertionError):
        test_smoothing.test_votes_do_not_depend_on_the_batch_size(IMAGES, 7)


def test_noise_that_follows_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """One stream from which batches take what comes, as the peers do it."""
    generator = np.random.default_rng(0)
    right = HostSampler.source
    monkeypatch.setattr(HostSampler, "source", lambda self, rows: right(self, rows) and as_source(generator))
    with pytest.raises(AssertionError):
        test_smoothing.test_votes_do_not_depend_on_order_or_company(IMAGES)


def test_a_sample_that_reaches_into_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(words, "_PHILOX_STEP", 16)  # half the words of a sample are those of its neighbour
    with pytest.raises((AssertionError, ValueError)):
        test_samplers.test_host_sampler_is_what_its_docstring_says()


def test_padding_counted_as_votes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Rows, "__len__", lambda self: sum(span.count for span in self.spans) + 1)
    with pytest.raises((AssertionError, RuntimeError, IndexError)):
        test_smoothing.test_votes_do_not_depend_on_the_batch_size(IMAGES, 7)


def spans_differ_in(monkeypatch: pytest.MonkeyPatch, **same: Any) -> None:
    """Draw the noise of spans as if one of their fields were always the same."""
    right = HostSampler.source

    def source(self: HostSampler, rows: Rows) -> Any:
        return right(self, Rows([dataclasses.replace(span, **same) for span in rows.spans], rows.device))

    monkeypatch.setattr(HostSampler, "source", source)
