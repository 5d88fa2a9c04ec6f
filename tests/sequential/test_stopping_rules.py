"""From radii to levels, from votes that stopped to certificates, and `certify` with a radius or a precision."""

import copy
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
from sequential_rules import first_certifying

import noiseproof as npf
from mutation import fails, mutated
from noiseproof import smoothing
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
    CertifyRadii,
    EstimateRadius,
    IdentifyTopClass,
    Level,
    RadiiTest,
    SharedBudget,
    StoppingRule,
    first_reaching,
    fit_prior,
    level,
    log_threshold,
    rule_from,
    top_class_certain,
)
from noiseproof.sequential import certify_radii as stopping
from noiseproof.sequential import (
    exceeds as rules,
)
from noiseproof.sequential.certify_radii import required_radii

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
    assert level(Gaussian(1.0), 0.0) == Level(0.5, 0.5)


@pytest.mark.parametrize(
    ("noise", "radius", "certificate", "match"),
    [
        (
            Uniform(0.5),
            0.5,
            NeymanPearson(),
            r"radius must be less than 0\.499999 for Uniform\(half_width=0\.5\).*got 0\.5\.",
        ),
        (Uniform(0.5), 3.0, NeymanPearson(), "Ask for a smaller radius"),
        (Uniform(0.5), 0.1, FDivergence(KullbackLeibler()), r"radius must be 0 for Uniform.*and FDivergence; got 0\.1"),
        (Gaussian(1.0), 7.1, NeymanPearson(), r"less than 7\.04\d+ for Gaussian"),
        (Gaussian(1.0), 0.6, PixelDP(), r"less than 0\.5\d+ for Gaussian.* and PixelDP"),
        (Gaussian(1.0), 0.6, Theorem3(), "got Theorem3, which holds for Laplace noise"),
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
        with pytest.raises(InvalidInputError, match="radii must be"):
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
    test = CertifyRadii(r).under(Gaussian(1.0))
    expected = first_certifying(float(ndtr(r)), 0.001, np.arange(6), every_class=True).tolist()
    n = np.arange(1, 900)
    for f, (first, other) in enumerate(zip(expected, fixed, strict=True)):
        votes = np.stack([np.maximum(n - f, 0), np.full_like(n, f), np.zeros_like(n)], axis=-1)[n > 2 * f]
        found = test.certify(votes)
        assert votes.sum(-1)[found.prediction == 0].min() == first
        assert first - other in {0, 1}
        assert (found.radius == np.where(found.prediction == 0, r, 0.0)).all()
    assert test.votes_needed(3) == expected[0]
    assert expected == fixed or r == 0.5


@pytest.mark.parametrize("r", [0.5, 1.0, 2.0])
def test_a_constant_classifier_is_certified_as_soon_as_can_be(r: float) -> None:
    constant = npf.SmoothedClassifier(lambda x: np.full(len(x), 2), Gaussian(SIGMA), 4, batch_size=100)
    found = constant.certify(np.repeat(GREY, 3, axis=0), stop=CertifyRadii(r * SIGMA))
    needed = int(first_certifying(float(ndtr(r)), 0.001, np.array([0]), every_class=True)[0])
    assert found.votes.tolist() == [[0, 0, needed, 0]] * 3
    assert found.prediction.tolist() == [2, 2, 2]
    assert found.outcome is not None
    assert (found.outcome == CERTIFIED).all()


def test_too_few_samples_say_how_many_are_needed() -> None:
    no = npf.SmoothedClassifier(never, Gaussian(1.0), 10)
    far = int(first_reaching(float(ndtr(6.5)), math.log(1000), np.array([0]), q0=float(ndtr(-6.5)))[0])
    for radii, needed in ((1.0, 47), ([2.0, 1.0], 47), (6.5, far)):
        with pytest.raises(InvalidInputError, match="max_samples must be at least") as error:
            no.certify(GREY, stop=CertifyRadii(radii, max_samples=46))
        assert int(error.value.required.split()[2]) == pytest.approx(needed, rel=1e-4)
    test = EstimateRadius(0.1).under(Gaussian(1.0))
    needed = test.votes_needed(10)
    with pytest.raises(InvalidInputError, match=f"max_samples must be at least {needed} at alpha"):
        no.certify(GREY, stop=EstimateRadius(0.1, max_samples=needed - 1))
    votes = np.array([[needed - 1, 0], [needed, 0]])
    assert test.certify(votes).prediction.tolist() == [npf.ABSTAIN, 0]


# ---- certificates that do not lie ------------------------------------------------------------------------------------


@pytest.mark.parametrize("radii", [(0.1,), (0.05, 0.1)])
def test_radii_beyond_the_truth_are_rarely_certified(radii: tuple[float, ...]) -> None:
    """400 images whose radius is just below one that is asked for, alpha = .05: some are certified there, no more."""
    runs, alpha = 400, 0.05
    images = np.repeat(GREY, runs, axis=0)
    found = smoothed(0.1 * (1 - 1e-9)).certify(images, stop=CertifyRadii(radii, alpha=alpha, max_samples=150))
    wrong = (found.radius >= 0.1).mean()
    assert 0.2 * alpha < wrong <= alpha + 4 * math.sqrt(alpha / runs)
    assert (found.prediction[found.radius > 0] == 1).mean() >= 1 - alpha


def test_radii_within_the_truth_are_certified() -> None:
    images = np.repeat(GREY, 100, axis=0)
    found = smoothed(0.3).certify(images, stop=CertifyRadii([0.05, 0.15, 0.6], beta=0.01, max_samples=1000))
    assert (found.radius == 0.15).mean() >= 0.97
    assert (found.prediction == 1).mean() >= 0.97
    assert found.outcome is not None
    assert (found.outcome[:, 2] != CERTIFIED).all()
    assert found.votes.sum(-1).max() < 1000
    assert np.median(found.votes.sum(-1)) < 300


def test_a_coin_is_given_up() -> None:
    found = smoothed(0.0).certify(np.repeat(GREY, 100, axis=0), stop=CertifyRadii(0.25, beta=0.01))
    assert found.outcome is not None
    assert (found.outcome == FUTILE).mean() > 0.97
    assert np.median(found.votes.sum(-1)) < 60


def test_radius_to_a_relative_error() -> None:
    margin, runs, alpha, rtol = 0.3, 40, 0.05, 0.5
    found = smoothed(margin).certify(
        np.repeat(GREY, runs, axis=0), stop=EstimateRadius(rtol, alpha=alpha, max_samples=3000)
    )
    assert (found.radius > margin).mean() <= alpha + 4 * math.sqrt(alpha / runs)
    n = found.votes.sum(-1)
    stopped = n < 3000
    assert (found.radius[stopped] >= (1 - rtol) * margin).mean() >= 0.99
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
    test = CertifyRadii(radii.tolist()[::-1], alpha=0.01, certificate=certificate).under(noise)
    assert test.radii == tuple(radii)
    found = test.certify(votes)
    assert found.outcome is not None
    count = (found.outcome == CERTIFIED).sum(-1)
    assert (np.diff(found.outcome, axis=1) <= 0).all()
    assert set(count) == {0, 1, 2, 3, 4}
    np.testing.assert_array_equal(found.radius, np.concatenate([[0.0], radii])[count])
    np.testing.assert_array_equal(found.prediction, np.where(count > 0, votes.argmax(-1), npf.ABSTAIN))
    levels = np.array([0.0, *(each.p0 for each in test.levels)])
    np.testing.assert_array_equal(found.p1_lower, levels[count])
    assert (certificate.radius(noise, found.p1_lower, found.p2_upper) >= found.radius).all()
    np.testing.assert_array_equal(found.votes, votes)
    assert found.selection_votes is None
    know = EstimateRadius(0.2, alpha=0.01, certificate=certificate).under(noise).certify(votes)
    assert know.outcome is not None
    np.testing.assert_array_equal(know.outcome[:, 0] == CERTIFIED, know.prediction != npf.ABSTAIN)
    np.testing.assert_array_equal(know.radius > 0, know.prediction != npf.ABSTAIN)
    assert set(know.outcome.ravel()) == {CERTIFIED, UNDECIDED, FUTILE}
    none = votes.sum(-1) == 0
    assert none.any()
    assert (know.radius[none] == 0).all()
    assert (found.prediction[none] == npf.ABSTAIN).all()


# ---- the ways to ask -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "stop",
    [
        CertifyRadii([0.1, 0.2], alpha=0.05, max_samples=300),
        EstimateRadius(0.7, alpha=0.05, max_samples=300),
        SharedBudget(CertifyRadii(0.2, alpha=0.05, max_samples=300), 500),
    ],
)
def test_certificates_do_not_depend_on_batches(stop: StoppingRule) -> None:
    images = np.linspace(0.3, 0.8, 5, dtype=np.float32)[:, None]
    found = [smoothed(0.0, batch_size=size).certify(images, stop=stop, seed=3) for size in (40, 250)]
    for name in ("prediction", "radius", "p1_lower", "p2_upper", "votes", "outcome"):
        np.testing.assert_array_equal(getattr(found[0], name), getattr(found[1], name))
    assert len(np.unique(found[0].votes.sum(-1))) > 3
    assert found[0].votes.sum() <= (stop.samples if isinstance(stop, SharedBudget) else 10**9)


def test_a_budget_that_reaches_few_images() -> None:
    """An image without a vote abstains, whatever the rule."""
    for rule in (CertifyRadii(0.2), EstimateRadius(0.2)):
        found = smoothed(0.4).certify(np.repeat(GREY, 3, axis=0), stop=SharedBudget(rule, 70))
        assert found.votes.sum() == 70
        assert found.votes.sum(-1)[2] == 0
        assert found.prediction[2] == npf.ABSTAIN
        assert found.radius[2] == 0
        assert found.outcome is not None
        assert found.outcome[2].tolist() == [UNDECIDED]


def test_no_images_at_all() -> None:
    for rule in (CertifyRadii([0.1, 0.2]), EstimateRadius(0.2)):
        found = smoothed(0.4).certify(GREY[:0], stop=rule)
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
    found = classifier.certify(images, stop=IdentifyTopClass(alpha=0.01, max_samples=400))
    votes = found.votes
    np.testing.assert_array_equal(labels, np.where(top_class_certain(votes, 0.01), votes.argmax(-1), npf.ABSTAIN))
    np.testing.assert_array_equal(labels, found.prediction)
    assert found.outcome is not None
    np.testing.assert_array_equal(found.outcome[:, 0] == CERTIFIED, labels != npf.ABSTAIN)
    assert (found.radius == 0).all()
    assert votes.sum(-1)[2] < 20
    assert votes.sum(-1)[1] == 400
    assert sum(drawn) < 1.1 * votes.sum()


PRIOR = fit_prior(np.array([90, 80]), np.array([100, 100]))


@pytest.mark.parametrize(
    ("rule", "match"),
    [
        (lambda: CertifyRadii([0.1, 0.2], prior=PRIOR), "prior must be left out with several radii"),
        (lambda: CertifyRadii([]), "radii must be a number"),
        (lambda: CertifyRadii(-1.0), "radii must be >= 0"),
        (lambda: CertifyRadii([0.1, 0.1]), "each named once"),
        (lambda: CertifyRadii(0.1, alpha=0.0), "alpha must be"),
        (lambda: CertifyRadii(0.1, beta=1.0), "beta must be"),
        (lambda: CertifyRadii(0.1, max_samples=0), "max_samples must be an integer >= 1"),
        (lambda: EstimateRadius(1.0), "rtol must be in"),
        (lambda: EstimateRadius(0.0), "rtol must be in"),
        (lambda: EstimateRadius(0.1, alpha=1.0), "alpha must be"),
        (lambda: EstimateRadius(0.1, beta=0.0), "beta must be"),
        (lambda: EstimateRadius(0.1, max_samples=0), "max_samples must be an integer >= 1"),
        (lambda: IdentifyTopClass(alpha=0.0), "alpha must be"),
        (lambda: SharedBudget(CertifyRadii(0.1), 0), "samples must be an integer >= 1"),
        (lambda: npf.FixedSamples(0), "samples must be an integer >= 1"),
        (lambda: npf.FixedSamples(alpha=1.0), "alpha must be"),
    ],
)
def test_settings_outside_their_domain(rule: Callable[[], object], match: str) -> None:
    with pytest.raises(InvalidInputError, match=match):
        rule()


@pytest.mark.parametrize(
    ("asked", "match"),
    [
        ({"stop": CertifyRadii(100.0)}, "radius must be less than"),
        ({"stop": CertifyRadii(0.1, certificate=Theorem3())}, "got Theorem3, which holds for Laplace"),
        ({"stop": EstimateRadius(0.1, certificate=Theorem3())}, "got Theorem3, which holds for Laplace"),
        ({"stop": CertifyRadii(0.1), "seed": -1}, "seed must be"),
        ({"stop": CertifyRadii(0.1), "indices": [1, 1]}, "indices must be one for each"),
        ({"stop": CertifyRadii(0.1), "samples": 100}, "samples must be left out where stop is given"),
        ({"stop": EstimateRadius(0.1), "alpha": 0.01}, "alpha must be left out where stop is given"),
        ({"stop": npf.FixedSamples(100), "samples": 200}, "samples must be left out where stop is given"),
    ],
)
def test_what_certify_refuses_before_it_samples(asked: dict[str, object], match: str) -> None:
    with pytest.raises(InvalidInputError, match=match):
        npf.SmoothedClassifier(never, Gaussian(1.0), 2).certify(GREY, **asked)  # type: ignore[arg-type]


def test_parts_that_are_none() -> None:
    """What is no stopping rule, bound or certificate is named, with one that is."""
    fixed = npf.FixedSamples(10)  # types are not checked where users call it
    with pytest.raises(InvalidInputError, match=r"stop must be a stopping rule, such as CertifyRadii.*got 0.5"):
        inspect.unwrap(smoothing._rule)(0.5, None, None)
    for name in ("bound", "certificate"):
        broken = copy.copy(fixed)
        object.__setattr__(broken, name, "a")
        with pytest.raises(InvalidInputError, match=f"{name} must be an object, such as .*got 'a'"):
            inspect.unwrap(npf.FixedSamples.__post_init__)(broken)


def test_certify_has_few_parameters() -> None:
    assert len(inspect.signature(inspect.unwrap(npf.SmoothedClassifier.certify)).parameters) <= 9


# ---- records ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("noise", "certificate"),
    [*EVERY, (Gaussian(0.5), FDivergence(RenyiOrder(3.0))), (Gaussian(0.5), Renyi(min_order=1.0))],
    ids=str,
)
def test_rules_are_read_back(noise: Noise, certificate: Certificate) -> None:
    settings = {"alpha": 0.01, "beta": 0.02, "max_samples": 500, "certificate": certificate}
    for rule in (
        CertifyRadii([0.3, 0.1], **settings),  # type: ignore[arg-type]
        EstimateRadius(0.1, **settings),  # type: ignore[arg-type]
        CertifyRadii(0.3, alpha=0.01, certificate=certificate, prior=PRIOR),
    ):
        again = rule_from(json.loads(json.dumps(rule.spec())))
        assert again == rule
        assert again.spec() == rule.spec()
        if isinstance(rule, CertifyRadii):
            assert again.under(noise) == rule.under(noise)


def test_the_keys_of_records() -> None:
    """Records on disk have these."""
    common = {"alpha": 0.01, "beta": 0.001, "cap": 100_000, "certificate": {"name": "NeymanPearson"}}
    assert CertifyRadii([0.3, 0.1], alpha=0.01).spec() == common | {"radii": [0.1, 0.3], "lasting": True}
    assert CertifyRadii([0.3, 0.1], alpha=0.01, lasting=False).spec() == common | {"radii": [0.1, 0.3]}
    assert EstimateRadius(0.2, alpha=0.01).spec() == common | {"precision": 0.2}
    with pytest.raises(InvalidInputError, match="stop must be without a shared budget, for a record"):
        SharedBudget(CertifyRadii(0.1), 100).spec()


def test_certificates_that_a_record_cannot_name() -> None:
    class Longer(NeymanPearson):
        """Somebody's own."""

    with pytest.raises(
        InvalidInputError, match=r"certificate must be one of noiseproof.certificates, for a record.*add yours"
    ):
        CertifyRadii(0.1, certificate=Longer()).spec()


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
def test_damaged_records(change: dict[str, object], monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in (FDivergence, Renyi):  # types are not checked where users read records
        monkeypatch.setattr(kind, "__init__", inspect.unwrap(kind.__init__))
    spec = CertifyRadii(0.1, alpha=0.01).spec()
    with pytest.raises(InvalidInputError):
        rule_from(spec | change).under(Gaussian(1.0))


@pytest.mark.parametrize("name", ["radii", "alpha", "beta", "cap", "certificate"])
def test_incomplete_records(name: str) -> None:
    spec = CertifyRadii(0.1, alpha=0.01).spec()
    del spec[name]
    with pytest.raises(InvalidInputError, match=f"procedure must be .*{name}"):
        rule_from(spec)


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
        RadiiTest, "certify", mutated(RadiiTest.certify, "np.maximum(count - 1, 0)", "np.maximum(count, 1) * 0 - 1")
    )
    with pytest.raises(AssertionError):
        test_what_is_returned_fits_together(NeymanPearson())
