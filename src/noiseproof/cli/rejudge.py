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
    alpha: Annotated[float | None, Parameter(help="Level at which votes decide.", show_default="the attack's")] = None,
    seed: Annotated[
        int | None, Parameter(help="Of the votes; another than the attack's.", show_default="the attack's, plus 1")
    ] = None,
    classifier: ClassifierOptions = ClassifierOptions(),
    data: DataOptions = DataOptions(),
    device: Device = "auto",
    out: Annotated[
        Path | None, Parameter(help="Where the votes go.", show_default="ATTACK-votesSAMPLES-seedSEED")
    ] = None,
    json: Json = False,
) -> None:
    """Judge the points that an attack found by fresh votes, as many as you like: nothing is attacked again.

    The votes of the attack decided which points it kept, so they lean towards it a little; these do not. They go to a
    record of their own, with the points. Stop it with Ctrl-C, run it again and it goes on.
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
