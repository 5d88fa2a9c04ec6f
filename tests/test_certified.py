"""What certify returns: as text, as plain data, as tables; and in parts."""

import json
import sys
from typing import Any

import numpy as np
import pytest

import noiseproof as npf
from noiseproof.certified import Certified
from noiseproof.errors import InvalidInputError
from noiseproof.noises import Gaussian
from noiseproof.numerics.decimals import round_down


def many(images: int = 3000) -> Certified:
    votes = np.random.default_rng(0).multinomial(1000, [0.8, 0.15, 0.05], size=images)
    votes[:7] = [334, 333, 333]  # the nearest tie: they abstain
    return npf.certify_votes(votes, npf.Gaussian(sigma=0.5), alpha=0.001, bound=npf.bounds.Bonferroni())


def test_thousands_of_images_are_one_line() -> None:
    found = many()
    low, high = found.radius[7:].min(), found.radius.max()
    said = repr(found)
    assert said == (
        f"Certified(3000 images of 3 classes, 2993 decided, radius {round_down(low)} to {round_down(high)}, "
        f"median {round_down(np.median(found.radius[7:]))}; votes per image 1000)"
    )
    assert "0 decided; votes per image 1000" in repr(many(7))
    none = Certified(**{name: array[:0] for name, array in many(7).columns().items()}, selection_votes=None)
    assert repr(none) == "Certified(0 images of 3 classes, 0 decided; votes per image 0)"


def test_plain_data_and_tables_hold_every_column() -> None:
    found = many(20)
    plain = json.loads(json.dumps(found.to_dict()))
    assert list(plain) == ["prediction", "radius", "p1_lower", "p2_upper", "votes"]
    table = found.to_table()
    assert table.column_names == list(plain)
    assert table.to_pydict() == plain
    frame = found.to_pandas()
    assert list(frame) == list(plain)
    for name in ("prediction", "radius", "p1_lower", "p2_upper"):
        assert (frame[name].to_numpy() == getattr(found, name)).all()
    assert (np.stack(list(frame["votes"])) == found.votes).all()


def test_selection_votes_and_outcomes_are_columns_where_they_are_there() -> None:
    images = np.full((3, 4), 0.5, dtype=np.float32)
    smoothed = npf.SmoothedClassifier(lambda x: (x[:, 0] > 0.3).astype(int), npf.Gaussian(0.25), 2)
    assert "selection_votes" in smoothed.certify(images, samples=100).to_dict()
    decided = smoothed.certify(images, stop=npf.CertifyRadii([0.1, 0.2]))
    assert decided.to_dict()["outcome"] == decided.outcome.tolist()  # type: ignore[union-attr]
    assert decided.to_table()["outcome"].to_pylist() == decided.to_dict()["outcome"]


def test_without_pandas_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(npf.MissingExtraError, match=r"pip install 'noiseproof\[pandas\]'"):
        many(3).to_pandas()


def test_parts_are_put_together_in_order() -> None:
    whole = many(10)
    parts = [
        Certified(**{name: array[rows] for name, array in whole.columns().items()}, selection_votes=None)
        for rows in (slice(0, 4), slice(4, 4), slice(4, 10))
    ]
    together = Certified.concatenate(parts)
    assert together.to_dict() == whole.to_dict()
    assert together.selection_votes is None
    assert together.outcome is None


def test_images_that_share_their_noise_are_not_joined_to_one_statement() -> None:
    """Calls in a loop without `indices` number their noise from 0: such images are wrong together."""
    smoothed = npf.SmoothedClassifier(lambda x: (x.mean(axis=1) > 0.5).astype(int), Gaussian(0.5), 2)
    images = np.linspace(0.1, 0.9, 6, dtype=np.float32)[:, None]

    def each(**settings: Any) -> list[Certified]:
        return [smoothed.certify(image[None], samples=50, **settings) for image in images]

    def of_their_own(stop: Any, seed: int = 0) -> list[Certified]:
        return [smoothed.certify(images[i : i + 1], stop=stop, indices=[i], seed=seed) for i in range(len(images))]

    with pytest.raises(InvalidInputError, match="independent noise; got 5 that share the noise of another"):
        Certified.concatenate(each())
    with pytest.raises(InvalidInputError, match="Certify them with indices="):
        Certified.concatenate([Certified.concatenate(of_their_own(npf.FixedSamples(50))), *each()[:1]])
    for stop in (npf.FixedSamples(50), npf.CertifyRadii([0.1], max_samples=200)):
        joined = Certified.concatenate(of_their_own(stop))
        assert joined.to_dict() == smoothed.certify(images, stop=stop).to_dict()
        assert "noise_key" not in joined.columns()
        twice = Certified.concatenate([joined, *of_their_own(stop, seed=1)])
        assert len(twice.radius) == 12, "another seed is other noise"
