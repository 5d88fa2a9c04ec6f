"""What is slow to make and used by many tests: made once a session, whichever of its processes needs it first."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock

__all__ = ["fetch", "untouched"]


def fetch(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """Return the folder that `make` fills, which all processes of a session share: nobody writes into it."""
    base = factory.getbasetemp()
    root = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "shared"
    root.mkdir(exist_ok=True)
    folder, seal = root / name, root / f"{name}.json"
    with FileLock(root / f"{name}.lock"):
        if not seal.exists():
            shutil.rmtree(folder, ignore_errors=True)  # what a failed attempt left
            make(folder)
            seal.write_text(json.dumps(_contents(folder)))
    return folder


def untouched(folder: Path) -> bool:
    """Whether a shared folder holds what it held when it was made."""
    return bool(json.loads(folder.with_name(f"{folder.name}.json").read_text()) == _contents(folder))


def _contents(folder: Path) -> dict[str, int]:
    return {
        str(path.relative_to(folder)): path.stat().st_mtime_ns for path in sorted(folder.rglob("*")) if path.is_file()
    }
