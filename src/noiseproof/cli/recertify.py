"""`noiseproof recertify`."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from rich.markup import escape

from noiseproof.cli.console import console, print_json, say, summary_table
from noiseproof.cli.options import Json, ProcedureOptions, Radii

if TYPE_CHECKING:
    from noiseproof.certified import FixedSamples
    from noiseproof.runs.records import Record

__all__ = ["recertify", "show"]


def recertify(
    run: Annotated[Path, Parameter(help="A run folder with votes.")],
    /,
    *,
    procedure: ProcedureOptions = ProcedureOptions(),
    radii: Radii = None,
    csv_file: Annotated[
        Path | None,
        Parameter(name="--csv", help="Also write every image's prediction, bounds and radius to this file."),
    ] = None,
    json: Json = False,
) -> None:
    """Compute bounds and radii again from recorded votes, in seconds and without the network.

    Choose the bound before you see the results: the best of several bounds does not hold at level alpha.
    """
    from noiseproof.errors import InvalidInputError
    from noiseproof.runs.records import Record
    from noiseproof.runs.sequential_records import SequentialRecord

    if (run / SequentialRecord.configuration).exists():
        raise InvalidInputError(
            str(run),
            required="votes whose number was fixed beforehand: these bounds do not hold at a stopping time",
            got="a run of certify --radius or --rtol",
            remedy="noiseproof report shows what it proves.",
        )
    record = Record.open(run)
    show(record, replace(record.procedure, **procedure.named()), radii=radii, json=json, csv_file=csv_file)


def show(
    record: "Record",
    chosen: "FixedSamples",
    *,
    radii: Sequence[float] | None,
    json: bool,
    csv_file: Path | None = None,
) -> None:
    """Print the figures of a record under one procedure."""
    from noiseproof.reports.analysis import Procedure, analyse_procedure, departure, names_of
    from noiseproof.reports.naming import incomplete
    from noiseproof.reports.plain import plain_summary, votes_as_csv
    from noiseproof.storage.files import write_atomically

    alpha, bound, certificate = chosen.alpha, chosen.bound, chosen.certificate
    title = f"{names_of(bound, certificate)}, alpha {alpha:g}"
    votes, curve = analyse_procedure(record, Procedure(title, bound, certificate), alpha=alpha, radii=radii)
    if csv_file is not None:
        write_atomically(csv_file, votes_as_csv(record, votes, curve.certified))
        say(f"Wrote {escape(str(csv_file))}")
    if json:
        counts = {"counted": len(votes), "planned": len(record.settings.indices)}
        print_json({"run": str(record.path), "alpha": alpha} | counts | plain_summary(title, curve.summary))
        return
    if missing := incomplete(record, len(votes)):
        say(f"[yellow]Incomplete:[/] {missing}")
    if other := departure(record, curve.procedure, alpha):
        say(f"[yellow]Another procedure:[/] {escape(other)}")
    console.print(summary_table(str(record.path), [(title, curve.summary)]))
