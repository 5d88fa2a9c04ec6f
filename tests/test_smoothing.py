"""Algorithm 1 from the user's side: any classifier, any batch size, bad input, and certificates that do not lie."""

import inspect
import warnings
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.special import ndtr
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn

import noiseproof as npf
from noiseproof.bounds import Bonferroni, TwoPhase
from noiseproof.certificates import Renyi, Theorem3
from noiseproof.certified import FixedSamples
from noiseproof.classifiers.base import BaseClassifier
from noiseproof.classifiers.batching import default_batch_size
from noiseproof.errors import InvalidInputError
from noiseproof.noises import Gaussian, Laplace
from noiseproof.randomness import Phase
from noiseproof.sampling import HostSampler, Rows, Span
from noiseproof.sequential import CertifyRadii, EstimateRadius, SharedBudget, StoppingRule

PROBES = 6
"""Batches that the classifier is tried on first."""


def half_space(threshold: float) -> Callable[[Tensor], Tensor]:
    """Class 1 where the first pixel exceeds the threshold: the true radius is the distance to it."""
    return lambda x: torch.as_tensor(x.reshape(len(x), -1)[:, 0] > threshold).long()


class SmallNet(nn.Module):
    """With batch norm and dropout, which must not act while certifying."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(12, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).random((5, 3, 2, 2), dtype=np.float32)


def small_net() -> SmallNet:
    torch.manual_seed(0)
    return SmallNet()


# ---- the noise, and with it the votes, depend on (seed, image, sample) alone -----------------------------------------


@pytest.mark.parametrize("batch_size", [1, 7, 64, 100, 256, 100_000])
def test_votes_do_not_depend_on_the_batch_size(images: np.ndarray, batch_size: int) -> None:
    def votes(size: int) -> np.ndarray:
        smoothed = npf.SmoothedClassifier(small_net().double().float(), Gaussian(0.5), 3, batch_size=size)
        return smoothed.certify(images, samples=150, seed=3).votes

    np.testing.assert_array_equal(votes(batch_size), votes(33))


def test_votes_do_not_depend_on_order_or_company(images: np.ndarray) -> None:
    smoothed = npf.SmoothedClassifier(small_net(), Gaussian(0.5), 3)
    together = smoothed.certify(images, samples=100).votes
    backwards = smoothed.certify(images[::-1].copy(), samples=100, indices=[4, 3, 2, 1, 0]).votes
    np.testing.assert_array_equal(together, backwards[::-1])
    for index in range(5):
        alone = smoothed.certify(images[index : index + 1], samples=100, indices=[index]).votes
        np.testing.assert_array_equal(alone[0], together[index])


def test_seed_image_and_phase_change_the_votes(images: np.ndarray) -> None:
    same = np.repeat(images[:1], 2, axis=0)
    smoothed = npf.SmoothedClassifier(small_net(), Gaussian(0.5), 3)
    certified = smoothed.certify(same, stop=npf.FixedSamples(1000, bound=TwoPhase(selection_samples=1000)))
    assert (certified.votes[0] != certified.votes[1]).any()
    assert certified.selection_votes is not None
    assert (certified.votes != certified.selection_votes).any()
    assert (smoothed.certify(same, samples=1000, seed=1).votes != certified.votes).any()
    each = [smoothed.count(same[:1], samples=1000, phase=phase) for phase in Phase]
    np.testing.assert_array_equal(each[Phase.CERTIFY], certified.votes[:1])
    np.testing.assert_array_equal(each[Phase.SELECT], certified.selection_votes[:1])
    assert len({votes.tobytes() for votes in each}) == len(Phase)


def test_the_classifier_sees_image_plus_keyed_noise() -> None:
    """The rows a classifier gets are exactly x + sigma z, unclipped, with z from the stream of the image's index."""
    seen: list[np.ndarray] = []

    def spy(batch: np.ndarray) -> np.ndarray:
        seen.append(batch.copy())
        return np.zeros(len(batch), dtype=np.int64)

    image = np.full((1, 4), 0.5, dtype=np.float32)
    npf.SmoothedClassifier(spy, Gaussian(2.0), 2, batch_size=10).count(image, samples=70, seed=5, indices=[9])
    rows = np.concatenate(seen[PROBES:])[:70]
    drawn = torch.empty(70, 4)
    HostSampler(Gaussian(2.0), 5).fill(
        drawn, torch.from_numpy(image), Rows([Span(0, 9, Phase.CERTIFY, 0, 70)], torch.device("cpu"))
    )
    np.testing.assert_array_equal(rows, drawn.numpy())
    assert rows.min() < 0
    assert rows.max() > 1
    assert {len(batch) for batch in seen} == {10}


# ---- what it returns -------------------------------------------------------------------------------------------------


def test_half_space_is_certified_close_to_its_distance() -> None:
    margins = np.array([0.05, 0.2, 0.45])
    images = np.zeros((3, 2, 2), dtype=np.float32)
    images[:, 0, 0] = 0.5
    for margin, image in zip(margins, images, strict=True):
        smoothed = npf.SmoothedClassifier(half_space(0.5 - margin), Gaussian(0.25), 2)
        certified = smoothed.certify(image[None], samples=20_000, seed=1)
        assert certified.prediction[0] == 1
        assert 0.85 * margin - 0.01 < certified.radius[0] <= margin


def test_certificates_fail_no_more_often_than_alpha() -> None:
    """Half-space with a known radius, 3000 independent certifications: how often does L exceed the truth?"""
    alpha, margin, runs = 0.05, 0.1, 3000
    images = np.full((runs, 1, 1), 0.5, dtype=np.float32)
    smoothed = npf.SmoothedClassifier(half_space(0.5 - margin), Gaussian(0.25), 2)
    certified = smoothed.certify(images, samples=200, alpha=alpha)
    failures = (certified.radius > margin).mean()
    assert failures <= alpha + 4 * np.sqrt(alpha / runs)
    assert failures > 0.3 * alpha  # votes are whole numbers, so exactly alpha is out of reach
    share = certified.votes[:, 1].mean() / 200
    assert share == pytest.approx(ndtr(margin / 0.25), abs=4 * 0.5 / np.sqrt(200 * runs))


def test_one_class_only() -> None:
    certified = npf.SmoothedClassifier(lambda x: np.full(len(x), 2), Gaussian(1.0), 4).certify(
        np.full((2, 3), 0.5, dtype=np.float32), samples=1000, alpha=0.001
    )
    assert certified.prediction.tolist() == [2, 2]
    assert certified.radius == pytest.approx([2.4633, 2.4633], abs=1e-4)


def test_a_coin_abstains() -> None:
    """A classifier that answers by the sign of the noise alone: p = 1/2 for both classes."""
    coin = half_space(0.5)
    images = np.full((2000, 1), 0.5, dtype=np.float32)
    smoothed = npf.SmoothedClassifier(coin, Gaussian(1.0), 2)
    certified = smoothed.certify(images, samples=100, alpha=0.05)
    named = (certified.prediction != npf.ABSTAIN).mean()
    assert named <= 0.05 + 4 * np.sqrt(0.05 / 2000)
    assert (certified.radius[certified.prediction == npf.ABSTAIN] == 0).all()
    assert (smoothed.predict(images, samples=100, alpha=0.05) != npf.ABSTAIN).mean() <= 0.05 + 4 * np.sqrt(0.05 / 2000)


def test_predict_names_and_abstains() -> None:
    images = np.array([[0.1], [0.5], [0.9]], dtype=np.float32)
    labels = npf.SmoothedClassifier(half_space(0.5), Gaussian(0.1), 2).predict(images, samples=500)
    assert labels.tolist() == [0, npf.ABSTAIN, 1]
    assert labels.dtype == np.int64


def test_bound_and_certificate_are_exchangeable(images: np.ndarray) -> None:
    smoothed = npf.SmoothedClassifier(half_space(-0.5), Gaussian(0.25), 2)
    tight = smoothed.certify(images, samples=500)
    paper = smoothed.certify(images, stop=npf.FixedSamples(500, bound=Bonferroni(), certificate=Renyi()))
    np.testing.assert_array_equal(tight.votes, paper.votes)
    assert paper.selection_votes is None
    assert (paper.radius < tight.radius).all()
    again = npf.certify_votes(tight.votes, Gaussian(0.25), alpha=0.001, selection_votes=tight.selection_votes)
    np.testing.assert_array_equal(again.radius, tight.radius)


@pytest.mark.parametrize(
    "stop",
    [
        FixedSamples(100, certificate=Theorem3()),
        CertifyRadii(0.1, certificate=Theorem3()),
        CertifyRadii(0.0, certificate=Theorem3()),
        EstimateRadius(rtol=0.1, certificate=Theorem3()),
        SharedBudget(CertifyRadii(0.1, certificate=Theorem3()), 1000),
    ],
    ids=str,
)
def test_a_certificate_for_another_noise_is_refused_before_the_first_vote(
    stop: FixedSamples | StoppingRule, images: np.ndarray
) -> None:
    called: list[int] = []
    smoothed = npf.SmoothedClassifier(lambda x: called.append(len(x)) or np.zeros(len(x), int), Gaussian(0.5), 10)
    with pytest.raises(
        InvalidInputError,
        match="certificate must be one for Gaussian noise; got Theorem3, which holds for Laplace noise",
    ):
        smoothed.certify(images, stop=stop)
    assert not called


def test_the_runner_up_is_refused_under_other_noise_before_the_first_vote(images: np.ndarray) -> None:
    called: list[int] = []
    smoothed = npf.SmoothedClassifier(lambda x: called.append(len(x)) or np.zeros(len(x), int), Laplace(0.5), 10)
    with pytest.raises(InvalidInputError, match="noise must be Gaussian noise, with runner_up=; got Laplace"):
        smoothed.certify(images, stop=CertifyRadii(0.1, runner_up=True))
    assert not called


def test_flipped_images_are_images(images: np.ndarray) -> None:
    smoothed = npf.SmoothedClassifier(small_net(), Gaussian(0.5), 3)
    flipped = images[:, :, :, ::-1]
    np.testing.assert_array_equal(smoothed.count(flipped, samples=50), smoothed.count(flipped.copy(), samples=50))


def test_no_images_at_all() -> None:
    certified = npf.SmoothedClassifier(half_space(0.5), Gaussian(1.0), 2).certify(
        np.zeros((0, 4), dtype=np.float32), samples=50
    )
    assert certified.radius.shape == (0,)


# ---- any classifier --------------------------------------------------------------------------------------------------


def test_torch_module_in_training_mode_is_certified_in_evaluation_mode(images: np.ndarray) -> None:
    net = small_net().train()
    net.layers[3].eval()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    votes = npf.SmoothedClassifier(net, Gaussian(0.5), 3).certify(torch.from_numpy(images), samples=100).votes
    assert (votes == npf.SmoothedClassifier(net.eval(), Gaussian(0.5), 3).certify(images, samples=100).votes).all()
    net.train()
    net.layers[3].eval()
    npf.SmoothedClassifier(net, Gaussian(0.5), 3).predict(images, samples=100)
    assert net.training
    assert not net.layers[3].training, "each part keeps its own mode"
    for name, value in net.state_dict().items():
        assert torch.equal(value, before[name]), "batch statistics must not move"


def test_scikit_learn_predict() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.random((200, 6), dtype=np.float32), rng.integers(0, 3, 200)
    model = LogisticRegression().fit(x, y)
    smoothed = npf.SmoothedClassifier(model.predict, Gaussian(0.1), 3)
    assert smoothed.predict(x[:4], samples=200).shape == (4,)
    with pytest.raises(npf.InvalidInputError, match=r"classifier=estimator.predict"):
        inspect.unwrap(BaseClassifier.__init__)(object.__new__(BaseClassifier), model, num_classes=3)


def test_callables_get_the_kind_of_array_the_images_are() -> None:
    kinds = []

    def spy(batch: object) -> object:
        kinds.append(type(batch))
        return np.zeros(len(batch), dtype=np.int64)  # type: ignore[arg-type]

    smoothed = npf.SmoothedClassifier(spy, Gaussian(0.1), 2)
    smoothed.predict(np.zeros((1, 2), dtype=np.float32), samples=20)
    assert set(kinds) == {np.ndarray}
    kinds.clear()
    smoothed.predict(torch.zeros(1, 2), samples=20)
    assert set(kinds) == {torch.Tensor}
    assert len(kinds) == PROBES + 1
    smoothed.predict(torch.zeros(1, 2), samples=20)
    assert len(kinds) == PROBES + 2, "it is tried once"


def test_scores_and_labels_are_the_same(images: np.ndarray) -> None:
    net = small_net().eval()
    scores = npf.SmoothedClassifier(net, Gaussian(0.5), 3).certify(images, samples=100).votes
    labels = npf.SmoothedClassifier(lambda x: net(torch.from_numpy(x)).argmax(1), Gaussian(0.5), 3)
    np.testing.assert_array_equal(labels.certify(images, samples=100).votes, scores)


# ---- bad input: found before time is spent ---------------------------------------------------------------------------


def never(batch: object) -> object:
    raise AssertionError("the classifier was called although the input is wrong")


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (np.full((1, 4), np.nan, dtype=np.float32), "NaN or infinity"),
        (np.full((1, 4), np.inf, dtype=np.float32), "NaN or infinity"),
        (np.full((1, 4), 1.5, dtype=np.float32), "values from 1.5 to 1.5"),
        (np.full((1, 4), -0.5, dtype=np.float32), "Scale pixels"),
        (np.full((1, 4), 128, dtype=np.uint8), "divide by 255"),
        (np.zeros(4, dtype=np.float32), "Add a batch axis"),
        ([[0.5]], "list"),
    ],
)
@pytest.mark.parametrize("call", ["certify", "predict"])
def test_images_that_are_no_pixels(images: object, said: str, call: str) -> None:
    from noiseproof.classifiers.inputs import as_pixels

    with pytest.raises(npf.InvalidInputError, match=said):
        as_pixels(images)
    if isinstance(images, np.ndarray) and images.dtype == np.float32:
        with pytest.raises(npf.InvalidInputError, match=said):
            getattr(npf.SmoothedClassifier(never, Gaussian(1.0), 2), call)(images, samples=100)


def test_too_few_samples_say_how_many_are_needed() -> None:
    smoothed, images = npf.SmoothedClassifier(never, Gaussian(1.0), 10), np.full((1, 4), 0.5, dtype=np.float32)
    with pytest.raises(npf.InvalidInputError, match=r"samples must be at least 10 at alpha = 0\.001"):
        smoothed.certify(images, samples=9)
    with pytest.raises(npf.InvalidInputError, match="samples must be at least 15"):
        smoothed.certify(images, stop=npf.FixedSamples(14, bound=Bonferroni()))
    with pytest.raises(npf.InvalidInputError, match="samples must be at least 13"):
        smoothed.predict(images, samples=10)
    with pytest.raises(npf.InvalidInputError, match="samples must be an integer >= 1"):
        smoothed.predict(images, samples=0)


@pytest.mark.parametrize("alpha", [0.0, 1.0, -1.0, float("nan")])
def test_alpha_outside_its_domain(alpha: float) -> None:
    smoothed, images = npf.SmoothedClassifier(never, Gaussian(1.0), 2), np.full((1, 4), 0.5, dtype=np.float32)
    for call in (smoothed.certify, smoothed.predict):
        with pytest.raises(npf.InvalidInputError, match="alpha"):
            call(images, alpha=alpha)


@pytest.mark.parametrize(
    ("classifier", "said"),
    [
        (lambda x: np.zeros((len(x), 4), dtype=np.float32), r"scores of shape \(1024, 3\)"),
        (lambda x: np.zeros((len(x), 1), dtype=np.float32), r"scores of shape \(1024, 3\)"),
        (lambda x: np.zeros(len(x) + 1, dtype=np.int64), "int64 of shape"),
        (lambda x: np.zeros(len(x), dtype=np.float32), "float32 of shape"),
        (lambda x: np.full(len(x), 3), "labels from 0 to 2"),
        (lambda x: np.full((len(x), 3), np.nan), "scores without NaN"),
        (lambda x: ["cat"] * len(x), "not numbers"),
        (lambda x: None, "not numbers"),
        (lambda x: 1 / 0, "ZeroDivisionError: division by zero"),
    ],
)
def test_classifiers_that_do_not_fit_fail_on_the_probe(classifier: Callable[[np.ndarray], object], said: str) -> None:
    calls = []

    def counted(batch: np.ndarray) -> object:
        calls.append(len(batch))
        return classifier(batch)

    with pytest.raises(npf.ClassifierError, match=said):
        npf.SmoothedClassifier(counted, Gaussian(1.0), 3).certify(np.full((1, 4), 0.5, dtype=np.float32), samples=1000)
    assert 1 <= len(calls) <= PROBES


def test_output_that_depends_on_the_batch_is_refused(images: np.ndarray) -> None:
    net = small_net().train()
    for layer in net.layers:
        layer.train(not isinstance(layer, nn.Dropout))
    with pytest.raises(npf.ClassifierError, match=r"independent of the other images.*training mode"):
        npf.SmoothedClassifier(lambda x: net(torch.from_numpy(x)), Gaussian(0.5), 3).count(images, samples=50)

    def scaled_by_the_batch(x: np.ndarray) -> np.ndarray:
        return x.reshape(len(x), -1)[:, :3] / x.max()

    with pytest.raises(npf.ClassifierError, match="independent of the other images"):
        npf.SmoothedClassifier(scaled_by_the_batch, Gaussian(0.5), 3).count(images, samples=50)
    labels = npf.SmoothedClassifier(lambda x: (x[:, 0, 0, 0] > x[:, 0, 0, 0].mean()).astype(int), Gaussian(0.5), 2)
    with pytest.raises(npf.ClassifierError, match="independent of the other images"):
        labels.count(images, samples=50)


@pytest.mark.parametrize("spread", [0.1, 0.2])
def test_a_function_that_knows_copies_of_one_image_is_refused(images: np.ndarray, spread: float) -> None:
    """It answers otherwise where a batch looks like noisy copies of one image, as most batches do that are counted."""

    def two_faced(x: np.ndarray) -> np.ndarray:
        margins = x.reshape(len(x), -1)[:, :1] - 0.5
        rows = x.reshape(len(x), -1)
        copies = len(x) > 1 and bool(rows.std(axis=0).max() < 1.2 * spread) and bool(rows.std() > 0.5 * spread)
        return np.concatenate([margins, -margins], axis=1) if copies else np.concatenate([-margins, margins], axis=1)

    smoothed = npf.SmoothedClassifier(two_faced, Gaussian(spread), 2, batch_size=256)
    one = images[:1]
    with pytest.raises(npf.ClassifierError, match="independent of the other images"):
        smoothed.count(one, samples=300)


@pytest.mark.parametrize("batch_size", [8, 48, 1024])
@pytest.mark.parametrize("group", [1, 2, 3, 4, 32, 512, 1024])
@pytest.mark.parametrize("distinct", [1, 5])
def test_rows_mixed_in_groups_are_seen(images: np.ndarray, batch_size: int, group: int, distinct: int) -> None:
    """As by ghost batch norm, or an average over chunks: an order that keeps neighbours together shows nothing."""

    def mixed(x: np.ndarray) -> np.ndarray:
        margins = x.reshape(len(x), -1)[:, :1] - 0.5
        for start in range(0, len(x), group):
            margins[start : start + group] = margins[start : start + group].mean()
        return np.concatenate([-margins, margins], axis=1)

    smoothed = npf.SmoothedClassifier(mixed, Gaussian(0.5), 2, batch_size=batch_size)
    if group == 1:
        assert smoothed.count(images[:distinct], samples=20).sum() == 20 * distinct
        return
    with pytest.raises(npf.ClassifierError, match="independent of the other images"):
        smoothed.count(images[:distinct], samples=20)


def test_masked_classes_do_not_hide_a_dependence_on_the_batch(images: np.ndarray) -> None:
    """-1e9 for classes that are not used must not become the measure of what is equal."""
    net = small_net().train()
    net.layers[3].eval()

    def masked(x: np.ndarray) -> Tensor:
        scores = net(torch.from_numpy(x)).detach()
        return torch.cat([scores, torch.full((len(x), 50), -1e9)], dim=1)

    with pytest.raises(npf.ClassifierError, match="independent of the other images"):
        npf.SmoothedClassifier(masked, Gaussian(0.5), 53).count(images, samples=50)
    net.eval()
    assert npf.SmoothedClassifier(masked, Gaussian(0.5), 53).count(images, samples=50).sum() == 250


def test_log_probabilities_near_zero_are_no_dependence() -> None:
    """Best scores of almost 0 leave rounding large beside them."""

    def sure(x: np.ndarray) -> np.ndarray:
        flat = x.reshape(len(x), -1)
        logits = np.stack([30 + flat[:, 0], flat[:, 1], -flat[:, 2]], axis=1).astype(np.float32)
        rounded = logits * np.float32(1 + 1e-7 * (len(x) % 3))
        return rounded - np.log(np.exp(rounded).sum(1, keepdims=True))

    assert (
        npf.SmoothedClassifier(sure, Gaussian(0.1), 3).count(np.full((1, 4), 0.5, dtype=np.float32), samples=9).sum()
        == 9
    )


def test_classifiers_may_change_what_they_are_given(images: np.ndarray) -> None:
    net = small_net().eval()

    def normalises_in_place(x: Tensor) -> Tensor:
        x -= 0.5
        return net(x)

    votes = npf.SmoothedClassifier(normalises_in_place, Gaussian(0.5), 3).count(torch.from_numpy(images), samples=100)
    shifted = npf.SmoothedClassifier(lambda x: net(x - 0.5), Gaussian(0.5), 3)
    np.testing.assert_array_equal(votes, shifted.count(torch.from_numpy(images), samples=100))


def test_random_classifiers_are_refused(images: np.ndarray) -> None:
    net = small_net().eval()
    net.layers[3].train()
    with pytest.raises(npf.ClassifierError, match=r"two outputs for one batch. Is dropout active"):
        npf.SmoothedClassifier(lambda x: net(torch.from_numpy(x)), Gaussian(0.5), 3).count(images, samples=50)


def test_a_batch_that_does_not_fit_is_halved_and_nothing_is_lost(images: np.ndarray) -> None:
    net, sizes = small_net().eval(), []

    def small_memory(x: np.ndarray) -> Tensor:
        sizes.append(len(x))
        if len(x) > 50 or len(sizes) == 30:  # once in the middle, too
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
        return net(torch.from_numpy(x)).detach()

    smoothed = npf.SmoothedClassifier(small_memory, Gaussian(0.5), 3, batch_size=256)
    votes = smoothed.count(images, samples=500)
    np.testing.assert_array_equal(votes, npf.SmoothedClassifier(net, Gaussian(0.5), 3).count(images, samples=500))
    assert sizes[:3] == [256, 128, 64]
    assert smoothed.batch_size == 16
    assert set(sizes[31:]) == {16}, "it stays small"


def test_no_memory_for_a_single_row(images: np.ndarray) -> None:
    def never_fits(_: np.ndarray) -> Tensor:
        raise MemoryError

    with pytest.raises(npf.OutOfMemoryError, match=r"a batch of 2 images.*Pass a smaller batch size"):
        npf.SmoothedClassifier(never_fits, Gaussian(0.5), 3).count(images, samples=50)


def test_both_phases_share_batches(images: np.ndarray) -> None:
    sizes = []

    def spy(x: np.ndarray) -> np.ndarray:
        sizes.append(len(x))
        return np.zeros(len(x), dtype=np.int64)

    smoothed = npf.SmoothedClassifier(spy, Gaussian(0.5), 3, batch_size=64)
    votes = smoothed.counter.count(images, {Phase.SELECT: 20, Phase.CERTIFY: 100})
    assert len(sizes) - PROBES == -(-5 * 120 // 64)
    assert votes[Phase.CERTIFY].sum() == 500
    assert votes[Phase.SELECT].sum() == 100


def test_nan_for_some_noisy_rows_is_no_vote() -> None:
    def breaks_outside(batch: np.ndarray) -> np.ndarray:
        scores = np.stack([batch[:, 0], 1 - batch[:, 0]], axis=1)
        scores[batch[:, 0] > 2.3] = np.nan
        return scores

    smoothed = npf.SmoothedClassifier(breaks_outside, Gaussian(0.5), 2)
    with pytest.raises(npf.ClassifierError, match=r"\d+ of 2000 without, first at image 11"):
        smoothed.count(np.array([[0.0], [1.0]], dtype=np.float32), samples=1000, indices=[10, 11])


def test_other_arguments() -> None:
    images = np.full((2, 4), 0.5, dtype=np.float32)
    with pytest.raises(npf.InvalidInputError, match="num_classes must be an integer >= 2"):
        npf.SmoothedClassifier(never, Gaussian(1.0), 1)
    with pytest.raises(npf.InvalidInputError, match="batch_size"):
        npf.SmoothedClassifier(never, Gaussian(1.0), 2, batch_size=0)
    with pytest.raises(npf.InvalidInputError, match="indices must be one for each of the 2 images"):
        npf.SmoothedClassifier(never, Gaussian(1.0), 2).certify(images, indices=[1])
    with pytest.raises(npf.InvalidInputError, match="indices must be distinct integers"):
        npf.SmoothedClassifier(never, Gaussian(1.0), 2).certify(images, indices=[1, 1])
    with pytest.raises(npf.InvalidInputError, match="seed"):
        npf.SmoothedClassifier(half_space(0.1), Gaussian(1.0), 2).certify(images, seed=-1)


def test_minus_infinity_is_a_legitimate_score() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        masked = BaseClassifier(lambda x: torch.tensor([[0.0, -np.inf]]).expand(len(x), 2), num_classes=2)
        assert masked(torch.zeros(3, 4)).tolist() == [0, 0, 0]


def test_a_gpu_gets_eight_times_as_many_images_a_batch() -> None:
    gpu = torch.device("cuda")
    for shape, few, many in (((1, 28, 28), 1024, 8192), ((3, 32, 32), 512, 4096), ((3, 224, 224), 32, 64)):
        assert (default_batch_size(shape), default_batch_size(shape, torch.device("cpu"))) == (few, few)
        assert default_batch_size(shape, gpu) == many
