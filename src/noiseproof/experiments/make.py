"""`reproduce --make`: run the commands of all missing records, in order, with an estimate of the time. It resumes."""

import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from noiseproof.errors import RunError, Terminated
from noiseproof.experiments.figure import Figure
from noiseproof.experiments.recipes import Missing, Step
from noiseproof.reports.sources import spent

__all__ = ["RECORDED", "Estimate", "estimate", "kept", "make", "plan", "planned", "run_step"]

RECORDED = Path("reproduction/records")
"""Folder of the committed records, whose durations are known."""


@dataclass(frozen=True)
class Estimate:
    """Estimated duration of a step in seconds, None where it is unknown, and what the estimate is based on."""

    seconds: float | None
    basis: str

    def __str__(self) -> str:
        time = "unknown time" if self.seconds is None else f"about {_duration(self.seconds)}"
        return f"{time} ({self.basis})"


def planned(missing: Sequence[Missing]) -> list[Step]:
    """Return the steps of all missing records, each once, in order; blocked records have none."""
    return list(dict.fromkeys(step for each in missing if not each.blocked for step in each.steps))


def plan(missing: Sequence[Missing], records: Path) -> list[str]:
    """Return the plan in words: one line per step with its estimated duration, and one for the total."""
    steps = planned(missing)
    estimates = [estimate(step, records) for step in steps]
    known = [each.seconds for each in estimates if each.seconds is not None]
    unknown = f", and {len(steps) - len(known)} of unknown time" if len(known) < len(steps) else ""
    lines = [f"{number}. {each}: {step}" for number, (each, step) in enumerate(zip(estimates, steps, strict=True), 1)]
    return [*lines, f"{len(steps)} steps, about {_duration(sum(known))} in all{unknown}."] if steps else []


def kept(missing: Sequence[Missing], records: Path) -> str:
    """Return a hint to `--records` where the committed records include some of the missing; else an empty text."""
    if records.resolve() == RECORDED.resolve():
        return ""
    places = {_recorded(each.steps[-1], records) for each in missing if each.steps}
    count = sum(place is not None and place.is_dir() for place in places)
    return f"--records {RECORDED} reads {count} of the records that {records} lacks." if count else ""


def make(figure: Figure[Any], records: Path, run: Callable[[Step], None]) -> None:
    """Run the steps of all missing records of a figure. Killed and called again, it resumes.

    Further steps may be found missing once one has run; they follow. No step runs twice, whatever it leaves behind.

    Args:
        figure: the figure to complete.
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
    """Run the command of a step as a subprocess that shares the terminal.

    Raises:
        RunError: the command failed.
    """
    program, *arguments = step.arguments
    interpreted = ["-m", "noiseproof", *arguments] if program == "noiseproof" else arguments
    with subprocess.Popen([sys.executable, *interpreted]) as process:  # noqa: S603 - our own recipes
        try:
            code = process.wait()
        except KeyboardInterrupt as stopped:
            if isinstance(stopped, Terminated):  # Ctrl-C reaches every process of a terminal, SIGTERM only this one
                process.terminate()
            process.wait()
            raise
    if code not in {0, 3}:  # 3: another process works on the rest
        remedy = "Its message stands above; mend that, and run the same command again."
        raise RunError(str(step), required="run to its end", got=f"exit code {code}", remedy=remedy)


def estimate(step: Step, records: Path) -> Estimate:
    """Return the expected duration: from the part that is done, from the committed record, or as measured before."""
    options = step.arguments
    epochs = int(options[options.index("--epochs") + 1]) if options[1] == "train" else None
    begun = spent(step.folder, epochs)
    if begun and begun[1]:
        seconds, share = begun
        return Estimate(seconds * (1.0 - share) / share, f"by the {100 * share:.0f} % that are done")
    place = _recorded(step, records)
    known = None if place is None else spent(place, epochs)
    if known and known[1] == 1.0:
        return Estimate(known[0], f"recorded in {place}")
    if step.cost is not None:
        return Estimate(step.cost[0], f"stated, on {step.cost[1]}")
    return Estimate(None, "nobody measured it")


def _recorded(step: Step, records: Path) -> Path | None:
    """Return the folder of the committed record that corresponds to a step; None outside the folder of records."""
    return RECORDED / step.folder.relative_to(records) if step.folder.is_relative_to(records) else None


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
