"""Images that come in batches: as a data set, from a DataLoader, from a generator; votes are those of one call."""

import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

import noiseproof as npf
from noiseproof.data import ArrayDataset, Dataset, IndexedImages
from noiseproof.sampling.stream import is_stream

NOISE = npf.Gaussian(sigma=0.25)


@pytest.fixture(scope="module")
def test_set() -> Dataset:
    digits = npf.data.load("digits", "test")
    return ArrayDataset("some", "test", digits.read(range(23)), digits.labels[:23], 10)


@pytest.fixture(scope="module")
def smoothed() -> npf.SmoothedClassifier:
    torch.manual_seed(0)
    return npf.SmoothedClassifier(npf.models.build("digits-cnn").eval(), NOISE, 10, batch_size=32)


class Indexed(torch.utils.data.Dataset[IndexedImages]):
    """Images with their indices, as a user's own data set gives them."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> IndexedImages:
        return IndexedImages(self.dataset[index][0], index)


RULES = [npf.FixedSamples(40), npf.CertifyRadii([0.05, 0.1], max_samples=200), npf.IdentifyTopClass(max_samples=100)]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: type(rule).__name__)
def test_a_stream_has_the_votes_of_one_call(smoothed: npf.SmoothedClassifier, test_set: Dataset, rule: object) -> None:
    whole = smoothed.certify(test_set.read(range(23)), stop=rule, seed=5)  # type: ignore[arg-type]
    in_order = (images for images, _ in DataLoader(test_set, batch_size=4))
    for stream in (test_set, test_set.batches(7), in_order, DataLoader(Indexed(test_set), batch_size=5)):
        found = smoothed.certify(stream, stop=rule, seed=5)  # type: ignore[arg-type]
        assert found.to_dict() == whole.to_dict()


def test_where_a_loader_shuffles_votes_follow_their_indices(
    smoothed: npf.SmoothedClassifier, test_set: Dataset
) -> None:
    whole = smoothed.certify(test_set.read(range(23)), samples=40)
    order: list[int] = []

    def batches() -> Iterator[IndexedImages]:
        for batch in DataLoader(Indexed(test_set), batch_size=6, shuffle=True):
            assert isinstance(batch, IndexedImages)
            order.extend(batch.indices.tolist())
            yield batch

    found = smoothed.certify(batches(), samples=40)
    assert sorted(order) == list(range(23))
    assert order != list(range(23))
    assert (found.votes == whole.votes[order]).all()


def test_batches_are_read_one_after_the_other(smoothed: npf.SmoothedClassifier) -> None:
    alive: list[weakref.ref[np.ndarray]] = []

    def batches() -> Iterator[np.ndarray]:
        for _ in range(6):
            assert sum(ref() is not None for ref in alive) <= 2, "earlier batches are kept"
            images = np.full((4, 1, 8, 8), 0.5, dtype=np.float32)
            alive.append(weakref.ref(images))
            yield images
            del images

    assert smoothed.certify(batches(), samples=30).votes.shape == (24, 10)


def test_what_cannot_be_a_stream_is_refused_by_name(smoothed: npf.SmoothedClassifier, test_set: Dataset) -> None:
    with pytest.raises(
        npf.InvalidInputError, match=r"IndexedImages\(images, indices\); got a list of 2.*labels in loader"
    ):
        smoothed.certify(DataLoader(test_set, batch_size=4), samples=30)
    budget = npf.sequential.SharedBudget(npf.CertifyRadii(0.1), 1000)
    with pytest.raises(npf.InvalidInputError, match=r"stop must be .*got SharedBudget"):
        smoothed.certify(test_set, stop=budget)
    with pytest.raises(npf.InvalidInputError, match=r"indices must be left out where images come in batches"):
        smoothed.certify(test_set.batches(), samples=30, indices=range(23))
    part = IndexedImages(test_set.read([1, 2]), [1, 2])
    with pytest.raises(npf.InvalidInputError, match=r"distinct over all batches; got 1 twice"):
        smoothed.certify(iter([part, part]), samples=30)
    with pytest.raises(npf.InvalidInputError, match=r"at least one batch; got none. A generator can be read once"):
        smoothed.certify(iter([]), samples=30)
    assert not is_stream([test_set.read([0])[0]]), "a list may be one of single images"
    with pytest.raises(npf.InvalidInputError, match=r"indices must be one for each of the 2 images; got 1"):
        smoothed.certify(iter([part._replace(indices=torch.tensor(3))]), samples=30)


@pytest.mark.parametrize("kind", [torch.from_numpy, np.asarray])
@pytest.mark.parametrize("question", ["certify", "predict", "count"])
def test_one_image_without_a_batch_is_refused_with_the_remedy(kind: Any, question: str, test_set: Dataset) -> None:
    network = npf.SmoothedClassifier(npf.models.build("digits-cnn"), npf.Gaussian(sigma=0.25), num_classes=10)
    image = kind(test_set.read([0])[0])
    with pytest.raises(npf.ClassifierError, match=r"of one pass x\[None\], or x\[:1\] of several"):
        getattr(network, question)(image, samples=30)
    getattr(network, question)(image[None], samples=30)


def test_a_bar_shows_progress(
    smoothed: npf.SmoothedClassifier, test_set: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    images = test_set.read(range(3))
    quiet = smoothed.certify(images, samples=30, progress=False)
    assert capsys.readouterr() == ("", "")
    shown = smoothed.certify(images, samples=30, progress=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert "390/390 votes" in " ".join(err.split()), "100 that select and 30 that count, of three images"
    assert (shown.votes == quiet.votes).all()
    assert smoothed.certify(test_set.batches(10), samples=30, progress=True).votes.shape == (23, 10)
    counted = " ".join(capsys.readouterr().err.split())
    assert " 2990 votes" in counted, "how many batches come nobody knows"
    assert "?" not in counted
    smoothed.certify(test_set, samples=30, progress=True)
    assert "2990/2990 votes" in " ".join(capsys.readouterr().err.split()), "a data set knows its length"
    smoothed.predict(images, samples=30, progress=True)
    assert "?" not in capsys.readouterr().err
    smoothed.count(images, samples=10, progress=True)
    assert "30/30 votes" in " ".join(capsys.readouterr().err.split())
    told: list[int] = []
    smoothed.certify(test_set.batches(10), samples=30, progress=told.append)
    assert sum(told) == 23 * 130


def test_it_is_called_like_a_classifier(smoothed: npf.SmoothedClassifier, test_set: Dataset) -> None:
    images = test_set.read(range(5))
    labels = smoothed(images)
    assert labels.dtype == np.int64
    assert (labels == smoothed.predict(images)).all()
    assert (smoothed(torch.as_tensor(images)) == labels).all()
    assert (smoothed(test_set.batches(2)) == smoothed.predict(test_set.read(range(23)))).all()


def test_what_is_called_like_a_classifier_is_not_smoothed_twice(
    smoothed: npf.SmoothedClassifier, test_set: Dataset
) -> None:
    for again in (
        lambda: npf.SmoothedClassifier(smoothed, NOISE, 10),
        lambda: npf.runs.Subject.of(smoothed, NOISE, test_set, name="twice"),
    ):
        with pytest.raises(npf.InvalidInputError, match=r"classifier must be the base classifier f.*got SmoothedClass"):
            again()


def test_a_data_set_gives_images_and_labels(test_set: Dataset) -> None:
    image, label = test_set[3]
    assert image.dtype == np.float32
    assert image.shape == test_set.image_shape
    assert (image == test_set.read([3])[0]).all()
    assert (type(label), label) == (int, test_set.labels[3])
    assert (test_set[-1][0] == test_set.read([22])[0]).all()
    assert (test_set[np.int64(2)][0] == test_set.read([2])[0]).all()
    for wrong in (23, -24):
        with pytest.raises(IndexError, match=f"index {wrong} of a data set of 23 images"):
            test_set[wrong]
    with pytest.raises(TypeError):
        test_set["3"]  # type: ignore[index]
    assert [label for _, label in test_set] == test_set.labels.tolist()  # type: ignore[attr-defined]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_data_set_goes_into_a_loader(test_set: Dataset, workers: int) -> None:
    loader = DataLoader(test_set, batch_size=5, num_workers=workers)
    batches = list(loader)
    assert torch.equal(torch.cat([images for images, _ in batches]), torch.as_tensor(test_set.read(range(23))))
    labels = torch.cat([labels for _, labels in batches])
    assert labels.dtype == torch.int64
    assert labels.tolist() == test_set.labels.tolist()
    shuffled = DataLoader(test_set, batch_size=23, shuffle=True)
    ((images, labels),) = shuffled
    assert sorted(labels.tolist()) == sorted(test_set.labels.tolist())
    assert images.shape == (23, 1, 8, 8)


def test_batches_of_a_data_set_cover_it_once(test_set: Dataset) -> None:
    batches = list(test_set.batches(7))
    assert [index for batch in batches for index in batch.indices] == list(range(23))
    assert (np.concatenate([batch.images for batch in batches]) == test_set.read(range(23))).all()
    with pytest.raises(npf.InvalidInputError, match="size must be an integer >= 1"):
        next(test_set.batches(0))
