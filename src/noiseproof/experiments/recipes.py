"""What figures are made of. A recipe says what a record is; its folder, its commands and its check follow from that.

A record counts as what it says of itself, never as what its folder is called: one that says something else is missing,
and the reason is given.
"""

import shlex
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar, final

from noiseproof.errors import NoiseproofError, RunError
from noiseproof.runs.store import ShardedRecord

__all__ = ["NOT_THERE", "Missing", "Recipe", "Step", "UnfinishedError", "require", "require_whole"]

NOT_THERE = "not there"

Found = TypeVar("Found")


@dataclass(frozen=True)
class Step:
    """One command. Run again, it goes on where it was stopped.

    Attributes:
        arguments: of the command line, the program first.
        folder: where what it makes lies.
        cost: what it is stated to take, as (seconds, machine); None where nobody measured it.
    """

    arguments: tuple[str, ...]
    folder: Path
    cost: tuple[float, str] | None = None

    def __str__(self) -> str:
        return shlex.join(self.arguments)


@dataclass(frozen=True)
class Missing:
    """What is not there, why, and the commands that make it, in order.

    Attributes:
        what: in words.
        why: in words.
        steps: the commands; none for what the package has no experiment for.
        blocked: whether another record lies in its place, which has to be moved away first.
    """

    what: str
    why: str
    steps: tuple[Step, ...] = ()
    blocked: bool = False

    @property
    def command(self) -> str:
        """The commands in one line."""
        return " && ".join(map(str, self.steps))

    def plain(self) -> dict[str, str]:
        """Return it as plain data."""
        return {"what": self.what, "why": self.why, "command": self.command}


class Recipe(ABC, Generic[Found]):
    """A record of an experiment: a frozen dataclass of what it is made from.

    Paths are the same below every folder of records.
    """

    @property
    @abstractmethod
    def title(self) -> str:
        """What is made, in words."""

    @property
    @abstractmethod
    def folder(self) -> str:
        """Where its record lies, below the folder of records."""

    @property
    @abstractmethod
    def configuration(self) -> str:
        """The file by which a folder has such a record."""

    @abstractmethod
    def steps(self, records: Path) -> list[Step]:
        """Return the commands that make it, in order, without those whose networks are there."""

    @abstractmethod
    def read(self, path: Path) -> Found:
        """Read the record in a folder and check that it is what this recipe says; see `require`.

        Raises:
            RunError: it is something else, or damaged; `UnfinishedError` if it is not whole.
        """

    @final
    def command(self, records: Path) -> str:
        """Return the commands that make it in one line."""
        return " && ".join(map(str, self.steps(records)))

    @final
    def find(self, records: Path) -> "Found | Missing":
        """Return its record, or what is missing of it: nothing is raised for a record that is damaged or another."""
        path = records / self.folder
        if not (path / self.configuration).exists():
            return self.missing(records, NOT_THERE)
        try:
            return self.read(path)
        except UnfinishedError as error:
            own = (Step(error.made_by, path),) if error.made_by else None
            return self.missing(records, str(error), own)
        except NoiseproofError as error:
            return self.missing(records, str(error), blocked=True)

    @final
    def missing(
        self, records: Path, why: str, steps: tuple[Step, ...] | None = None, *, blocked: bool = False
    ) -> Missing:
        """Return that it is missing, with the commands that make it, or others."""
        return Missing(self.title, why, tuple(self.steps(records)) if steps is None else steps, blocked)


class UnfinishedError(RunError):
    """A record with shards that are missing or damaged; the command that made it goes on with it."""

    made_by: tuple[str, ...] = ()


def require(path: Path, facts: Iterable[tuple[str, object, object]]) -> None:
    """Compare what a record must be with what it says, each as (what, required, got).

    Raises:
        RunError: they differ in one.
    """
    for what, required, got in facts:
        if required != got:
            raise RunError(
                str(path),
                required=f"the record that belongs here, with {what} {required}",
                got=got,
                remedy="Move it away, and make the one that belongs here.",
            )


def require_whole(record: ShardedRecord[Any, Any]) -> None:
    """Raise UnfinishedError if shards of a record are missing or damaged."""
    left, faults = record.missing()
    if left:
        error = UnfinishedError(
            str(record.path),
            required=f"whole, {len(record.shards)} shards" + "".join(f" ({fault})" for fault in faults),
            got=f"{len(left)} that are missing or damaged",
            remedy="The command that made the record goes on with it.",
        )
        error.made_by = tuple(record.about.get("command", ()))
        raise error
