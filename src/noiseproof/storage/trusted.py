"""Trusted code: a record may name code, but it runs only if the user of this account has named it before.

A factory or a program of torch.export runs when the user names it. Its name and the path and content of its file are
kept in the cache. Later commands on the run need not name it again, and a foreign record cannot run other code.
"""

import contextlib
import hashlib
from pathlib import Path

from noiseproof.storage.downloads import cache

__all__ = ["is_trusted", "trust"]


def trust(name: str, file: Path) -> None:
    """Remember that this code was named; where the cache cannot be written, it must be named again."""
    with contextlib.suppress(OSError):
        place = _place(name, file)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()


def is_trusted(name: str, file: Path) -> bool:
    """Whether this code was named before and its file is unchanged."""
    return file.is_file() and _place(name, file).exists()


def _place(name: str, file: Path) -> Path:
    parts = (name, str(file.resolve()), hashlib.sha256(file.read_bytes()).hexdigest())
    return cache() / "named-code" / hashlib.sha256("\0".join(parts).encode()).hexdigest()
