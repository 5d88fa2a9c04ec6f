"""Files that are either whole or absent."""

import contextlib
import errno
import os
import secrets
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from filelock import FileLock, Timeout

from noiseproof.errors import RunError

__all__ = ["claimed", "remove_leftovers", "require_writable", "write_atomically"]


def require_writable(folder: Path) -> None:
    """Create a folder and check that it is writable, before time is spent on its content.

    Raises:
        RunError: it cannot be created or written.
    """
    if folder.exists() and not folder.is_dir():
        raise RunError(str(folder), required="a folder", got="a file", remedy="Choose another place: out=.")
    probe = folder / f".probe.{os.getpid()}"
    write_atomically(probe, b"")
    probe.unlink()


def write_atomically(path: Path, content: bytes, *, replace: bool = True, private: bool = False) -> bool:
    """Write content so that a kill or a full disk leaves either the old file or the new one, never a part.

    The content goes to a temporary file beside it, is flushed to the disk and takes the name in one step.

    Args:
        path: the file.
        content: its new content.
        replace: whether an existing file may be replaced.
        private: whether only its owner may read it.

    Returns:
        Whether it was written: False where `replace` is False and the file exists.

    Raises:
        RunError: the disk is full or the folder cannot be written; an existing file is untouched.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb", opener=partial(os.open, mode=0o600 if private else 0o666)) as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if replace:
            temporary.replace(path)
        elif not _take_free_name(temporary, path):
            return False
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
    return True


def _take_free_name(temporary: Path, path: Path) -> bool:
    """Give a file a name if it is unused; atomic where the file system has hard links."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in {errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK}:
            raise
        if path.exists():
            return False
        temporary.replace(path)
    return True


def remove_leftovers(path: Path) -> None:
    """Remove the temporary files that killed processes left beside a path. The caller holds its lock."""
    for part in path.parent.glob(f".{path.name}.*.part"):
        with contextlib.suppress(OSError):
            part.unlink()


@contextlib.contextmanager
def claimed(path: Path) -> Iterator[bool]:
    """Lock a file against other processes of this machine; yields False where another one holds the lock.

    The system releases the lock when the process ends, however it ends. Temporary files of killed processes are
    removed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path.with_name(f".{path.stem}.lock"), blocking=False)
    try:
        lock.acquire()
    except Timeout:
        yield False
        return
    try:
        remove_leftovers(path)
        yield True
    finally:
        lock.release()
