"""Where the files of a published data set lie: a folder that is named, the cache, or a download into it."""

import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from noiseproof.errors import InvalidInputError, RunError

if TYPE_CHECKING:
    import requests

__all__ = ["ENVIRONMENT", "Source", "cache", "download", "find", "is_published", "locate"]

T = TypeVar("T")

ENVIRONMENT = "NOISEPROOF_DATA"
"""The environment variable that names a folder of data sets."""

_ATTEMPTS = 4
"""Connections in a row that may bring nothing before a download is given up."""

_PAUSE = 1.0
"""Seconds before the second of them; each later pause is twice as long."""

_TIMEOUTS = (10.0, 30.0)
"""Seconds for a server to accept, and between two pieces."""

_PIECE = 2**16


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


def cache() -> Path:
    """The folder that downloads go to: the operating system's own for caches."""
    import pooch

    return Path(pooch.os_cache("noiseproof"))


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

    A folder that is named has to have it: nothing else is taken in its place. The folder of the environment variable
    may be for other data sets: the cache is tried after it, and then the sources.

    Args:
        name: of the data set; downloads go to this folder of the cache.
        look: what it finds under a folder, or None.
        looked_for: what to say of it.
        sources: what to download.
        data_dir: the folder, if one is named.

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
                got="a folder without" if data_dir.is_dir() else "no folder",
                remedy="Check the path, or leave it out to have the data set downloaded.",
            )
        return data_dir, found
    for root in (*_from_environment(), cache()):
        if (found := look(root)) is not None:
            return root, found
    folder = cache() / name
    for source in sources:
        try:
            download(source, folder)
        except (OSError, ValueError) as error:  # of requests and of pooch: a wrong checksum
            raise RunError(
                name,
                required=f"in data_dir, in the folder that {ENVIRONMENT} names or in {folder}, or published at {source.url}",
                got=f"{type(error).__name__}: {error}",
                remedy=f"Put {', '.join(s.file for s in sources)} (from {', '.join(s.url for s in sources)}) into a folder "
                f"and name it: data_dir=FOLDER, or {ENVIRONMENT}=FOLDER. Or try again: a download goes on where it stopped.",
            ) from error
    found = look(cache())
    if found is None:
        raise AssertionError(f"{name} was downloaded but is not found")
    return cache(), found


def is_published(path: Path | str, digest: str, published: str, title: str, allow_unverified: bool) -> bool:
    """Return whether a checksum is the published one.

    Raises:
        RunError: it is not, and that is not allowed.
    """
    if digest == published:
        return True
    if not allow_unverified:
        raise RunError(
            str(path),
            required=f"the published file of {title} (checksum {published})",
            got=digest,
            remedy="Replace it, or take it as it is: allow_unverified=True, --allow-unverified. Records then say so.",
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


def download(source: Source, folder: Path) -> Path:
    """Download a file into a folder, unless it is there; one that was interrupted goes on where it stopped.

    Only a file with the published md5 takes its name. Processes that want the same file wait for the first.

    Raises:
        ValueError: what came has another md5.
        OSError: the server cannot be reached or refuses (`requests.RequestException`), or the disk is full.
    """
    import pooch
    from filelock import FileLock

    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / f".{source.file}.lock"):
        part = folder / f"{source.file}.part"
        resumed = part.exists()
        while True:
            try:
                pooch.retrieve(source.url, f"md5:{source.md5}", source.file, folder, downloader=_Resuming(part))
                return folder / source.file
            except ValueError:
                if not resumed:
                    raise
                resumed = False  # the part may have been of another file: once more, from the beginning


@dataclass(frozen=True)
class _Resuming:
    """A downloader for pooch that keeps what came in a .part file and asks for the rest of it (RFC 9110, 14.2)."""

    part: Path

    def __call__(self, url: str, output_file: Any, _pooch: Any) -> None:
        """Download all of it and give it the name that pooch then checks and renames."""
        import requests

        failures = 0
        while True:
            had = self._size()
            try:
                self._fetch_rest(url)
                break
            except requests.RequestException as error:
                failures = 1 if self._size() > had else failures + 1
                if failures >= _ATTEMPTS or _is_refusal(error):
                    raise
                time.sleep(_PAUSE * 2 ** (failures - 1))
        self.part.replace(output_file)

    def _size(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def _fetch_rest(self, url: str) -> None:
        import requests

        had = self._size()
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={had}-"} if had else {})
        with requests.get(url, headers=headers, stream=True, timeout=_TIMEOUTS) as response:
            sent = response.headers.get("Content-Range", "")
            if response.status_code == 416:
                return  # nothing is left to come; the checksum tells whether it is the right file
            if response.status_code == 206 and not sent.startswith(f"bytes {had}-"):
                self.part.unlink()
                raise requests.ConnectionError(f"{url} sent {sent}, not what is left from byte {had} on")
            response.raise_for_status()
            with self.part.open("ab" if response.status_code == 206 else "wb") as file:
                for piece in response.iter_content(_PIECE):
                    file.write(piece)
            total = sent.rpartition("/")[2] or response.headers.get("Content-Length", "")
            if total.isdecimal() and self._size() < int(total):
                raise requests.ConnectionError(f"{self._size()} of {total} bytes came from {url}")


def _is_refusal(error: "requests.RequestException") -> bool:
    """Whether the server said no, rather than being out of reach or busy."""
    return (
        error.response is not None and error.response.status_code < 500 and error.response.status_code not in {408, 429}
    )
