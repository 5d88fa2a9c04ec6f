"""An attack called from Python: what it returns, and that it is what a record of the same attack holds."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import noiseproof as npf
from half_space import HalfSpace, images_at
from noiseproof.attacks import PGD, AttackResult, Batch, Defence, HopSkipJump, RandomSearch
from noiseproof.attacks.escalation import escalate
from noiseproof.classifiers import accelerate
from noiseproof.data import ArrayDataset
from noiseproof.errors import ClassifierError, InvalidInputError
from noiseproof.evaluation.robust_accuracy import Verdict, summarise_verdicts
from noiseproof.noises import Gaussian
from noiseproof.perturbations.balls import distance
from noiseproof.randomness import Phase
from noiseproof.runs import AttackImages, Selection, Subject, execute

NETWORK, NOISE = HalfSpace(), Gaussian(0.3)
HEIGHTS = [0.05, 0.15, 0.25, -0.1, -0.2, 0.3]
EPSILONS = [0.1, 0.2]
ATTACK = PGD(eot_samples=8, steps=10)


def smoothed(network: Any = NETWORK) -> npf.SmoothedClassifier:
    return npf.SmoothedClassifier(network, NOISE, num_classes=2)


def called(classifier: Any, heights: list[float] = HEIGHTS, attack: Any = ATTACK, **options: Any) -> AttackResult:
    images, labels = images_at(heights, NETWORK)
    found: AttackResult = attack(classifier, images, labels, **{"epsilons": EPSILONS, "norm": "l2", **options})
    return found


def expected(classifier: Any, heights: list[float] = HEIGHTS) -> None:
    """The smoothed classifier of a half-space is the half-space itself: distances are |height|, noise or none."""
    found, heights_ = called(classifier, heights), np.abs(heights)
    for number, epsilon in enumerate(EPSILONS):
        assert (found.verdicts[number][heights_ < epsilon - 0.02] == Verdict.WRONG).all()
        assert (found.verdicts[number][heights_ > epsilon + 0.02] == Verdict.RIGHT).all()


@pytest.mark.parametrize(
    "classifier",
    [smoothed(), smoothed(accelerate(NETWORK)), NETWORK, accelerate(NETWORK), Defence(NETWORK, NOISE, 2)],
    ids=["smoothed", "smoothed backend", "module", "backend", "defence"],
)
def test_an_attack_succeeds_exactly_where_the_boundary_is_within_epsilon(classifier: Any) -> None:
    expected(classifier)


def test_functions_without_gradients_are_attacked_by_their_decisions() -> None:
    images, labels = images_at([0.05, 0.3], NETWORK)
    normal = NETWORK.normal.numpy()

    def scores(batch: np.ndarray) -> np.ndarray:
        assert isinstance(batch, np.ndarray)  # as the images are
        heights = ((batch - 0.5) * normal).sum((1, 2, 3))
        return np.stack([heights, -heights], 1)

    for classifier in (smoothed(scores), scores):
        found = RandomSearch(tries=60, eot_samples=16)(
            classifier, images.numpy(), labels.numpy(), epsilons=[0.25], norm="l2", seed=1
        )
        np.testing.assert_array_equal(found.success, [[True, False]])
        with pytest.raises(InvalidInputError, match="attack that needs no gradients"):
            ATTACK(classifier, images.numpy(), labels.numpy(), epsilons=[0.25], norm="l2")


def test_the_result_holds_points_distances_votes_and_verdicts() -> None:
    images, _ = images_at(HEIGHTS, NETWORK)
    found = called(smoothed(), samples=500, seed=3, indices=[5, 2, 9, 1, 8, 0])
    assert found.points.shape == (2, *images.shape)
    for number, epsilon in enumerate(EPSILONS):
        gone = distance(found.points[number], images, "l2").numpy()
        np.testing.assert_array_equal(found.distances[number], gone)
        assert (gone <= epsilon * (1 + 1e-12)).all()
        votes = smoothed().count(
            found.points[number], samples=500, seed=3, indices=[5, 2, 9, 1, 8, 0], phase=Phase.JUDGE
        )
        np.testing.assert_array_equal(found.votes[number], votes)
    np.testing.assert_array_equal(found.success, found.verdicts == Verdict.WRONG)
    summary = summarise_verdicts(found.verdicts, np.array(EPSILONS))
    np.testing.assert_allclose(found.robust_accuracy, summary.robust)


def test_points_are_judged_by_1000_votes_where_nothing_is_said() -> None:
    assert called(smoothed()).votes.sum(-1).tolist() == [[1000] * len(HEIGHTS)] * len(EPSILONS)
    assert called(NETWORK).votes.sum(-1).max() == 1, "a classifier without noise is asked once"


def test_an_abstention_is_neither_a_success_nor_right() -> None:
    found = called(smoothed(), [1e-4, 0.3], epsilons=[0.0], samples=200)
    assert found.verdicts.tolist() == [[Verdict.ABSTAINED, Verdict.RIGHT]]
    assert found.success.tolist() == [[False, False]]
    assert found.robust_accuracy.tolist() == [0.5]


def test_what_is_wrong_stays_as_it_is_and_keeps_its_point() -> None:
    images, labels = images_at([0.2, 0.05], NETWORK)
    found = ATTACK(NETWORK, images, torch.tensor([1, int(labels[1])]), epsilons=[0.1, 0.3], norm="l2")
    assert torch.equal(found.points[:, 0], images[:1].expand(2, *images.shape[1:]))  # wrong before it is attacked
    assert found.distances[:, 0].tolist() == [0.0, 0.0]
    assert found.success.all()
    assert torch.equal(found.points[0, 1], found.points[1, 1])  # wrong within 0.1: not sought for within 0.3
    assert found.distances[1, 1] <= 0.1


@pytest.mark.parametrize("noisy", [True, False])
@pytest.mark.parametrize("attack", [ATTACK, RandomSearch(tries=20, eot_samples=4)])
def test_a_point_found_through_python_is_that_of_a_record(tmp_path: Path, attack: Any, noisy: bool) -> None:
    """Bit for bit, for images that are not the first of their data set, and in more than one shard."""
    images, labels = images_at(HEIGHTS, NETWORK)
    dataset = ArrayDataset("halves", "test", images.numpy(), labels.numpy(), 2)
    on = Subject.of(NETWORK, NOISE if noisy else None, dataset, name="half space")
    job = AttackImages(attack, EPSILONS, samples=300, seed=7, selection=Selection(every=2))
    record, _ = execute(job, tmp_path, on)
    found = attack(
        smoothed() if noisy else NETWORK,
        images[::2],
        labels[::2],
        epsilons=[0.0, *EPSILONS],
        norm="l2",
        samples=300,
        seed=7,
        indices=range(0, 6, 2),
    )
    table = record.read()
    points = np.concatenate([record.read_points(shard) for shard in record.shards])
    np.testing.assert_array_equal(found.points.numpy(), points.swapaxes(0, 1))
    np.testing.assert_array_equal(found.votes, table.votes.swapaxes(0, 1))
    np.testing.assert_array_equal(found.distances, table.distances.T)
    assert found.distances.any()


def test_images_are_attacked_together_until_their_copies_fill_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    together: list[int] = []

    def watched(find: Any, defence: Defence, batch: Batch, *arguments: Any, **options: Any) -> AttackResult:
        together.append(len(batch))
        return escalate(find, defence, batch, *arguments, **options)

    monkeypatch.setattr("noiseproof.attacks.escalation.default_batch_size", lambda _: 32)
    monkeypatch.setattr("noiseproof.attacks.base.escalate", watched)
    parts = called(smoothed())
    called(NETWORK)
    assert together == [4, 2, 6]  # of eight noisy copies each; without noise of one
    monkeypatch.undo()
    whole = called(smoothed())
    torch.testing.assert_close(parts.points, whole.points, atol=1e-5, rtol=0.0)
    np.testing.assert_array_equal(parts.verdicts, whole.verdicts)
    images, labels = images_at(HEIGHTS, NETWORK)
    alone = ATTACK(smoothed(), images[4:5], labels[4:5], epsilons=EPSILONS, norm="l2", indices=[4])
    torch.testing.assert_close(alone.points, whole.points[:, 4:5], atol=1e-5, rtol=0.0)


def test_a_compiled_backend_is_attacked_by_the_gradients_of_its_module() -> None:
    class Compiled(npf.classifiers.Accelerated):
        def __call__(self, batch: Tensor) -> Any:
            assert not batch.requires_grad, "compiled code has no gradients"
            return super().__call__(batch)

    backend = Compiled(NETWORK, npf.classifiers.Precision.fp32, compiled=False, device=torch.device("cpu"))
    backend.compiled = True
    expected(smoothed(backend))


@pytest.mark.parametrize("move", [0.11, -0.11, 0.09])
def test_an_attack_is_held_to_its_epsilon_and_to_the_box(move: float) -> None:
    images, labels = images_at([0.3], NETWORK)
    images[..., 0, 0] = 0.95 if abs(move) < 0.1 else 0.5  # only the last leaves the box
    with pytest.raises(ClassifierError, match=r"within their epsilons in linf and within \[0, 1\]"):
        escalate(
            lambda _epsilons, _rows: images + move,
            Defence(NETWORK, None, 2),
            Batch(images, labels, [0]),
            np.array([[0.0], [0.1]]),
            "linf",
            samples=1,
            alpha=0.001,
        )


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"epsilons": []}, "rising finite numbers"),
        ({"epsilons": [0.2, 0.1]}, "rising finite numbers"),
        ({"epsilons": [0.1, 0.1]}, "rising finite numbers"),
        ({"epsilons": [-0.1]}, "rising finite numbers"),
        ({"epsilons": [float("inf")]}, "rising finite numbers"),
        ({"norm": "l1", "attack": HopSkipJump()}, "linf or l2 for HopSkipJump"),
        ({"samples": 5}, "samples"),
        ({"alpha": 0.0}, "alpha"),
        ({"indices": [0]}, "indices"),
        ({"seed": -1}, "seed"),
    ],
)
def test_wrong_settings_are_errors(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        called(smoothed(), [0.1, 0.2], **wrong)


def test_wrong_images_labels_and_classifiers_are_errors() -> None:
    images, labels = images_at([0.1, 0.2], NETWORK)
    for pictures, classes, message in (
        (images * 255, labels, "values from"),
        (images[:0], labels[:0], "images"),
        (images, labels.float(), "whole numbers from 0 to 1"),
        (images, [0, 2], "whole numbers from 0 to 1"),
        (images, [0, -1], "whole numbers from 0 to 1"),
        (images, labels[:1], "one for each of the 2 images"),
    ):
        with pytest.raises(InvalidInputError, match=message):
            ATTACK(smoothed(), pictures, classes, epsilons=[0.1], norm="l2")
    with pytest.raises(InvalidInputError, match="SmoothedClassifier"):
        Defence.of("network", images[:1])
    with pytest.raises(ClassifierError, match=r"scores \(1, classes\) for one image"):
        RandomSearch()(lambda batch: batch[:, 0, 0, 0].long(), images, labels, epsilons=[0.1], norm="l2")
    with pytest.raises(ClassifierError, match="able to take"):
        RandomSearch()(nn.Linear(3, 2), images, labels, epsilons=[0.1], norm="l2")


def test_gradient_free_attacks_of_foolbox_are_called_alike() -> None:
    pytest.importorskip("foolbox")
    found = called(smoothed(), [0.05, 0.3], HopSkipJump(steps=3, eot_samples=16), epsilons=[0.15])
    np.testing.assert_array_equal(found.success, [[True, False]])
