"""`noiseproof rejudge`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from noiseproof.cli import names
from noiseproof.cli.attack import recorded_engine, show_attack
from noiseproof.cli.console import DataDirOption, DataOption, DeviceOption, JsonOption, UnverifiedOption

if TYPE_CHECKING:
    from noiseproof.cli.subject import DataChoice, Subject
    from noiseproof.runs.attack_records import AttackRecord

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
    from noiseproof.cli.counting import Engine
    from noiseproof.cli.defending import Opponent, require_recorded, run_judging
    from noiseproof.cli.engine import PrecisionName
    from noiseproof.cli.subject import DataChoice
    from noiseproof.errors import RunError
    from noiseproof.runs.attack_records import AttackRecord

    found = AttackRecord.open(attacked)
    settings = found.settings
    planned = settings.again(settings.engine, samples=votes, seed=seed, alpha=alpha)  # before anything is loaded
    missing = found.missing()[0]
    if missing:
        raise RunError(
            str(attacked),
            required="complete, to be judged again",
            got=f"{len(missing)} of {len(found.shards)} shards missing or damaged",
            remedy="Run the command that made it again: it goes on.",
        )
    run = _run_of(attacked)
    subject = _attacked_subject(found, run, model, weights, DataChoice(data, None, data_dir, allow_unverified, None))
    require_recorded(attacked, subject, settings, done="attacked")
    where = out or attacked.with_name(f"{attacked.resolve().name}-votes{votes}-seed{planned.seed}")
    opponent = Opponent(
        subject,
        subject.noise,
        Engine(device, PrecisionName.auto, None),
        recorded_engine(where) or settings.engine,
        votes=votes * len(settings.indices) * len(settings.sizes),
        seed=planned.seed,
    )
    title = f"{attacked.resolve().name}, judged again"
    record = run_judging(opponent, found, where, samples=votes, seed=seed, alpha=alpha, title=title)
    show_attack(record, title, run, json=json)


def _run_of(attacked: Path) -> Path:
    """The run folder above a record of an attack: the next one with a network or with votes; else the record's own."""
    from noiseproof.runs.records import Record
    from noiseproof.training import CHECKPOINT

    above = list(attacked.resolve().parents)[:3]
    return next(
        (path for path in above for name in (CHECKPOINT, Record.configuration) if (path / name).exists()), attacked
    )


def _attacked_subject(
    found: "AttackRecord", run: Path, model: str | None, weights: Path | None, choice: "DataChoice"
) -> "Subject":
    """The classifier that was attacked, with its noise: named, of the zoo, or of the run folder above."""
    from noiseproof.cli.defending import chosen_subject

    spec = dict(found.settings.noise or {})
    (scale,) = (value for key, value in spec.items() if key != "name")
    recorded = str(found.settings.model["name"])
    named = recorded if model is None and recorded.startswith("zoo:") else model
    return chosen_subject(run, named, weights, choice, scale, names.NoiseName(str(spec["name"])))
