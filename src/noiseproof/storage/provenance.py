"""Provenance of files: time, command, machine and classifier."""

import contextlib
import platform
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

__all__ = ["device_name", "is_own", "peak_memory", "provenance", "same_model", "without_places"]

_PACKAGES = ("noiseproof", "torch", "lightning-fabric", "numpy", "scipy", "scikit-learn", "pyarrow")
_OPTIONAL = ("torchao", "onnxruntime")


def provenance(device: object) -> dict[str, Any]:
    """Return time, command, device, processor and versions as plain data. No vote depends on them.

    Args:
        device: where the computation runs, as torch names it.
    """
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": [_program(), *sys.argv[1:]],
        "device": str(device),
        "processor": _processor(),
        "threads": _threads(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in _PACKAGES} | _optional_versions(),
    }


def device_name(device: object) -> str:
    """Return the name of the GPU, or of the processor."""
    import torch

    if str(device).startswith("cuda"):
        return str(torch.cuda.get_device_name(str(device)))
    return _processor()


def is_own(name: str) -> bool:
    """Whether a module, or the "module:factory" of a classifier, belongs to this package."""
    return name.partition(":")[0].partition(".")[0] == "noiseproof"


def same_model(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two records are of one classifier: equal digests of weights and code, or equal names without them.

    One file of code may have several factories, so there names are compared too. Networks of this package are identified
    by weights and names; earlier records have a digest of one of its files.
    """
    if one.get("digest") is None:
        return dict(one) == dict(other)
    if is_own(str(one.get("name"))) and is_own(str(other.get("name"))):
        keys: tuple[str, ...] = ("digest", "name")
    else:
        keys = ("digest", "source") if one.get("source") is None else ("digest", "source", "name")
    return all(one.get(key) == other.get(key) for key in keys)


def peak_memory() -> int | None:
    """Return the peak memory of this process in bytes; None where the system does not report it."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _program() -> str:
    """The name of the program; `python -m noiseproof` counts as noiseproof."""
    path = Path(sys.argv[0])
    return path.parent.name if path.name == "__main__.py" else path.name


def _processor() -> str:
    """The model of the processor where the system reports it; Python often reports x86_64 alone."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _threads() -> int:
    import torch

    return torch.get_num_threads()


def _optional_versions() -> dict[str, str]:
    found = {}
    for name in _OPTIONAL:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def without_places(about: Any) -> Any:
    """Return the provenance of a record without locations; absolute paths in commands become file names."""
    if isinstance(about, dict):
        return {
            key: without_places(value) for key, value in about.items() if key not in {"location", "source", "subject"}
        }
    if isinstance(about, list):  # the members of an ensemble, a command
        return [without_places(value) for value in about]
    return Path(about).name if isinstance(about, str) and Path(about).is_absolute() else about
