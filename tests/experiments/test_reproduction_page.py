"""The page on the reproduction is held to the records and the recipes."""

import re
import shlex
from pathlib import Path
from types import ModuleType

import pytest

from command_line import parsed
from import_script import import_script

ROOT = Path(__file__).parents[2]


@pytest.fixture(name="tables")
def _tables() -> ModuleType:
    return import_script(ROOT / "reproduction" / "tables.py")


def test_the_page_is_written_by_the_records_and_the_recipes(
    tables: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # where no folder is called runs
    text = tables.PAGE.read_text()
    assert tables.written(text) == text, "python reproduction/tables.py writes it anew"
    assert text.count("| `mnist/") > 40
    assert "    noiseproof train --data mnist --objective stability --sigma 0.7 --seed 1" in text
    blocks = re.findall(r"(?:^    .*\n)+", text, flags=re.MULTILINE)
    commands = [shlex.split(each) for block in blocks for each in block.replace("\\\n", " ").split("&&")]
    assert len(commands) > 30
    for program, *arguments in commands:
        assert program == "noiseproof"
        parsed(*arguments)
