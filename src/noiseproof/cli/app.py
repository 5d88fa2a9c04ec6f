"""The command `noiseproof`: its subcommands, and the messages of errors."""

import sys
from collections.abc import Sequence
from typing import Annotated, Literal

from cyclopts import App, CycloptsError, Group, Parameter
from cyclopts.completion.detect import ShellDetectionError
from rich.markup import escape

from noiseproof.cli.attack import attack
from noiseproof.cli.audit import audit
from noiseproof.cli.certify import certify
from noiseproof.cli.check import check
from noiseproof.cli.console import console, interruptible, say, volume
from noiseproof.cli.demo import demo
from noiseproof.cli.ensemble import ensemble
from noiseproof.cli.inspect import inspect
from noiseproof.cli.ladder import ladder
from noiseproof.cli.measure import measure
from noiseproof.cli.options import Flag
from noiseproof.cli.radius import radius
from noiseproof.cli.recertify import recertify
from noiseproof.cli.rejudge import rejudge
from noiseproof.cli.report import report
from noiseproof.cli.reproduce import reproduce
from noiseproof.cli.train import train
from noiseproof.cli.verify import verify
from noiseproof.cli.wording import in_options, parse, said
from noiseproof.errors import InvalidInputError, NoiseproofError

__all__ = ["EXIT_CODES", "app", "main", "run"]

_COMMANDS = {
    "Train and certify": (demo, train, ensemble, certify, recertify, report, inspect, measure, check),
    "Attack": (attack, rejudge, audit, ladder),
    "The paper": (reproduce, radius, verify),
}

EXIT_CODES = {
    0: "done",
    1: "a check failed, such as an audit or a ladder, or a file of a record is damaged",
    2: "the command cannot be carried out; the message says what to do",
    3: "incomplete: another process works on the rest, or records are missing or incomplete",
    130: "ended by Ctrl-C; the same command resumes",
    143: "ended by SIGTERM; the same command resumes",
}
"""What the command's exit codes mean."""


def _version() -> str:
    from importlib.metadata import version

    return f"noiseproof {version('noiseproof')}"


app = App(
    name="noiseproof",
    help="Provable robustness through additive noise: train, certify, attack, report.\n\n"
    "New here? `noiseproof demo` shows all of it on built-in data.",
    version=_version,
    help_format="markdown",
    help_epilogue="Exit codes: " + "; ".join(f"{code} {meaning}" for code, meaning in EXIT_CODES.items()) + ".",
    group_parameters=Group("Options", sort_key=1),
    default_parameter=Parameter(negative_iterable="", converter=parse),
    result_action="return_value",
    suppress_keyboard_interrupt=False,
)
for _title, _commands in _COMMANDS.items():
    _group = Group.create_ordered(_title)
    for _place, _command in enumerate(_commands):
        app.command(_command, group=_group, sort_key=_place)
app.meta.suppress_keyboard_interrupt = False  # `interruptible` says what is kept


@app.command(name="--install-completion")
def _install_completion(
    *,
    shell: Annotated[
        Literal["bash", "zsh", "fish", "powershell"] | None,
        Parameter(help="The shell to install it for.", show_default="the current one"),
    ] = None,
) -> None:
    """Install completion of commands, options and choices for a shell; the script is loaded when the shell starts."""
    try:
        path = app.install_completion(shell=shell)
    except ShellDetectionError as error:
        example, got = "Example: noiseproof --install-completion --shell zsh", "a shell that is not recognised"
        raise InvalidInputError("--shell", required="bash, zsh or fish", got=got, remedy=example) from error
    say(f"Completion script installed to {escape(str(path))}\nOpen a new shell to use it; zsh needs compinit.", console)


app["--help"].group = app["--version"].group = app["--install-completion"].group = Group.create_ordered("Options")


@app.meta.default
def _launch(
    *tokens: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)],
    quiet: Annotated[Flag, Parameter(help="Print results and errors only.")] = False,
    verbose: Annotated[
        Flag,
        Parameter(help="Report progress every five seconds in a log, and the traceback of an error."),
    ] = False,
) -> None:
    """Run a command, after the options that every command has."""
    with volume(quiet=quiet, verbose=verbose):
        app(tokens, print_error=False, exit_on_error=False)


def run(arguments: Sequence[str] | None = None) -> None:
    """Run a command.

    Args:
        arguments: as typed, without the program's name; those of this process if None.

    Raises:
        NoiseproofError: the command cannot do what was asked.
        CycloptsError: there is no such command or option, or a value that is not of its type.
        SystemExit: the command ended with an exit code of its own.
    """
    typed = list(sys.argv[1:] if arguments is None else arguments)
    command = next((each for each in typed if each not in {"--quiet", "--verbose"}), "--help")
    if not command.startswith(("-", "_")) and command not in app:  # --help would show the help of all commands
        typed = [each for each in typed if each not in app.help_flags]
    try:
        app.meta(typed, print_error=False, exit_on_error=False)
    except CycloptsError as error:
        meant = said(error)
        if meant is None:
            raise
        raise meant from error


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; errors meant for people are printed without a traceback. Exit codes: `EXIT_CODES`."""
    try:
        with interruptible():
            run(arguments)
    except NoiseproofError as error:
        typed = sys.argv[1:] if arguments is None else arguments
        say(f"[bold red]Error:[/] {escape(in_options(error, app, typed))}")
        sys.exit(error.exit_code)
    except CycloptsError as error:
        command = " ".join(["noiseproof", *(error.command_chain or ())])
        say(f"[bold red]Error:[/] {escape(str(error))} See: {command} --help")
        sys.exit(2)
