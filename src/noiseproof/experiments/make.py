"""Making what is missing of a figure: its steps in order, with the time of each beforehand; killed, it goes on."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from noiseproof.errors import NoiseproofError, RunError
from noiseproof.experiments.figure import Figure
from noiseproof.experiments.recipes import Missing, Step
from noiseproof.reports.sources import seconds_of
from noiseproof.runs.attack_records import AttackRecord
from noiseproof.runs.records import Record
from noiseproof.runs.sequential_records import SequentialRecord
from noiseproof.runs.verification import FILE, Verified
from noiseproof.training import LOG

__all__ = ["RECORDED", "Estimate", "estimate", "make", "planned", "run_step"]

RECORDED = Path("reproduction/records")
"""Where the repository keeps records, whose times are known."""


@dataclass(frozen=True)
class Estimate:
    """What a step is likely to take.

    Attributes:
        seconds: None where nobody knows.
        basis: what that rests on.
    """

    seconds: float | None
    basis: str


def planned(missing: list[Missing]) -> list[Step]:
    """Return the steps that make what is missing, each once, in order; what is blocked has none."""
    return list(dict.fromkeys(step for each in missing if not each.blocked for step in each.steps))


def make(figure: Figure[Any], records: Path, run: Callable[[Step], None]) -> None:
    """Run what is missing of a figure, step by step; killed and called again, it goes on where it was.

    A step may bring others to light, which follow. None runs twice, whatever it leaves behind.

    Args:
        figure: what is to be completed.
        records: the folder of records.
        run: runs one step.

    Raises:
        RunError: a step failed.
    """
    done: set[Step] = set()
    while steps := [step for step in planned(figure.compute(records).missing) if step not in done]:
        run(steps[0])
        done.add(steps[0])


def run_step(step: Step) -> None:
    """Run the command of a step in a process of its own, whose output is seen.

    Raises:
        RunError: it failed.
    """
    program, *arguments = step.arguments
    interpreted = ["-m", "noiseproof", *arguments] if program == "noiseproof" else arguments
    code = subprocess.run([sys.executable, *interpreted], check=False).returncode  # noqa: S603 - our own recipes
    if code:
        raise RunError(
            str(step),
            required="run to its end",
            got=f"exit code {code}",
            remedy="Its message stands above; mend that, and run the same command again.",
        )


def estimate(step: Step, records: Path) -> Estimate:
    """Return what a step is likely to take: by what it has done, by a record of the same recipe, or by what is stated."""
    if begun := _spent(step, step.folder):
        seconds, share = begun
        if share:
            return Estimate(seconds * (1.0 - share) / share, f"by the {100 * share:.0f} % that are done")
    if step.folder.is_relative_to(records):
        place = RECORDED / step.folder.relative_to(records)
        known = _spent(step, place)
        if known and known[1] == 1.0:
            return Estimate(known[0], f"recorded in {place}")
    if step.cost is not None:
        return Estimate(step.cost[0], f"stated, on {step.cost[1]}")
    return Estimate(None, "nobody measured it")


def _spent(step: Step, folder: Path) -> tuple[float, float] | None:
    """Return the seconds that a step has taken so far in a folder and which share is done; None where nothing says so."""
    try:
        if step.arguments[1] == "train":
            epochs = [float(json.loads(line)["seconds"]) for line in (folder / LOG).read_text().splitlines()]
            wanted = int(step.arguments[step.arguments.index("--epochs") + 1])
            return sum(epochs), len(epochs) / wanted
        for found in _records(folder):
            seconds, share = seconds_of(found)
            if seconds is not None:
                return seconds, share
    except (NoiseproofError, OSError, ValueError, KeyError):
        return None  # what is damaged tells no time; the step itself says what is wrong with it
    return None


def _records(folder: Path) -> Iterator[Record | AttackRecord | SequentialRecord | Verified]:
    """Yield the records in a folder, of any kind."""
    for kind in (Record, AttackRecord, SequentialRecord):
        if (folder / kind.configuration).exists():
            yield kind.open(folder)
    if (folder / FILE).exists():
        yield Verified.read(folder)
