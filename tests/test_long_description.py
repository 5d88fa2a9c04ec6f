"""What a package index shows: the long description of the built wheel, whose links must lead somewhere from there."""

import re
import zipfile
from email import message_from_string
from pathlib import Path

import pytest
from hatchling.build import build_wheel

ROOT = Path(__file__).parent.parent
TARGET = re.compile(r"\]\(\s*<?([^)\s>]+)|(?:src|href)=[\"']([^\"']+)|^\[[^\]]+\]:\s*(\S+)", re.MULTILINE)


@pytest.fixture(scope="module")
def description(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("wheel")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        wheel = folder / build_wheel(str(folder))
    with zipfile.ZipFile(wheel) as content:
        (name,) = (each for each in content.namelist() if each.endswith(".dist-info/METADATA"))
        metadata = message_from_string(content.read(name).decode())
    assert metadata["Description-Content-Type"] == "text/markdown"
    return str(metadata.get_payload())


def test_every_link_is_absolute_or_an_anchor(description: str) -> None:
    targets = ["".join(found) for found in TARGET.findall(description)]
    assert [each for each in targets if not re.match(r"https?://|mailto:|#", each)] == []


def test_what_a_link_named_is_named_still(description: str) -> None:
    """All of the README is there but for the picture, and every file that it links to is named."""
    readme = (ROOT / "README.md").read_text()
    linked = {each.partition("#")[0] for each in re.findall(r"(?<!!)\[[^\]]+\]\(([^)]+)\)", readme)}
    assert len(linked) > 10
    assert all(f"(`{each}`)" in description for each in linked)
    assert [each for each in re.findall(r"^#+ .*$", readme, re.MULTILINE) if each not in description] == []
    assert "docs/images" not in description
