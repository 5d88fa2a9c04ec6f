"""Per-image tables and lists as they were published, and their readers."""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Int

from noiseproof.certified import ABSTAIN
from noiseproof.errors import InvalidInputError
from noiseproof.published.printed import Printed

__all__ = ["PublishedList", "read_json", "read_list", "read_table", "read_text"]

_NAMES = {
    "index": "index",
    "idx": "index",
    "label": "label",
    "predict": "predict",
    "prediction": "predict",
    "radius": "radius",
    "correct": "correct",
    "time": "time",
}
"""Names of columns in files, and what they are called here."""

_REQUIRED = ("index", "label", "predict", "radius")
_TRUTH = {"0": 0, "1": 1, "false": 0, "true": 1}

Rows = Int[np.ndarray, " rows"]


@dataclass(frozen=True)
class PublishedList:
    """Results of images: radii or lower bounds p1, with index, label and prediction where they are known.

    Attributes:
        name: of the file.
        quantity: what the numbers are: "radius" in pixel units, or "p1", lower bounds of the class's probability.
        printed: the numbers.
        index: in the data set, or None.
        label: the class, or None.
        predict: the certified class, ABSTAIN (-1) where there is none, or None.
        correct: 1 where the file calls the prediction right, else 0; None where it does not say.
    """

    name: str
    quantity: Literal["radius", "p1"]
    printed: Printed
    index: Rows | None = None
    label: Rows | None = None
    predict: Rows | None = None
    correct: Rows | None = None

    def __len__(self) -> int:
        return len(self.printed)

    @property
    def right(self) -> Bool[np.ndarray, " rows"]:
        """Whether the prediction is the label; of lists without labels all rows."""
        if self.label is None or self.predict is None:
            return np.ones(len(self), dtype=np.bool_)
        return np.asarray((self.predict == self.label) & (self.predict != ABSTAIN))

    @property
    def abstained(self) -> Bool[np.ndarray, " rows"]:
        """Whether the classifier abstained; of lists without predictions no row."""
        return np.zeros(len(self), dtype=np.bool_) if self.predict is None else np.asarray(self.predict == ABSTAIN)


def read_text(path: Path) -> str:
    """Return the text of a file.

    Raises:
        InvalidInputError: there is no such file, or it is no text.
    """
    required = "a text file: a table, a list of numbers or JSON"
    with InvalidInputError.instead_of(
        (OSError, UnicodeDecodeError), str(path), required=required, remedy="Check the path and the format."
    ):
        return path.read_text(encoding="utf-8-sig")


def read_table(path: Path) -> PublishedList:
    """Read a table with a line for each image, separated by tabs or commas, the first line naming the columns.

    Columns: index (or idx), label, predict (or prediction; -1 where the classifier abstained), radius; optional are
    correct (0 or 1) and time, which is not read.

    Raises:
        InvalidInputError: no such file, an unknown, missing or repeated column, a line with another number of fields, or
            a field that is no number; the message names the line.
    """
    lines = read_text(path).splitlines()
    delimiter = "\t" if lines and "\t" in lines[0] else ","
    rows = list(csv.reader(io.StringIO("\n".join(lines)), delimiter=delimiter))
    names = _columns(path, [name.strip() for name in rows[0]] if rows else [])
    numbered = [(number, row) for number, row in enumerate(rows[1:], 2) if any(field.strip() for field in row)]
    for number, row in numbered:
        if len(row) != len(names):
            _refuse(path, f"line {number}", f"{len(names)} fields, one for each column", f"{len(row)}")
    columns = {name: [row[place] for _, row in numbered] for place, name in enumerate(names)}
    return _table(path, columns, [f"line {number}" for number, _ in numbered])


def read_list(path: Path) -> PublishedList:
    """Read lower bounds p1, a number a line, as published for DSRS (p_A of Li et al. 2022); # begins a comment.

    Raises:
        InvalidInputError: no such file, a line that is no number in [0, 1], or no number at all.
    """
    lines = [(number, line.partition("#")[0].strip()) for number, line in enumerate(read_text(path).splitlines(), 1)]
    kept = [(f"line {number}", line) for number, line in lines if line]
    return _numbers(path, "p1", [text for _, text in kept], [place for place, _ in kept])


def read_json(path: Path) -> PublishedList:
    """Read JSON: a list of lower bounds p1, {"p1": [...]}, {"radii": [...]}, or a list of rows {"index": 0, ...}.

    Rows have the columns of `read_table`. A list without a name is of p1, since radii need one.

    Raises:
        InvalidInputError: no such file, no JSON, or none of these.
    """
    required = 'JSON: [p1, ...], {"p1": [...]}, {"radii": [...]} or [{"index": 0, "label": 3, ...}, ...]'
    with InvalidInputError.instead_of(ValueError, str(path), required=required, remedy="Check the format."):
        found: Any = json.loads(read_text(path), parse_float=str, parse_int=str, parse_constant=str)
    if isinstance(found, dict) and len(found) == 1:
        name, values = next(iter(found.items()))
    else:
        name, values = "p1", found
    if isinstance(values, list) and values and all(isinstance(each, dict) for each in values):
        return _from_rows(path, values)
    known = {"p1": "p1", "pA": "p1", "radii": "radius", "radius": "radius"}
    if name not in known or not isinstance(values, list) or not all(isinstance(each, str) for each in values):
        raise InvalidInputError(
            str(path), required=required, got="something else", remedy="Give the numbers one of these names."
        )
    return _numbers(
        path, "p1" if known[name] == "p1" else "radius", values, [f"number {i}" for i in range(len(values))]
    )


def _from_rows(path: Path, rows: Sequence[dict[str, Any]]) -> PublishedList:
    names = list(rows[0])
    for number, row in enumerate(rows):
        if list(row) != names:
            _refuse(path, f"row {number}", f"the keys of row 0, {', '.join(names)}", ", ".join(row) or "none")
    columns = {
        known: [str(row[name]) for row in rows] for known, name in zip(_columns(path, names), names, strict=True)
    }
    return _table(path, columns, [f"row {number}" for number in range(len(rows))])


def _columns(path: Path, names: Sequence[str]) -> list[str]:
    """Return what the columns of a file are called here."""
    known = [_NAMES.get(name.lower(), "") for name in names]
    unknown = [name for name, found in zip(names, known, strict=True) if not found]
    missing = [name for name in _REQUIRED if name not in known]
    repeated = sorted({name for name in known if name and known.count(name) > 1})
    faults = [
        f"{fault} {', '.join(map(repr, some))}"
        for fault, some in (("unknown", unknown), ("missing", missing), ("repeated", repeated))
        if some
    ]
    if faults:
        columns = "columns index (or idx), label, predict, radius, and optionally correct and time"
        _refuse(path, "the first line", f"the names of {columns}, with tabs or commas between", "; ".join(faults))
    return known


def _table(path: Path, columns: dict[str, list[str]], places: Sequence[str]) -> PublishedList:
    found = _numbers(path, "radius", columns["radius"], places)
    whole = {
        name: _integers(path, name, columns[name], places, least)
        for name, least in (("index", 0), ("label", 0), ("predict", ABSTAIN))
    }
    correct = None
    if "correct" in columns:
        truth = [_TRUTH.get(text.strip().lower(), -1) for text in columns["correct"]]
        if -1 in truth:
            row = truth.index(-1)
            _refuse(path, places[row], "0 or 1 in the column correct", repr(columns["correct"][row]))
        correct = np.array(truth, dtype=np.int64)
    return PublishedList(path.name, "radius", found.printed, **whole, correct=correct)


def _integers(path: Path, name: str, texts: Sequence[str], places: Sequence[str], least: int) -> Rows:
    numbers = []
    for place, text in zip(places, texts, strict=True):
        try:
            number = int(text)
        except ValueError:
            number = least - 1
        if not least <= number < 2**63:
            _refuse(path, place, f"a whole number >= {least} in the column {name}", repr(text))
        numbers.append(number)
    return np.array(numbers, dtype=np.int64)


def _numbers(
    path: Path, quantity: Literal["radius", "p1"], texts: Sequence[str], places: Sequence[str]
) -> PublishedList:
    if not texts:
        _refuse(path, "the file", "a table or list with one image at least", "none")
    for place, text in zip(places, texts, strict=True):
        try:
            value = Printed.of([text]).value[0]
        except InvalidInputError:
            _refuse(path, place, f"a finite number for {quantity}", repr(text))
        if quantity == "p1" and not 0.0 <= value <= 1.0:
            _refuse(
                path, place, 'a probability p1 in [0, 1]; radii are a table, or JSON with the name "radii"', repr(text)
            )
    return PublishedList(path.name, quantity, Printed.of(texts))


def _refuse(path: Path, place: str, required: str, got: str) -> None:
    raise InvalidInputError(f"{path}, {place},", required=required, got=got, remedy="Nothing was read from the file.")
