"""The command `noiseproof`."""

import sys
from typing import Annotated

import typer
from rich.markup import escape

from noiseproof.cli.attack import attack
from noiseproof.cli.audit import audit
from noiseproof.cli.certify import certify
from noiseproof.cli.console import say
from noiseproof.cli.demo import demo
from noiseproof.cli.ensemble import ensemble
from noiseproof.cli.inspect import inspect
from noiseproof.cli.ladder import ladder
from noiseproof.cli.measure import measure
from noiseproof.cli.radius import radius
from noiseproof.cli.recertify import recertify
from noiseproof.cli.rejudge import rejudge
from noiseproof.cli.report import report
from noiseproof.cli.reproduce import reproduce
from noiseproof.cli.train import train

__all__ = ["app", "main"]

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (
    *(demo, train, ensemble, certify, attack, rejudge, audit, ladder),
    *(recertify, report, inspect, measure, radius, reproduce),
):
    app.command()(command)


def _print_version(value: bool) -> bool:
    if value:
        from importlib.metadata import version

        typer.echo(f"noiseproof {version('noiseproof')}")
        raise typer.Exit
    return value


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Provable robustness through additive noise: train, certify, report.

    New here? [bold]noiseproof demo[/] shows all of it on built-in data.
    """


def main() -> None:
    """Run the command line; errors meant for people are printed without a traceback and exit with 2."""
    from noiseproof.errors import NoiseproofError

    try:
        app()
    except NoiseproofError as error:
        say(f"[bold red]Error:[/] {escape(str(error))}")
        sys.exit(2)
