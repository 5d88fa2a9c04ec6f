"""The package under a type checker, as a user's editor runs it: basedpyright, pyright with Node from a wheel."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import noiseproof
import typed_use

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Everything that strict checks say of both scripts."""
    folder = tmp_path_factory.mktemp("typed")
    settings = {
        "include": [str(HERE / "typed_use.py"), str(HERE / "typed_misuse.py")],
        "typeCheckingMode": "strict",
        "extraPaths": [str(Path(noiseproof.__file__).parents[1])],
        "reportUnusedExpression": False,
        "reportUnknownMemberType": False,  # of what a misspelt name would have been
        "reportUnknownVariableType": False,
        "reportUnknownArgumentType": False,  # of pyarrow, which has no types
    }
    (folder / "pyrightconfig.json").write_text(json.dumps(settings))
    command = [sys.executable, "-m", "basedpyright", "--outputjson", "--pythonpath", sys.executable, "-p", str(folder)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 1, result.stderr or result.stdout
    answers: list[dict[str, Any]] = json.loads(result.stdout)["generalDiagnostics"]
    return answers


def test_a_users_script_is_accepted_and_runs(found: list[dict[str, Any]], tmp_path: Path) -> None:
    said = [(answer["range"]["start"]["line"] + 1, answer["message"]) for answer in of("typed_use.py", found)]
    assert not said
    assert typed_use.main(tmp_path) >= 0.0


def test_misspelt_names_and_wrong_arguments_are_rejected(found: list[dict[str, Any]]) -> None:
    lines = (HERE / "typed_misuse.py").read_text().splitlines()
    wrong = {number for number, line in enumerate(lines, 1) if line.endswith("# rejected")}
    rejected = {answer["range"]["start"]["line"] + 1 for answer in of("typed_misuse.py", found)}
    assert rejected == wrong, [lines[number - 1] for number in rejected ^ wrong]


def of(name: str, found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [answer for answer in found if Path(answer["file"]).name == name]
