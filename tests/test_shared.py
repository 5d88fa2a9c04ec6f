"""What tests share is made once, and no test changes it for the next."""

from pathlib import Path

import pytest

import shared
from noiseproof.models import load_checkpoint
from noiseproof.runs.records import Record


def test_made_once_and_again_after_a_failure(tmp_path_factory: pytest.TempPathFactory) -> None:
    made: list[Path] = []

    def make(folder: Path) -> None:
        made.append(folder)
        folder.mkdir()
        (folder / str(len(made))).write_text("x")
        if len(made) == 1:
            raise OSError

    with pytest.raises(OSError, match=r"^$"):
        shared.fetch(tmp_path_factory, f"tried-{id(made)}", make)
    folder = shared.fetch(tmp_path_factory, f"tried-{id(made)}", make)
    assert shared.fetch(tmp_path_factory, f"tried-{id(made)}", make) == folder
    assert len(made) == 2
    assert [path.name for path in folder.iterdir()] == ["2"]
    assert shared.untouched(folder)
    (folder / "2").unlink()
    assert not shared.untouched(folder)


def test_a_network_and_its_votes(trained: Path, natural: Path, certified: Path) -> None:
    objectives = [
        load_checkpoint(folder / "checkpoint.safetensors").record["settings"]["objective"]["name"]
        for folder in (trained, natural, certified)
    ]
    assert objectives == ["Stability", "Natural", "Stability"]
    table = Record.open(certified).read()
    assert len(table.index) == 60
    assert (table.votes.sum(1) == 300).all()
