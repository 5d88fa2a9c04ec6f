"""Shapes and types in signatures are checked in every test; what is slow to make is made once for all of them."""

import type_checks

type_checks.install("noiseproof")

import os  # noqa: E402
import shutil  # noqa: E402
from collections.abc import Iterator  # noqa: E402
from pathlib import Path  # noqa: E402

import hypothesis  # noqa: E402
import pytest  # noqa: E402
import torch  # noqa: E402

import shared  # noqa: E402

# No deadline: machines are shared. The same examples every time: a red test must be red again.
hypothesis.settings.register_profile("noiseproof", deadline=None, max_examples=8, derandomize=True)
hypothesis.settings.load_profile("noiseproof")

torch.set_num_threads(1)  # the tests run side by side, a process a core


collect_ignore = ["typed_misuse.py"]  # every line of it is wrong: only a type checker reads it


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of the real data sets; tests that need it say that they skip."""
    folder = os.environ.get("NOISEPROOF_DATA")
    if folder is None:
        pytest.skip("NOISEPROOF_DATA is not set: no real MNIST or CIFAR-10 to test with")
    return Path(folder)


@pytest.fixture(scope="session", autouse=True)
def named_code(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Which code the tests name is kept in a folder of theirs, not in the user's cache."""
    folder = tmp_path_factory.mktemp("named")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("noiseproof.storage.trusted.cache", lambda: folder)
        yield


def command(*arguments: object) -> None:
    """Run a command of the package in this process; a test of the command line checks what it prints."""
    from command_line import invoke

    invoke(*arguments)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of a network trained on the digits, with noise; read it, and copy it to write into it."""
    folder = shared.fetch(
        tmp_path_factory, "trained", lambda path: command("train", "--out", path, "--epochs", 12, "--seed", 3)
    )
    yield folder
    assert shared.untouched(folder), "a test has written into the folder that all tests share"


@pytest.fixture(scope="session")
def natural(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of a network trained on the digits without noise; read it, and copy it to write into it."""
    arguments = ("--epochs", 12, "--objective", "natural")
    folder = shared.fetch(tmp_path_factory, "natural", lambda path: command("train", "--out", path, *arguments))
    yield folder
    assert shared.untouched(folder), "a test has written into the folder that all tests share"


@pytest.fixture(scope="session")
def certified(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of that network and of 300 votes on every tenth digit; read it, and copy it to write into it."""

    def make(path: Path) -> None:
        shutil.copytree(trained, path)
        command("certify", path, "--samples", 300, "--every", 10, "--seed", 1)

    folder = shared.fetch(tmp_path_factory, "certified", make)
    yield folder
    assert shared.untouched(folder), "a test has written into the folder that all tests share"
