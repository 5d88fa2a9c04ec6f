"""`noiseproof rejudge`."""

from pathlib import Path
from typing import Annotated

import typer

from noiseproof.cli.attack import show_attack
from noiseproof.cli.console import DataDirOption, DataOption, DeviceOption, JsonOption, UnverifiedOption
from noiseproof.cli.progress import Shown

__all__ = ["rejudge"]


def rejudge(
    attacked: Annotated[
        Path, typer.Argument(metavar="ATTACK", help="The record of an attack, with its points.", show_default=False)
    ],
    votes: Annotated[int, typer.Option(help="Fresh votes on every point.")] = 10_000,
    alpha: Annotated[
        float | None, typer.Option(help="Level at which votes decide.", show_default="that of the record")
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(min=0, help="Of the votes; another than the attack's.", show_default="the attack's, plus 1"),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Where the votes go.", show_default="ATTACK-votesVOTES-seedSEED")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="The classifier that was attacked, where the run does not hold it.", show_default="found"),
    ] = None,
    weights: Annotated[Path | None, typer.Option(help="Its weights, for a factory.")] = None,
    data: DataOption = None,
    data_dir: DataDirOption = None,
    allow_unverified: UnverifiedOption = False,
    device: DeviceOption = "auto",
    json: JsonOption = False,
) -> None:
    """Judge the points that an attack found by fresh votes, as many as you like: nothing is attacked again.

    The votes of the attack decided which points it kept, so they lean towards it a little; these do not. They go to a
    record of their own, with the points. Stop it with Ctrl-C, run it again and it goes on.
    """
    from noiseproof.runs import AttackRecord, DataChoice, Engine, Rejudge, Subject, execute

    found = AttackRecord.open(attacked)
    job = Rejudge(found, votes, seed, alpha)
    planned = job.settings  # before anything is loaded
    run, spec = _run_of(attacked), dict(found.settings.noise or {})
    (scale,) = (value for key, value in spec.items() if key != "name")
    recorded = str(found.settings.model["name"])
    named = recorded if model is None and recorded.startswith("zoo:") else model
    choice = DataChoice(data, None, data_dir, allow_unverified, None)
    subject = Subject.of_run(run, named, weights=weights, data=choice, noise=str(spec["name"]), sigma=scale)
    where = out or attacked.with_name(f"{attacked.resolve().name}-votes{votes}-seed{planned.seed}")
    title = f"{attacked.resolve().name}, judged again"
    with Shown(job.kept, title) as shown:
        record, _ = execute(job, where, subject, engine=Engine(device), listener=shown)
    show_attack(record, title, run, json=json)


def _run_of(attacked: Path) -> Path:
    """The run folder above a record of an attack: the next one with a network or with votes; else the record's own."""
    from noiseproof.runs import Record
    from noiseproof.training import CHECKPOINT

    above = list(attacked.resolve().parents)[:3]
    return next(
        (path for path in above for name in (CHECKPOINT, Record.configuration) if (path / name).exists()), attacked
    )
