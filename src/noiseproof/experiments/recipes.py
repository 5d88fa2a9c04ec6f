"""What figures are made of. A recipe says what a record is; its folder, its commands and its check follow from that.

A record counts by what it says of itself, not by the name of its folder: one that says something else is missing, and
the reason is given.
"""

import shlex
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar, cast, final

from noiseproof.errors import NoiseproofError
from noiseproof.runs.identity import require_recorded
from noiseproof.runs.store import ShardedRecord

__all__ = ["NOT_THERE", "Cost", "Facts", "Found", "Missing", "Reader", "Recipe", "Step"]

NOT_THERE = "not there"

Cost = tuple[float, str]
"""Seconds, and the machine."""

Facts = Iterator[tuple[str, object, object]]
"""What a record must be, and what it says: (what, required, got) each."""

Found = TypeVar("Found")
Name = TypeVar("Name", str, int)


@dataclass(frozen=True)
class Step:
    """One command. Run again, it goes on where it was stopped.

    Attributes:
        arguments: of the command line, the program first.
        folder: where what it makes lies.
        cost: what it is stated to take; None where nobody measured it.
    """

    arguments: tuple[str, ...]
    folder: Path
    cost: Cost | None = None

    @staticmethod
    def of(folder: Path, *words: object, cost: Cost | None = None, **options: object) -> "Step":
        """Return a command of noiseproof, its name and arguments, with options.

        A list gives its option once for each of its values, True is a switch, None leaves the option out.
        """
        parts: list[object] = []
        for name, value in options.items():
            for each in value if isinstance(value, list) else [] if value is None else [value]:
                parts += [f"--{name.replace('_', '-')}", *([] if each is True else [each])]
        return Step(("noiseproof", *map(str, (*words, *parts))), folder, cost)

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


@dataclass(frozen=True)
class Recipe(ABC, Generic[Found]):
    """A record of an experiment: a frozen dataclass of what it is made from. Paths are below any folder of records.

    Attributes:
        beside: records with which it is put together, and which it has to fit.
    """

    record: ClassVar[Any]
    """The class of its record: a folder has one where its file `configuration` is, and `open` reads it."""

    beside: tuple[Any, ...] = field(default=(), kw_only=True)

    @property
    def title(self) -> str:
        """What is made, in words; the folder, unless it has a name of its own."""
        return self.folder

    @property
    @abstractmethod
    def folder(self) -> str:
        """Where its record lies."""

    @abstractmethod
    def steps(self, records: Path) -> list[Step]:
        """Return the commands that make it, in order, without those whose networks are there."""

    @abstractmethod
    def facts(self, record: Found) -> Facts:
        """Compare a record with this recipe."""

    @final
    def exists(self, records: Path) -> bool:
        """Whether there is a record in its place, whatever it says."""
        return records.joinpath(self.folder, self.record.configuration).exists()

    @final
    def find(self, records: Path) -> "Found | Missing":
        """Return its record, or what is missing of it: nothing is raised for one that is damaged or another."""
        path = records / self.folder
        if not self.exists(records):
            return Missing(self.title, NOT_THERE, tuple(self.steps(records)))
        try:
            record = self.record.open(path)
            facts = list(self.facts(record))
            here = {what: required for what, required, _ in facts}
            assert len(here) == len(facts), "each fact has a name of its own"  # noqa: S101 - our own recipes
            remedy = "Move it away, and make the one that belongs here."
            require_recorded(path, {what: got for what, _, got in facts}, here, remedy=remedy)
        except NoiseproofError as error:
            return Missing(self.title, str(error), tuple(self.steps(records)), blocked=True)
        left, faults = record.missing() if isinstance(record, ShardedRecord) else ([], [])
        if left:
            why = "; ".join([f"{len(left)} of {len(record.shards)} shards are missing or damaged", *map(str, faults)])
            own = Step(tuple(record.about.get("command", ())), path)  # with its settings it goes on
            return Missing(self.title, why, (own,) if own.arguments else tuple(self.steps(records)))
        return cast("Found", record)


class Reader:
    """Finds records by their recipes, and keeps what it read and what is missing.

    Attributes:
        folder: of the records.
        sources: what was read, by folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.sources: dict[str, Any] = {}
        self._missing: dict[tuple[str, str], Missing] = {}

    @property
    def missing(self) -> list[Missing]:
        """What was not found, in order, each once."""
        return list(self._missing.values())

    def find(self, recipe: Recipe[Found]) -> Found | None:
        """Return the record of a recipe; None where it is missing."""
        found = recipe.find(self.folder)
        if isinstance(found, Missing):
            self.miss(found)
            return None
        self.sources[str(self.folder / recipe.folder)] = found
        return found

    def find_alike(self, recipes: Mapping[Name, Recipe[Found]]) -> dict[Name, Found]:
        """Return the records that are there, by the names of their recipes, each beside those that stand before it."""
        found: dict[Name, Found] = {}
        for name, recipe in recipes.items():
            if (record := self.find(replace(recipe, beside=tuple(found.values())))) is not None:
                found[name] = record
        return found

    def miss(self, missing: Missing) -> None:
        """Name what is missing."""
        self._missing[missing.what, missing.command] = missing
