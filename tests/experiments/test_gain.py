"""What stability training gains over Gaussian augmentation, in words, from records written by hand."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from noiseproof.evaluation import paired_difference
from noiseproof.experiments.gain import RADII, gains
from noiseproof.experiments.networks import CIFAR_SIGMA, Network
from noiseproof.experiments.readings import ours, reached
from noiseproof.experiments.recipes import Reader
from noiseproof.experiments.votes import Run, find_runs
from synthetic_records import write_run

CIFAR: dict[str, Any] = {"data": {"name": "cifar10", "split": "test", "digest": "c"}}
GAUSSIAN, STN, SHORT = (Network("cifar10", kind, CIFAR_SIGMA) for kind in ("gaussian", "stn", "stn-short"))


def written(records: Path, epochs: dict[Network, int]) -> list[Run]:
    for network, count in epochs.items():
        kind = "stn" if network is SHORT else network.kind
        weights = {"name": "net", "digest": network.kind}
        write_run(records / network.folder(), kind, CIFAR_SIGMA, trained={"epochs": count}, model=weights, **CIFAR)
    reader = Reader(records)
    return [run for network in epochs for run in find_runs(network, reader)]


def test_one_seed_has_an_interval_over_images_at_equal_epochs_and_at_equal_time(tmp_path: Path) -> None:
    runs = written(tmp_path, {GAUSSIAN: 30, STN: 30, SHORT: 15})
    by_epochs, by_time = gains(runs)
    assert "at equal epochs, certified by ours, CIFAR-10, sigma 100/255, 1 seed" in by_epochs
    assert "at equal time, " in by_time
    radii = np.array(RADII["cifar10"])
    one, two = (reached(run, radii) for run in (runs[1], runs[0]))
    np.testing.assert_allclose(one.mean(0), ours([runs[1]], radii)[0])
    for column, radius in enumerate(("0", "0.1411764705882353", "0.25", "0.5", "1")):
        gain, low, high = (100 * each for each in paired_difference(one[:, column], two[:, column]))
        assert f"{gain:+.1f} [{low:+.1f} to {high:+.1f}] at {radius[:4]}" in by_epochs


@pytest.mark.parametrize(
    ("epochs", "told"),
    [
        ({GAUSSIAN: 30, STN: 20}, ["stn-0.392 and", "differ in training epochs"]),
        ({GAUSSIAN: 30}, []),
        ({GAUSSIAN: 30, SHORT: 15}, ["at equal time"]),
    ],
)
def test_what_is_not_trained_alike_is_not_compared(tmp_path: Path, epochs: dict[Network, int], told: list[str]) -> None:
    found = list(gains(written(tmp_path, epochs)))
    assert len(found) == bool(told)
    assert all(text in found[0] for text in told)
