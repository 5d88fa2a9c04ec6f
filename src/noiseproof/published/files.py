"""Files of any of the known forms: tables, lists of p1, JSON, run folders."""

from collections.abc import Sequence
from pathlib import Path

from noiseproof.errors import InvalidInputError
from noiseproof.published.check import Checked, check_list
from noiseproof.published.lists import PublishedList, read_json, read_list, read_table, read_text
from noiseproof.published.runs import check_run

__all__ = ["check_file", "read_file"]


def read_file(path: Path) -> PublishedList:
    """Read a table (`read_table`), a list of p1 with a number a line (`read_list`), or JSON (`read_json`).

    A file is JSON if its first character is [ or {, a list if its first line without comment is a number, else a table.

    Raises:
        InvalidInputError: as these, or an empty file.
    """
    text = read_text(path).strip()
    if not text:
        raise InvalidInputError(
            str(path), required="a table, a list or JSON", got="an empty file", remedy="Check the path."
        )
    if text[0] in "[{":
        return read_json(path)
    first = next((line.partition("#")[0].strip() for line in text.splitlines() if line.partition("#")[0].strip()), "")
    try:
        float(first)
    except ValueError:
        return read_table(path)
    return read_list(path)


def check_file(
    path: Path,
    *,
    sigma: float | None = None,
    samples: int = 100_000,
    alpha: float = 0.001,
    radii: Sequence[float] | None = None,
) -> Checked:
    """Check a file (`read_file`, `check_list`), or a run folder (`check_run`), whose n and alpha are its own.

    Raises:
        InvalidInputError: the file cannot be read, or as `check_list`.
        RunError: as `check_run`.
    """
    if path.is_dir() or not path.exists():
        return check_run(path, radii)
    return check_list(read_file(path), sigma=sigma, samples=samples, alpha=alpha, radii=radii)
