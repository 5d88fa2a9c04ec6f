"""Keep large blocks of memory in the process: returning them to the system costs more than computing on them."""

import ctypes
import sys

__all__ = ["keep_large_blocks"]

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # glibc's malloc.h


def keep_large_blocks() -> bool:
    """Tell glibc to keep large freed blocks instead of returning them to the system; return whether it did.

    Every layer of a network allocates and frees tens of megabytes. By default the system maps each block anew, with a
    page fault for every page: up to half the time of float32 at batch 1000 on a CPU. It is a setting of the whole
    process, so the command line makes it and the library leaves it to its user. It has an effect only on Linux with
    glibc.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(_M_MMAP_MAX, 0)) and bool(mallopt(_M_TRIM_THRESHOLD, 2**31 - 1))
