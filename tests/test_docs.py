"""What README and docs say: code and its output, commands, links, the tree, and the form of the pages."""

import ast
import contextlib
import io
import pkgutil
import re
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest

from noiseproof.cli import app, main
from test_package import ROOMS, SOURCE

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
DOCS = sorted((ROOT / "docs").glob("*.md"))
PAGES = [README, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *DOCS]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", flags=re.DOTALL | re.MULTILINE)
GIVEN_UP = re.compile(
    r"stop\w*\s+by\s+themselves|until\s+it\s+is\s+known|nobody\s+told|[Ss]tranger|_Guest|_Desk|Opponent|GIVEN_UP"
)
LINK = re.compile(r"\]\(([^)#]+)(?:#[^)]*)?\)|^\[[^\]]+\]: (\S+)$", flags=re.MULTILINE)
EXAMPLES = BLOCK.findall(README.read_text())


def arguments(block: str) -> list[list[str]]:
    """The arguments of the commands in a block."""
    programs = [shlex.split(line.removeprefix("$ ")) for line in block.splitlines() if line.startswith("$ ")]
    assert all(program[0] == "noiseproof" for program in programs)
    return [program[1:] for program in programs]


def exit_code(command: list[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run the command line in this process."""
    monkeypatch.setattr(sys, "argv", ["noiseproof", *command])
    try:
        main()
    except SystemExit as end:
        return end.code or 0
    return 0


def test_python_of_the_readme_prints_what_it_says() -> None:
    scope: dict[str, Any] = {}
    shown = [position for position, (language, _) in enumerate(EXAMPLES) if language == "python"]
    assert len(shown) == 1
    for position in shown:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(EXAMPLES[position][1], scope)
        language, expected = EXAMPLES[position + 1]
        assert language == "text"
        found = re.findall(r"[-\w.]+", printed.getvalue())
        assert len(found) == len(re.findall(r"[-\w.]+", expected))
        for ours, theirs in zip(found, re.findall(r"[-\w.]+", expected), strict=True):
            # Another processor rounds scores, and so some votes, otherwise. One vote may move the moment of stopping by
            # dozens, so numbers of votes are compared more loosely.
            rel = 0.3 if float(theirs) > 10 else 0.02
            assert float(ours) == pytest.approx(float(theirs), abs=0.02, rel=rel), printed.getvalue()


def test_command_of_the_readme_prints_what_it_says(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (block,) = [text for language, text in EXAMPLES if language == "console"]
    (command,) = arguments(block)
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("COLUMNS", "100")
    assert exit_code(command, monkeypatch) == 0
    printed = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert [line for line in printed if line] == [line for line in block.splitlines()[1:] if line]


@pytest.mark.slow
def test_commands_of_the_guide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    guide = BLOCK.findall((ROOT / "docs" / "guide.md").read_text())
    commands = [command for language, text in guide if language == "console" for command in arguments(text)]
    assert len(commands) == 10
    monkeypatch.chdir(tmp_path)
    for command in commands:
        assert exit_code(command, monkeypatch) == 0, command
    assert (tmp_path / "runs" / "report.html").stat().st_size > 50_000


@pytest.mark.parametrize("page", [README, *DOCS], ids=lambda page: page.name)
def test_commands_are_those_of_the_command_line(page: Path) -> None:
    for _, text in BLOCK.findall(page.read_text()):
        for line in text.replace("\\\n", " ").splitlines():
            command, _, _ = line.removeprefix("$ ").partition("#")
            if command.startswith("noiseproof ") and "..." not in command and "$" not in command:
                app.parse_args(shlex.split(command)[1:], exit_on_error=False, print_error=False)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for inline, reference in LINK.findall(page.read_text()):
        target = inline or reference
        if not target.startswith("https://"):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_architecture_shows_every_room() -> None:
    table = re.findall(
        r"^\| `(\w+)(?:/|\.py)` \| (.+) \|$", (ROOT / "docs" / "architecture.md").read_text(), re.MULTILINE
    )
    assert [room for room, _ in table[: len(ROOMS)]] == ROOMS
    for room, description in table[: len(ROOMS)]:
        source = SOURCE / room / "__init__.py" if (SOURCE / room).is_dir() else SOURCE / f"{room}.py"
        docstring = ast.get_docstring(ast.parse(source.read_text()))
        assert docstring is not None
        assert docstring.splitlines()[0] == description


def test_readme_is_short() -> None:
    assert len(README.read_text().splitlines()) <= 120


@pytest.mark.parametrize("page", [README, *DOCS], ids=lambda page: page.name)
def test_lines_are_short(page: Path) -> None:
    long = [line for line in page.read_text().splitlines() if len(line) > 120]
    assert not long, f"{page.name} has {len(long)} lines of more than 120 characters"


def test_words_that_were_given_up_are_gone() -> None:
    pages = [path for path in SOURCE.rglob("*") if path.suffix in {".py", ".html", ".json", ".md"}]
    for page in [README, *DOCS, *pages]:
        found = GIVEN_UP.findall(page.read_text())
        assert not found, f"{page.relative_to(ROOT)} says {found}"


def test_every_statement_has_a_proof_and_a_test() -> None:
    statements = (ROOT / "docs" / "proofs.md").read_text().split("\n- **")[1:]
    assert len(statements) >= 45
    for statement in statements:
        name, _, text = " ".join(statement.partition("\n\n")[0].split()).partition("**")
        _, found, rest = text.partition("Proof: ")
        assert found, f"{name} has no proof"
        proofs, _, tests = rest.partition("Test: ")
        places = re.findall(r"`(noiseproof\.[\w.]+)`", proofs)
        files = re.findall(r"\]\(\.\./(src/[^)]+\.md)\)", proofs)
        assert places or files, f"{name} names no proof"
        for place in places:
            assert pkgutil.resolve_name(place).__doc__, f"{place} has no docstring"
        for file in files:
            assert (ROOT / file).exists(), file
        named = re.findall(r"`([\w/]+\.py)::(\w+)`", tests)
        assert named, f"{name} has no test"
        for file, function in named:
            assert f"\ndef {function}(" in (ROOT / "tests" / file).read_text(), f"{file} has no {function}"
