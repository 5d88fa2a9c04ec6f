"""Code that the user of this account has named before: a record may name code, but alone it runs none.

A factory or a program of torch.export runs when it is named. Which ones were named is kept in the cache, by name, place
and content of the file, so that the commands on a run need not name it again, and a record of someone else's cannot.
"""

import contextlib
import hashlib
from pathlib import Path

from noiseproof.storage.downloads import cache

__all__ = ["is_trusted", "trust"]


def trust(name: str, file: Path) -> None:
    """Keep that this code was named; where the cache cannot be written, it must be named again."""
    with contextlib.suppress(OSError):
        place = _place(name, file)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()


def is_trusted(name: str, file: Path) -> bool:
    """Whether this code was named before, and its file is as it was."""
    return file.is_file() and _place(name, file).exists()


def _place(name: str, file: Path) -> Path:
    parts = (name, str(file.resolve()), hashlib.sha256(file.read_bytes()).hexdigest())
    return cache() / "named-code" / hashlib.sha256("\0".join(parts).encode()).hexdigest()
