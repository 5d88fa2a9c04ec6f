"""Copies of the networks that all tests share, for tests of the command line that write into their folders."""

import shutil
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def run(certified: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the trained network and its votes for the tests of a file."""
    return Path(shutil.copytree(certified, tmp_path_factory.mktemp("runs") / "stn"))


@pytest.fixture(scope="module")
def plain(natural: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the network trained without noise for the tests of a file."""
    return Path(shutil.copytree(natural, tmp_path_factory.mktemp("runs") / "natural"))
