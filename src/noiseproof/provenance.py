"""Where and by what a file was made, for whoever checks it later."""

import platform
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

__all__ = ["provenance"]

_PACKAGES = ("noiseproof", "torch", "numpy", "scipy", "scikit-learn", "pyarrow")


def provenance(device: object) -> dict[str, Any]:
    """Return time, command, device, processor and versions as plain data. None of it decides a vote.

    Args:
        device: where the computation runs, as torch names it.
    """
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "device": str(device),
        "processor": platform.processor() or platform.machine(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in _PACKAGES},
    }
