"""Files that are either whole or absent."""

import contextlib
import errno
import os
from pathlib import Path

from noiseproof.errors import RunError

__all__ = ["require_writable", "write_atomically"]


def require_writable(folder: Path) -> None:
    """Create a folder and try it, before time is spent on what will be written there.

    Raises:
        RunError: it cannot be created or written.
    """
    probe = folder / f".probe.{os.getpid()}"
    write_atomically(probe, b"")
    probe.unlink()


def write_atomically(path: Path, content: bytes) -> None:
    """Write content so that a kill or a full disk leaves either the old file or the new one, never a part.

    The content goes to a temporary file beside it, is flushed to the disk and takes the name in one step.

    Raises:
        RunError: the disk is full or the folder cannot be written; what stood there before is untouched.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        full = error.errno in {errno.ENOSPC, errno.EDQUOT}
        raise RunError(
            str(path),
            required=f"writable with {len(content)} bytes to spare",
            got=f"{error.strerror or error}",
            remedy=("Free some space and run the same command again" if full else "Choose a place that can be written")
            + ": everything written before is kept.",
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
