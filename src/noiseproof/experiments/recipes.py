"""Recipes: a recipe declares a record that a figure reads; its folder, its commands and its check follow from that.

A record is accepted by its recorded settings, not by the name of its folder. One with other settings counts as missing,
and the reason is given.
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
"""Seconds, and the machine on which they were measured."""

Facts = Iterator[tuple[str, object, object]]
"""Triples (what, required, got) that compare a record with its recipe."""

Found = TypeVar("Found")
Name = TypeVar("Name", str, int)


@dataclass(frozen=True)
class Step:
    """One command. Interrupted and run again, it resumes.

    Attributes:
        arguments: the command line, the program first.
        folder: folder of the results.
        cost: measured duration; None where it was not measured.
    """

    arguments: tuple[str, ...]
    folder: Path
    cost: Cost | None = None

    @staticmethod
    def of(folder: Path, *words: object, cost: Cost | None = None, **options: object) -> "Step":
        """Return a command of noiseproof: its name and arguments, then its options.

        A list repeats its option for every value, True is a flag without value, None leaves the option out.
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
    """A missing record, why it is missing, and the commands that make it.

    Attributes:
        what: the record, in words.
        why: the reason, in words.
        steps: the commands in order; empty where the package has no experiment for it.
        blocked: whether another record lies in its folder and must be moved away first.
    """

    what: str
    why: str
    steps: tuple[Step, ...] = ()
    blocked: bool = False

    @property
    def command(self) -> str:
        """The commands, joined by &&."""
        return " && ".join(map(str, self.steps))

    def plain(self) -> dict[str, str]:
        """Return what, why and the command as plain data."""
        return {"what": self.what, "why": self.why, "command": self.command}


@dataclass(frozen=True)
class Recipe(ABC, Generic[Found]):
    """A record of an experiment, declared as a frozen dataclass. Its folder is relative to any folder of records.

    Attributes:
        beside: records it is evaluated together with, and which it must fit.
    """

    record: ClassVar[Any]
    """Class of the record: `configuration` is the file by which a folder is recognised, `open` reads it."""

    beside: tuple[Any, ...] = field(default=(), kw_only=True)

    @property
    def title(self) -> str:
        """The record in words; by default its folder."""
        return self.folder

    @property
    @abstractmethod
    def folder(self) -> str:
        """Folder of the record, relative to the folder of records."""

    @abstractmethod
    def steps(self, records: Path) -> list[Step]:
        """Return the commands that make the record, in order; networks that exist are not trained again."""

    @abstractmethod
    def facts(self, record: Found) -> Facts:
        """Yield what the recipe requires of a record, and what the record says."""

    @final
    def exists(self, records: Path) -> bool:
        """Whether its folder holds a record, with whatever settings."""
        return records.joinpath(self.folder, self.record.configuration).exists()

    @final
    def find(self, records: Path) -> "Found | Missing":
        """Return the record, or why it is missing. A damaged or different record raises nothing: it is missing."""
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
    """Finds records by their recipes, and keeps account of those read and those missing.

    Attributes:
        folder: the folder of records.
        sources: the records read, by folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.sources: dict[str, Any] = {}
        self._missing: dict[tuple[str, str], Missing] = {}

    @property
    def missing(self) -> list[Missing]:
        """The missing records, each once, in the order in which they were looked for."""
        return list(self._missing.values())

    def find(self, recipe: Recipe[Found]) -> Found | None:
        """Return the record of a recipe; None where it is missing, which is noted."""
        found = recipe.find(self.folder)
        if isinstance(found, Missing):
            self.miss(found)
            return None
        self.sources[str(self.folder / recipe.folder)] = found
        return found

    def find_alike(self, recipes: Mapping[Name, Recipe[Found]]) -> dict[Name, Found]:
        """Return the records found, by name; each must fit those found before it (`Recipe.beside`)."""
        found: dict[Name, Found] = {}
        for name, recipe in recipes.items():
            if (record := self.find(replace(recipe, beside=tuple(found.values())))) is not None:
                found[name] = record
        return found

    def miss(self, missing: Missing) -> None:
        """Note a missing record."""
        self._missing[missing.what, missing.command] = missing
