"""Shapes and types in signatures are checked in every test, in-process ones and those of started processes alike."""

from jaxtyping import install_import_hook

install_import_hook("noiseproof", "beartype.beartype")

import os  # noqa: E402
from pathlib import Path  # noqa: E402

import hypothesis  # noqa: E402
import pytest  # noqa: E402
import torch  # noqa: E402

# No deadline: machines are shared. The same examples every time: a red test must be red again.
hypothesis.settings.register_profile("noiseproof", deadline=None, max_examples=8, derandomize=True)
hypothesis.settings.load_profile("noiseproof")

torch.set_num_threads(1)  # the tests run side by side, a process a core


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of the real data sets; tests that need it say that they skip."""
    folder = os.environ.get("NOISEPROOF_DATA")
    if folder is None:
        pytest.skip("NOISEPROOF_DATA is not set: no real MNIST or CIFAR-10 to test with")
    return Path(folder)
