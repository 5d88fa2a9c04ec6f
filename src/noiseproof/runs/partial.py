"""Votes so far of the images of a shard that is not whole yet, in a file of their own."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Int

from noiseproof.storage.files import write_atomically

__all__ = ["keep_votes", "kept_votes"]


def keep_votes(path: Path, votes: Mapping[int, Int[np.ndarray, "*moments counts"]], settings: str) -> None:
    """Write votes, by index of their images, that were counted under these settings."""
    content = json.dumps({str(index): counts.tolist() for index, counts in votes.items()})
    write_atomically(path, json.dumps({"votes": content, "sum": _sum(content, settings)}).encode())


def kept_votes(path: Path, settings: str) -> dict[int, Int[np.ndarray, "*moments counts"]]:
    """Read them; none where there are none, or damaged ones, or those of other settings."""
    try:
        found = json.loads(path.read_bytes())
        content = str(found["votes"])
        if found["sum"] != _sum(content, settings):
            return {}
        return {int(index): np.asarray(counts, dtype=np.int64) for index, counts in json.loads(content).items()}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _sum(content: str, settings: str) -> str:
    return hashlib.sha256((settings + content).encode()).hexdigest()
