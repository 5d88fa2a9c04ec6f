"""Downloads that resume, and that get their name only after their checksum is verified."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import requests

__all__ = ["cache", "download"]

_ATTEMPTS = 4
"""Consecutive connections without progress after which a download is given up."""

_PAUSE = 1.0
"""Seconds before the second of them; each later pause is twice as long."""

_TIMEOUTS = (10.0, 30.0)
"""Seconds for a server to accept, and between two pieces."""

_PIECE = 2**16


def cache() -> Path:
    """The folder of downloads: the operating system's cache folder."""
    import pooch

    return Path(pooch.os_cache("noiseproof"))


def download(url: str, path: Path, known_hash: str) -> Path:
    """Download a file unless it exists; an interrupted download resumes.

    Only a file with the known hash gets its name. Processes that need the same file wait for the first.

    Args:
        url: where it is published.
        path: its destination; folders are created.
        known_hash: as published, such as "sha256:..." or "md5:...".

    Returns:
        The path.

    Raises:
        ValueError: the downloaded file has another hash.
        OSError: the server cannot be reached or refuses (`requests.RequestException`), or the disk is full.
    """
    import pooch
    from filelock import FileLock

    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_name(f".{path.name}.lock")):
        part = path.with_name(f"{path.name}.part")
        resumed = part.exists()
        while True:
            try:
                pooch.retrieve(url, known_hash, path.name, path.parent, downloader=_Resuming(part))
                break
            except ValueError:
                if not resumed:
                    raise
                resumed = False  # the part may have been of another file: once more, from the beginning
    return path


@dataclass(frozen=True)
class _Resuming:
    """A downloader for pooch that keeps a .part file and requests the remaining range (RFC 9110, 14.2)."""

    part: Path

    def __call__(self, url: str, output_file: Any, _pooch: Any) -> None:
        """Download the whole file under the name that pooch then checks and renames."""
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
    """Whether the server refused, rather than being unreachable or busy."""
    return (
        error.response is not None and error.response.status_code < 500 and error.response.status_code not in {408, 429}
    )
