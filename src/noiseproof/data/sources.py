"""The files of a published data set: in a given folder, in the cache, or downloaded into it."""

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from noiseproof.errors import InvalidInputError, RunError
from noiseproof.storage.downloads import cache, download

__all__ = ["ENVIRONMENT", "Source", "find", "is_published", "locate"]

T = TypeVar("T")

ENVIRONMENT = "NOISEPROOF_DATA"
"""The environment variable that names a folder of data sets."""


@dataclass(frozen=True)
class Source:
    """A published file.

    Attributes:
        file: its name.
        url: where it is published.
        md5: of the file, as published.
    """

    file: str
    url: str
    md5: str


def find(root: Path, folders: Iterable[str], files: Sequence[Sequence[str]]) -> list[Path] | None:
    """Return the files, each under the first of its names, from the first of the root's folders that has them all."""
    for folder in folders:
        found = [next((path for name in names if (path := root / folder / name).is_file()), None) for names in files]
        whole = [path for path in found if path is not None]
        if len(whole) == len(files):
            return whole
    return None


def locate(
    name: str,
    look: Callable[[Path], T | None],
    looked_for: Sequence[str],
    sources: Sequence[Source],
    data_dir: Path | None,
) -> tuple[Path, T]:
    """Find a data set, or download it.

    A given folder must contain it; no other is searched. The folder of the environment variable may be for other data
    sets: the cache is searched after it, and then the sources are downloaded.

    Args:
        name: of the data set; downloads go to this folder of the cache.
        look: returns what it finds in a folder, or None.
        looked_for: what it looks for, in words for messages.
        sources: what to download.
        data_dir: the folder, if one is given.

    Returns:
        The folder, and what was found under it.

    Raises:
        InvalidInputError: `data_dir` has no such data set, or the environment variable names no folder.
        RunError: the download failed.
    """
    if data_dir is not None:
        found = look(data_dir)
        if found is None:
            raise InvalidInputError(
                f"data_dir ({data_dir})",
                required=f"a folder with {name}: {', '.join(looked_for)}",
                got="a folder without them" if data_dir.is_dir() else "no folder",
                remedy="Check the path, or leave it out to have the data set downloaded.",
            )
        return data_dir, found
    for root in (*_from_environment(), cache()):
        if (found := look(root)) is not None:
            return root, found
    folder = cache() / name
    for source in sources:
        required = f"in data_dir, in the folder that {ENVIRONMENT} names or in {folder}, or published at {source.url}"
        remedy = (
            f"Put {', '.join(s.file for s in sources)} (from {', '.join(s.url for s in sources)}) into a folder and name it: "
            f"data_dir=FOLDER, or {ENVIRONMENT}=FOLDER. Or try again: a download goes on where it stopped."
        )
        # of requests and of pooch: a wrong checksum
        with RunError.instead_of((OSError, ValueError), name, required=required, remedy=remedy):
            download(source.url, folder / source.file, f"md5:{source.md5}")
    found = look(cache())
    if found is None:
        raise AssertionError(f"{name} was downloaded but is not found")
    return cache(), found


def is_published(path: Path | str, digest: str, published: str, title: str, allow_unverified: bool) -> bool:
    """Return whether a checksum is the published one.

    Raises:
        RunError: it is not, and other files are not allowed.
    """
    if digest == published:
        return True
    if not allow_unverified:
        raise RunError(
            str(path),
            required=f"the published file of {title} (checksum {published})",
            got=digest,
            remedy="Replace it, or accept it as it is: allow_unverified=. Records then say so.",
        )
    return False


def _from_environment() -> list[Path]:
    value = os.environ.get(ENVIRONMENT)
    if not value:
        return []
    if not Path(value).is_dir():
        raise InvalidInputError(
            ENVIRONMENT, required="a folder of data sets", got=repr(value), remedy="Check the path, or unset it."
        )
    return [Path(value)]
