"""`noiseproof rejudge`."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from noiseproof.cli.attack import show_attack
from noiseproof.cli.console import require_all
from noiseproof.cli.options import ClassifierOptions, DataOptions, Device, Json, JudgingSamples
from noiseproof.cli.progress import Shown
from noiseproof.noises.registry import NOISES

__all__ = ["rejudge"]


def rejudge(
    attacked: Annotated[Path, Parameter(name="ATTACK", help="The record of an attack, with its points.")],
    /,
    *,
    samples: JudgingSamples = 10_000,
    alpha: Annotated[float | None, Parameter(help="Failure probability.", show_default="the attack's")] = None,
    seed: Annotated[
        int | None, Parameter(help="Seed of the votes, not the attack's.", show_default="the attack's, plus 1")
    ] = None,
    classifier: ClassifierOptions = ClassifierOptions(),
    data: DataOptions = DataOptions(),
    device: Device = "auto",
    out: Annotated[
        Path | None, Parameter(help="Folder for the votes.", show_default="ATTACK-votesSAMPLES-seedSEED")
    ] = None,
    json: Json = False,
) -> None:
    """Judge the points that an attack found by fresh votes, without attacking again.

    The attack kept its points by its own votes, which are therefore biased in its favour; fresh votes are not. They are
    written to a new record, with the points. After Ctrl-C the same command resumes.
    """
    from noiseproof.runs import AttackRecord, Engine, Rejudge, execute
    from noiseproof.runs.rejudge import run_above

    found = AttackRecord.open(attacked)
    job = Rejudge(found, samples, seed, alpha)
    planned = job.settings  # before anything is loaded
    run, noise = run_above(attacked), NOISES.from_spec(found.settings.noise)
    subject = classifier.load(attacked, data, noise=str(noise.spec()["name"]), sigma=noise.scale)
    where = out or attacked.with_name(f"{attacked.resolve().name}-votes{samples}-seed{planned.seed}")
    title = f"{attacked.resolve().name}, judged again"
    with Shown(job.kept, title) as shown:
        record, left = execute(job, where, subject, engine=Engine(device), listener=shown)
    show_attack(record, title, run, json=json)
    require_all(record, left)
