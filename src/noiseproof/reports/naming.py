"""Records in reports: what they, their data, classes and images are called, and what every analysis of one has."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from noiseproof.certified import ABSTAIN
from noiseproof.plugins import in_words
from noiseproof.runs.store import ShardedRecord

__all__ = [
    "WITHHELD",
    "Analysed",
    "apart",
    "caption",
    "class_label",
    "data_names",
    "entries",
    "incomplete",
    "labelled",
    "titles",
]

WITHHELD = (
    "No confidence is stated before all images are counted: whoever stops may do so when the share is to their liking "
    "(optional stopping)."
)
"""Of records that are not finished."""

Known = ShardedRecord[Any, Any]
RecordT = TypeVar("RecordT", bound=Known)

_OBJECTIVES = {
    "Stability": "Stability training (STN)",
    "GaussianAugmentation": "Gaussian augmentation",
    "Natural": "Natural",
}


@dataclass(frozen=True)
class Analysed(ABC, Generic[RecordT]):
    """One record, as a report shows it.

    Attributes:
        name: in the report.
        data: the name of its data set.
        record: where its rows come from.
    """

    name: str
    data: str
    record: RecordT

    @property
    @abstractmethod
    def counted(self) -> int:
        """Number of images with results."""

    @abstractmethod
    def settings(self) -> Mapping[str, Any]:
        """Return the settings that only this kind of record has."""

    @property
    def planned(self) -> int:
        """Number of images chosen beforehand."""
        return len(self.record.settings.indices)

    @property
    def complete(self) -> bool:
        """Whether every chosen image has its results."""
        return self.counted == self.planned


def entries(records: Sequence[RecordT], names: Sequence[str] | None = None) -> Iterator[tuple[str, str, RecordT]]:
    """Return name, data set and record of each: the beginning of an `Analysed`; arguments as `labelled`."""
    return zip(labelled(records, names), data_names(records), records, strict=True)


def titles(records: Sequence[Known]) -> list[str]:
    """Return the names of records in reports: objective and noise, with the folder where these are equal."""
    names = [_name(record) for record in records]
    return [
        f"{name} [{record.path.name}]" if names.count(name) > 1 else name
        for name, record in zip(names, records, strict=True)
    ]


def data_names(records: Sequence[Known]) -> list[str]:
    """Return the names of the records' data sets, with digests where different data have the same name."""
    data = [record.settings.data for record in records]
    shown = [_data(each) for each in data]
    digests = {
        name: {_identity(each) for each, other in zip(data, shown, strict=True) if other == name} for name in shown
    }
    return [
        f"{name} ({str(each.get('digest', ''))[:8]})" if len(digests[name]) > 1 else name
        for name, each in zip(shown, data, strict=True)
    ]


def labelled(records: Sequence[Known], names: Sequence[str] | None = None) -> list[str]:
    """Return the names of records, chosen or their titles, each with its data set where there are several."""
    data, chosen = data_names(records), titles(records) if names is None else names
    if len(set(data)) < 2:
        return list(chosen)
    return [f"{name}, on {where}" for name, where in zip(chosen, data, strict=True)]


def apart(records: Sequence[Known]) -> str | None:
    """Say why records cannot be compared image by image; None where all are of the same images."""
    data = list(dict.fromkeys(data_names(records)))
    if len(data) > 1:
        return f"These runs are on different data: {', '.join(data)}. They show how hard the data are as well."
    chosen = {record.settings.indices for record in records}
    if len(chosen) > 1:
        counts = ", ".join(str(len(indices)) for indices in sorted(chosen, key=len))
        return f"These runs are on different images of {data[0]}: {counts} of them."
    return None


def caption(analyses: Sequence[Analysed[Any]]) -> str:
    """Return what a legend says of the data: their name, or that they are not the same."""
    return apart([each.record for each in analyses]) or f"Data: {analyses[0].data}"


def incomplete(record: Known, counted: int) -> str | None:
    """Say how many images of a record have votes, and that no confidence is stated yet; None where all have."""
    planned = len(record.settings.indices)
    return None if counted == planned else f"{counted} of {planned} images so far. {WITHHELD}"


def class_label(record: Known, number: int) -> str:
    """Return what a class is called: its name where the data have names, else its number; "abstained" for none."""
    if number == ABSTAIN:
        return "abstained"
    return str(number) if record.class_names is None else str(record.class_names[number])


def _name(record: Known) -> str:
    training: dict[str, Any] = record.about.get("training", {})
    objective = training.get("settings", {}).get("objective", {}).get("name")
    title = _OBJECTIVES.get(objective, objective) if objective else record.path.name
    noise = record.settings.noise
    trained = training.get("settings", {}).get("noise", noise)
    name = f"{title}, {_scale(noise)}"
    return name if trained == noise else f"{name} (trained with {_scale(trained)})"


def _scale(noise: Mapping[str, Any] | None) -> str:
    if noise is None:
        return "no noise"
    return ", ".join(f"{key} {value:g}" for key, value in noise.items() if key != "name")


def _data(data: Mapping[str, Any]) -> str:
    split = data.get("split", "test")
    name = str(data["name"]) + ("" if split == "test" else f", {split} split")
    return name + (f", {in_words(data['part'])}" if data.get("part") else "")


def _identity(data: Mapping[str, Any]) -> str:
    return str(sorted((key, str(value)) for key, value in data.items()))
