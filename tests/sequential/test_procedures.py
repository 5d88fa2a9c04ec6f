"""From radii to levels, from votes that stopped to certificates, and `certify` with a radius or a precision."""

import fractions
import inspect
import json
import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import ndtr

import noiseproof as npf
from mutation import fails, mutated
from noiseproof.bounds import TwoPhase
from noiseproof.certificates import (
    Certificate,
    FDivergence,
    KullbackLeibler,
    NeymanPearson,
    PixelDP,
    Renyi,
    RenyiOrder,
    Teng,
    Theorem3,
    TotalVariation,
)
from noiseproof.errors import InvalidInputError
from noiseproof.noises import Gaussian, Laplace, Noise, Uniform
from noiseproof.sequential import (
    CERTIFIED,
    FUTILE,
    UNDECIDED,
    IdentifyTopClass,
    first_certifying,
    first_reaching,
    fit_prior,
    log_threshold,
)
from noiseproof.sequential import certify_radii as stopping
from noiseproof.sequential import (
    exceeds as rules,
)
from noiseproof.sequential.certify_radii import DecideRadii, KnowRadius, level, procedure_from, required_radii

SIGMA = 0.25
GREY = np.full((1, 2), 0.5, dtype=np.float32)


def half_space(margin: float) -> Callable[[np.ndarray], np.ndarray]:
    """Class 1 where the first pixel exceeds 1/2 - margin: the true radius of a grey image is the margin."""
    return lambda x: (x.reshape(len(x), -1)[:, 0] > 0.5 - margin).astype(np.int64)


def smoothed(margin: float, *, batch_size: int = 512) -> npf.SmoothedClassifier:
    return npf.SmoothedClassifier(half_space(margin), Gaussian(SIGMA), 2, batch_size=batch_size)


def never(batch: object) -> object:
    raise AssertionError("the classifier was called although the input is wrong")


# ---- from a radius to a probability ----------------------------------------------------------------------------------

CLOSED: list[tuple[Noise, Callable[[float], float]]] = [
    (Gaussian(0.25), lambda r: float(ndtr(-r / 0.25))),
    (Gaussian(1.0), lambda r: float(ndtr(-r))),
    (Laplace(0.5), lambda r: 0.5 * math.exp(-r / 0.5)),
    (Uniform(2.0), lambda r: 0.5 - r / 4.0),
]


@pytest.mark.parametrize(("noise", "rest"), CLOSED)
def test_levels_in_closed_form(noise: Noise, rest: Callable[[float], float]) -> None:
    for r in (1e-6, 0.01, 0.3, 1.0, 1.6):
        found = level(noise, r)
        assert found.q0 == pytest.approx(rest(r), rel=1e-10, abs=2.3e-16)
        assert found.p0 == pytest.approx(1 - rest(r), abs=1e-12)
        assert fractions.Fraction(found.p0) + fractions.Fraction(found.q0) == 1, "what is tested is what is certified"


EVERY: list[tuple[Noise, Certificate]] = [
    (Gaussian(0.5), NeymanPearson()),
    (Laplace(0.5), NeymanPearson()),
    (Uniform(0.7), NeymanPearson()),
    (Gaussian(0.5), FDivergence(KullbackLeibler())),
    (Gaussian(0.5), FDivergence(TotalVariation())),
    (Laplace(0.5), Teng()),
    (Laplace(0.5), Theorem3()),
    (Uniform(0.7), FDivergence(TotalVariation())),
]


@pytest.mark.parametrize(("noise", "certificate"), EVERY, ids=str)
@given(r=st.floats(1e-9, 0.69))
def test_the_radius_of_a_level_is_no_shorter_than_what_was_asked(
    noise: Noise, certificate: Certificate, r: float
) -> None:
    assert_just_reached(noise, certificate, r)


def assert_just_reached(noise: Noise, certificate: Certificate, r: float) -> None:
    found = level(noise, r, certificate)
    assert certificate.radius(noise, found.p0, found.q0) >= r
    looser = found.q0 * (1 + 1e-9)
    assert certificate.radius(noise, 1 - looser, looser) < r or looser >= 0.5, "not more than it takes"


def test_levels_of_looser_certificates_are_higher() -> None:
    noise = Gaussian(0.5)
    for r in (0.1, 1.0):
        tight, paper = level(noise, r), level(noise, r, Renyi())
        assert tight.q0 > 1.04 * paper.q0
        assert Renyi().radius(noise, paper.p0, paper.q0) >= r


def test_no_radius_at_all() -> None:
    assert level(Gaussian(1.0), 0.0) == stopping.Level(0.5, 0.5)


@pytest.mark.parametrize(
    ("noise", "radius", "certificate", "match"),
    [
        (
            Uniform(0.5),
            0.5,
            NeymanPearson(),
            r"radius must be less than 0\.5 for Uniform\(half_width=0\.5\).*got 0\.5\.",
        ),
        (Uniform(0.5), 3.0, NeymanPearson(), "Ask for a smaller radius"),
        (Uniform(0.5), 0.1, FDivergence(KullbackLeibler()), r"radius must be 0 for Uniform.*and FDivergence; got 0\.1"),
        (Gaussian(1.0), 7.1, NeymanPearson(), r"less than 7\.04\d+ for Gaussian"),
        (Gaussian(1.0), 0.6, PixelDP(), r"less than 0\.5\d+ for Gaussian.* and PixelDP"),
        (Gaussian(1.0), 0.6, Theorem3(), "noise must be Laplace for Theorem3"),
        (Gaussian(1.0), -1.0, NeymanPearson(), "radius must be finite and >= 0"),
        (Gaussian(1.0), math.nan, NeymanPearson(), "radius must be finite and >= 0"),
        (Gaussian(1.0), math.inf, NeymanPearson(), "radius must be finite and >= 0"),
    ],
)
def test_radii_that_no_probability_reaches(noise: Noise, radius: float, certificate: Certificate, match: str) -> None:
    with pytest.raises(InvalidInputError, match=match):
        level(noise, radius, certificate)


def test_radii_as_they_are_given() -> None:
    plain = inspect.unwrap(required_radii)  # types are not checked where users call it
    assert plain(1) == (1.0,)
    assert plain([0.5, 0.25, 2]) == (0.25, 0.5, 2.0)
    assert plain(np.array([2, 1])) == (1.0, 2.0)
    for bad in (
        [],
        [0.1, 0.1],
        -0.5,
        [0.1, -0.5],
        math.nan,
        [0.1, math.inf],
        "a",
        [[0.1], [0.2]],
        [[0.1, 0.2], [0.3]],
        True,
    ):
        with pytest.raises(InvalidInputError, match="radius must be"):
            plain(bad)


# ---- the votes that it takes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("r", "fixed"),
    [
        (0.5, [22, 32, 39, 46, 52, 58]),
        (1.0, [47, 67, 82, 95, 108, 120]),
        (2.0, [351, 495, 605, 703, 794, 879]),
    ],
)
def test_first_certifying_numbers_of_votes(r: float, fixed: list[int]) -> None:
    """`fixed`: of a class that was fixed before. For whichever class leads, the same or the next number."""
    procedure = DecideRadii(Gaussian(1.0), r, alpha=0.001)
    expected = first_certifying(float(ndtr(r)), 0.001, np.arange(6), every_class=True).tolist()
    n = np.arange(1, 900)
    for f, (first, other) in enumerate(zip(expected, fixed, strict=True)):
        votes = np.stack([np.maximum(n - f, 0), np.full_like(n, f), np.zeros_like(n)], axis=-1)[n > 2 * f]
        found = procedure.read(votes)
        assert votes.sum(-1)[found.prediction == 0].min() == first
        assert first - other in {0, 1}
        assert (found.radius == np.where(found.prediction == 0, r, 0.0)).all()
    assert procedure.votes_needed(3) == expected[0]
    assert expected == fixed or r == 0.5


@pytest.mark.parametrize("r", [0.5, 1.0, 2.0])
def test_a_constant_classifier_is_certified_as_soon_as_can_be(r: float) -> None:
    constant = npf.SmoothedClassifier(lambda x: np.full(len(x), 2), Gaussian(SIGMA), 4, batch_size=100)
    found = constant.certify(np.repeat(GREY, 3, axis=0), radius=r * SIGMA)
    needed = int(first_certifying(float(ndtr(r)), 0.001, np.array([0]), every_class=True)[0])
    assert found.votes.tolist() == [[0, 0, needed, 0]] * 3
    assert found.prediction.tolist() == [2, 2, 2]
    assert found.outcome is not None
    assert (found.outcome == CERTIFIED).all()


def test_too_few_samples_say_how_many_are_needed() -> None:
    no = npf.SmoothedClassifier(never, Gaussian(1.0), 10)
    far = int(first_reaching(float(ndtr(6.5)), math.log(1000), np.array([0]), q0=float(ndtr(-6.5)))[0])
    for asked, needed in (({"radius": 1.0}, 47), ({"radius": [2.0, 1.0]}, 47), ({"radius": 6.5}, far)):
        with pytest.raises(InvalidInputError, match="samples must be at least") as error:
            no.certify(GREY, samples=46, **asked)  # type: ignore[arg-type]
        assert int(error.value.required.split()[2]) == pytest.approx(needed, rel=1e-4)
    needed = KnowRadius(Gaussian(1.0), 0.1, alpha=0.001).votes_needed(10)
    with pytest.raises(InvalidInputError, match=f"samples must be at least {needed} at alpha"):
        no.certify(GREY, precision=0.1, samples=needed - 1)
    votes = np.array([[needed - 1, 0], [needed, 0]])
    assert KnowRadius(Gaussian(1.0), 0.1, alpha=0.001).read(votes).prediction.tolist() == [npf.ABSTAIN, 0]


# ---- certificates that do not lie ------------------------------------------------------------------------------------


@pytest.mark.parametrize("radii", [(0.1,), (0.05, 0.1)])
def test_radii_beyond_the_truth_are_rarely_certified(radii: tuple[float, ...]) -> None:
    """400 images whose radius is just below one that is asked for, alpha = .05: some are certified there, no more."""
    runs, alpha = 400, 0.05
    images = np.repeat(GREY, runs, axis=0)
    found = smoothed(0.1 * (1 - 1e-9)).certify(images, radius=radii, alpha=alpha, samples=150)
    wrong = (found.radius >= 0.1).mean()
    assert 0.2 * alpha < wrong <= alpha + 4 * math.sqrt(alpha / runs)
    assert (found.prediction[found.radius > 0] == 1).mean() >= 1 - alpha


def test_radii_within_the_truth_are_certified() -> None:
    images = np.repeat(GREY, 100, axis=0)
    found = smoothed(0.3).certify(images, radius=[0.05, 0.15, 0.6], beta=0.01, samples=1000)
    assert (found.radius == 0.15).mean() >= 0.97
    assert (found.prediction == 1).mean() >= 0.97
    assert found.outcome is not None
    assert (found.outcome[:, 2] != CERTIFIED).all()
    assert found.votes.sum(-1).max() < 1000
    assert np.median(found.votes.sum(-1)) < 300


def test_a_coin_is_given_up() -> None:
    found = smoothed(0.0).certify(np.repeat(GREY, 100, axis=0), radius=0.25, beta=0.01)
    assert found.outcome is not None
    assert (found.outcome == FUTILE).mean() > 0.97
    assert np.median(found.votes.sum(-1)) < 60


def test_radius_to_a_precision() -> None:
    margin, runs, alpha, precision = 0.3, 40, 0.05, 0.5
    found = smoothed(margin).certify(np.repeat(GREY, runs, axis=0), precision=precision, alpha=alpha, samples=3000)
    assert (found.radius > margin).mean() <= alpha + 4 * math.sqrt(alpha / runs)
    n = found.votes.sum(-1)
    stopped = n < 3000
    assert (found.radius[stopped] >= (1 - precision) * margin).mean() >= 0.99
    assert stopped.mean() > 0.9
    assert np.median(n) < 700
    np.testing.assert_array_equal(found.radius, NeymanPearson().radius(Gaussian(SIGMA), found.p1_lower, found.p2_upper))
    assert found.outcome is not None
    assert (found.outcome[:, 0] == CERTIFIED).all()


@pytest.mark.parametrize("certificate", [NeymanPearson(), FDivergence(KullbackLeibler())])
def test_what_is_returned_fits_together(certificate: Certificate) -> None:
    """Any votes: of random images, decided, undecided or not looked at at all."""
    rng = np.random.default_rng(0)
    votes = rng.multinomial(rng.integers(0, 400, 500), rng.dirichlet([5, 0.5, 0.1], 500))
    votes[:9] = 80
    votes[9] = 0
    noise, radii = Gaussian(1.0), np.array([0.0, 0.3, 1.0, 1.5])
    procedure = DecideRadii(noise, radii.tolist()[::-1], alpha=0.01, certificate=certificate)
    assert procedure.radii == tuple(radii)
    found = procedure.read(votes)
    assert found.outcome is not None
    count = (found.outcome == CERTIFIED).sum(-1)
    assert (np.diff(found.outcome, axis=1) <= 0).all()
    assert set(count) == {0, 1, 2, 3, 4}
    np.testing.assert_array_equal(found.radius, np.concatenate([[0.0], radii])[count])
    np.testing.assert_array_equal(found.prediction, np.where(count > 0, votes.argmax(-1), npf.ABSTAIN))
    levels = np.array([0.0, *(each.p0 for each in procedure.goal.levels)])
    np.testing.assert_array_equal(found.p1_lower, levels[count])
    assert (certificate.radius(noise, found.p1_lower, found.p2_upper) >= found.radius).all()
    np.testing.assert_array_equal(found.votes, votes)
    assert found.selection_votes is None
    know = KnowRadius(noise, 0.2, alpha=0.01, certificate=certificate).read(votes)
    assert know.outcome is not None
    np.testing.assert_array_equal(know.outcome[:, 0] == CERTIFIED, know.prediction != npf.ABSTAIN)
    np.testing.assert_array_equal(know.radius > 0, know.prediction != npf.ABSTAIN)
    assert set(know.outcome.ravel()) == {CERTIFIED, UNDECIDED, FUTILE}
    none = votes.sum(-1) == 0
    assert none.any()
    assert (know.radius[none] == 0).all()
    assert (found.prediction[none] == npf.ABSTAIN).all()


# ---- the ways to ask -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("asked", [{"radius": [0.1, 0.2]}, {"precision": 0.7}, {"radius": 0.2, "budget": 500}])
def test_certificates_do_not_depend_on_batches(asked: dict[str, object]) -> None:
    images = np.linspace(0.3, 0.8, 5, dtype=np.float32)[:, None]
    found = [
        smoothed(0.0, batch_size=size).certify(images, alpha=0.05, samples=300, seed=3, **asked)  # type: ignore[arg-type]
        for size in (40, 250)
    ]
    for name in ("prediction", "radius", "p1_lower", "p2_upper", "votes", "outcome"):
        np.testing.assert_array_equal(getattr(found[0], name), getattr(found[1], name))
    assert len(np.unique(found[0].votes.sum(-1))) > 3
    assert found[0].votes.sum() <= asked.get("budget", 10**9)


def test_a_budget_that_reaches_few_images() -> None:
    """An image without a vote abstains, whatever was asked for."""
    for asked in ({"radius": 0.2}, {"precision": 0.2}):
        found = smoothed(0.4).certify(np.repeat(GREY, 3, axis=0), budget=70, **asked)  # type: ignore[arg-type]
        assert found.votes.sum() == 70
        assert found.votes.sum(-1)[2] == 0
        assert found.prediction[2] == npf.ABSTAIN
        assert found.radius[2] == 0
        assert found.outcome is not None
        assert found.outcome[2].tolist() == [UNDECIDED]


def test_no_images_at_all() -> None:
    for asked in ({"radius": [0.1, 0.2]}, {"precision": 0.2}):
        found = smoothed(0.4).certify(GREY[:0], **asked)  # type: ignore[arg-type]
        assert found.radius.shape == (0,)
        assert found.outcome is not None
        assert len(found.outcome) == 0
    assert smoothed(0.4).predict(GREY[:0]).shape == (0,)


def test_predictions_stop_when_they_are_certain() -> None:
    images = np.array([[0.2], [0.5], [0.9], [0.55]], dtype=np.float32)
    drawn: list[int] = []
    classifier = smoothed(0.0, batch_size=16)
    labels = classifier.predict(images, samples=400, alpha=0.01, progress=drawn.append)
    assert labels.tolist()[:3] == [0, npf.ABSTAIN, 1]
    goal = IdentifyTopClass(0.01, 400, 2)
    votes = classifier.count_until(images, goal)
    np.testing.assert_array_equal(labels, np.where(goal.certain(votes), votes.argmax(-1), npf.ABSTAIN))
    assert votes.sum(-1)[2] < 20
    assert votes.sum(-1)[1] == 400
    assert sum(drawn) < 1.1 * votes.sum()


PRIOR = fit_prior(np.array([90, 80]), np.array([100, 100]))


@pytest.mark.parametrize(
    ("asked", "match"),
    [
        ({"radius": 0.1, "precision": 0.1}, "radius and precision must be one of them"),
        ({"radius": 0.1, "bound": TwoPhase()}, "bound must be left out"),
        ({"precision": 0.1, "bound": TwoPhase()}, "bound must be left out"),
        ({"budget": 100}, "budget must be given with radius or precision"),
        ({"prior": PRIOR}, "prior must be given with radius"),
        ({"precision": 0.1, "prior": PRIOR}, "prior must be given with radius"),
        ({"radius": [0.1, 0.2], "prior": PRIOR}, "prior must be with one radius"),
        ({"radius": []}, "radius must be a number"),
        ({"radius": -1.0}, "radius must be >= 0"),
        ({"radius": [0.1, 0.1]}, "each named once"),
        ({"radius": 100.0}, "radius must be less than"),
        ({"radius": 0.1, "certificate": Theorem3()}, "noise must be Laplace"),
        ({"precision": 0.1, "certificate": Theorem3()}, "noise must be Laplace"),
        ({"precision": 1.0}, "precision must be in"),
        ({"precision": 0.0}, "precision must be in"),
        ({"radius": 0.1, "alpha": 0.0}, "alpha must be"),
        ({"precision": 0.1, "alpha": 1.0}, "alpha must be"),
        ({"radius": 0.1, "beta": 1.0}, "beta must be"),
        ({"radius": 0.1, "samples": 0}, "samples must be an integer >= 1"),
        ({"precision": 0.1, "samples": 0}, "samples must be an integer >= 1"),
        ({"radius": 0.1, "budget": 0}, "budget must be an integer >= 1"),
        ({"radius": 0.1, "seed": -1}, "seed must be"),
        ({"beta": 0.1}, "beta must be given with radius"),
        ({"radius": 0.1, "indices": [1, 1]}, "indices must be one for each"),
    ],
)
def test_options_that_do_not_go_together(asked: dict[str, object], match: str) -> None:
    with pytest.raises(InvalidInputError, match=match):
        npf.SmoothedClassifier(never, Gaussian(1.0), 2).certify(GREY, **asked)  # type: ignore[arg-type]


# ---- records ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("noise", "certificate"),
    [*EVERY, (Gaussian(0.5), FDivergence(RenyiOrder(3.0))), (Gaussian(0.5), Renyi(min_order=1.0))],
    ids=str,
)
def test_procedures_are_read_back(noise: Noise, certificate: Certificate) -> None:
    decide = DecideRadii(noise, [0.3, 0.1], alpha=0.01, beta=0.02, cap=500, certificate=certificate)
    know = KnowRadius(noise, 0.1, alpha=0.01, beta=0.02, cap=500, certificate=certificate)
    prior = DecideRadii(noise, 0.3, alpha=0.01, certificate=certificate, prior=PRIOR)
    for procedure in (decide, know, prior):
        spec = procedure.spec()
        again = procedure_from(noise, json.loads(json.dumps(spec)))
        assert type(again) is type(procedure)
        assert again.spec() == spec
        if isinstance(again, DecideRadii) and isinstance(procedure, DecideRadii):
            assert again.goal == procedure.goal
            assert (again.radii, again.certificate) == (procedure.radii, certificate)
        if isinstance(again, KnowRadius):
            assert (again.noise, again.certificate, again.goal.cap) == (noise, certificate, 500)


def test_certificates_that_a_record_cannot_name() -> None:
    class Longer(NeymanPearson):
        """Somebody's own."""

    with pytest.raises(InvalidInputError, match=r"certificate must be made of .*NeymanPearson.*add yours"):
        DecideRadii(Gaussian(1.0), 0.1, alpha=0.01, certificate=Longer()).spec()


@pytest.mark.parametrize(
    "change",
    [
        {"certificate": "NeymanPearson"},
        {"certificate": None},
        {"certificate": {}},
        {"certificate": {"name": "Nobody"}},
        {"certificate": {"name": "KullbackLeibler"}},
        {"certificate": {"name": "NeymanPearson", "more": 1}},
        {"certificate": {"name": "FDivergence", "divergence": {"name": "NeymanPearson"}}},
        {"certificate": {"name": "Renyi", "min_order": "a"}},
        {"radii": None},
        {"radii": "a"},
        {"radii": [[0.1, 0.2], [0.3]]},
        {"radii": [0.1, 0.1]},
        {"precision": "a"},
        {"alpha": "a"},
        {"beta": None},
        {"cap": 0.5},
        {"prior": {"points": 3}},
    ],
    ids=str,
)
def test_damaged_records(change: dict[str, object]) -> None:
    spec = DecideRadii(Gaussian(1.0), 0.1, alpha=0.01).spec()
    with pytest.raises(InvalidInputError):
        procedure_from(Gaussian(1.0), spec | change)


@pytest.mark.parametrize("name", ["radii", "alpha", "beta", "cap", "certificate"])
def test_incomplete_records(name: str) -> None:
    spec = DecideRadii(Gaussian(1.0), 0.1, alpha=0.01).spec()
    del spec[name]
    with pytest.raises(InvalidInputError, match=f"procedure must be .*{name}"):
        procedure_from(Gaussian(1.0), spec)


# ---- mutants: each must fail a test above ----------------------------------------------------------------------------


@pytest.mark.parametrize("slack", [-math.log(2), math.log(2)])
def test_another_threshold_is_caught(slack: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "log_threshold", lambda *args, **rest: log_threshold(*args, **rest) + slack)
    with pytest.raises(AssertionError):
        test_first_certifying_numbers_of_votes(1.0, [47, 67, 82, 95, 108, 120])
    with pytest.raises(AssertionError):
        test_a_constant_classifier_is_certified_as_soon_as_can_be(1.0)


@pytest.mark.parametrize("factor", [1 + 1e-12, 1 - 1e-8])
def test_levels_on_the_other_side_are_caught(factor: float, monkeypatch: pytest.MonkeyPatch) -> None:
    new = f"p0 = 1.0 - float(np.exp(low)) * {factor!r}"
    monkeypatch.setitem(globals(), "level", mutated(level, "p0 = 1.0 - float(np.exp(low))", new))
    assert any(fails(assert_just_reached, *EVERY[0], r) for r in (0.1, 0.2, 0.4))


def test_futility_that_certifies_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "FUTILE", CERTIFIED)
    with pytest.raises(AssertionError):
        test_a_coin_is_given_up()


def test_a_level_of_half_the_radius_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """The mistake of certifying r by the probability of a smaller one."""
    monkeypatch.setattr(stopping, "level", lambda noise, r, *rest: level(noise, 0.5 * r, *rest))
    with pytest.raises(AssertionError):
        test_radii_beyond_the_truth_are_rarely_certified((0.1,))


def test_the_largest_radius_whatever_was_certified_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        DecideRadii, "read", mutated(DecideRadii.read, "np.maximum(count - 1, 0)", "np.maximum(count, 1) * 0 - 1")
    )
    with pytest.raises(AssertionError):
        test_what_is_returned_fits_together(NeymanPearson())
