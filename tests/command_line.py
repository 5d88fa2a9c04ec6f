"""The command line as tests run it: in this process, since to start another takes longer than most commands."""

import contextlib
import io
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

from noiseproof import cli

__all__ = ["PROGRAM", "QUIET", "Ended", "figures", "invoke", "one_line", "parsed", "process"]

PROGRAM = [sys.executable, "-m", "noiseproof"]
QUIET = os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "100", "NO_COLOR": "1"}


@dataclass(frozen=True)
class Ended:
    """What a command printed, and its exit code."""

    code: int
    stdout: str
    stderr: str


def invoke(*arguments: object, code: int = 0) -> Ended:
    """Run a command as `noiseproof` does, and check its exit code."""
    out, err = io.StringIO(), io.StringIO()
    ended = 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            cli.main([*map(str, arguments)])
        except SystemExit as done:
            ended = done.code if isinstance(done.code, int) else int(done.code is not None)
    assert ended == code, out.getvalue() + err.getvalue()
    return Ended(ended, out.getvalue(), err.getvalue())


def figures(*arguments: object, code: int = 0) -> Any:
    """Run a command and return what it printed as JSON; errors meant for people are raised."""
    out, ended = io.StringIO(), 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
        try:
            cli.run([*map(str, arguments), "--json"])
        except SystemExit as done:
            ended = done.code if isinstance(done.code, int) else int(done.code is not None)
    assert ended == code, out.getvalue()
    return json.loads(out.getvalue()) if out.getvalue() else None


def process(*arguments: object, code: int = 0) -> "subprocess.CompletedProcess[str]":
    """Run a command in a process of its own, for what only a process shows."""
    command = [*PROGRAM, *map(str, arguments)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=QUIET, timeout=300)
    assert done.returncode == code, done.stdout + done.stderr
    return done


def one_line(text: str) -> str:
    """Undo the wrapping of terminal output."""
    return " ".join(text.split())


def parsed(*arguments: object) -> dict[str, Any]:
    """Return what a command would be called with; nothing is run."""
    _, bound, _ = cli.app.parse_args([*map(str, arguments)], print_error=False, exit_on_error=False)
    bound.apply_defaults()
    return dict(bound.arguments)
