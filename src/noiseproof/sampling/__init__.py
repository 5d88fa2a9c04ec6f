"""Noise as a function of (seed, image, sample), and the votes of noisy copies."""

from collections.abc import Mapping

import torch

from noiseproof.errors import InvalidInputError
from noiseproof.sampling.device import DeviceSampler
from noiseproof.sampling.host import HostSampler, host_source
from noiseproof.sampling.sampler import FloatSampler, Rows, Sampler, Span

__all__ = [
    "EXACT_SAMPLER",
    "SAMPLERS",
    "DeviceSampler",
    "FloatSampler",
    "HostSampler",
    "Rows",
    "Sampler",
    "Span",
    "host_source",
    "sampler_for",
    "sampler_of",
]

SAMPLERS = ("float", "exact")
"""How noise is added: in floating point, to any image; or exactly, in integers, to 8-bit images."""

EXACT_SAMPLER = "philox4x64-inversion-8bit"
"""Name of the exact sampler in records."""


def sampler_of(engine: Mapping[str, object]) -> str:
    """Return the kind of sampler that a record's engine names."""
    return "exact" if engine.get("sampler") == EXACT_SAMPLER else "float"


def sampler_for(device: torch.device, kind: str = "float") -> type[Sampler]:
    """Return the sampler of a kind on a device.

    Args:
        device: where the classifier runs.
        kind: "float" takes NumPy's generator for the CPU and one in torch elsewhere, "exact" is one for all devices.

    Raises:
        InvalidInputError: there is no such kind.
    """
    if kind not in SAMPLERS:
        raise InvalidInputError(
            "sampler", required=f"one of {', '.join(SAMPLERS)}", got=repr(kind), remedy="Choose one of them."
        )
    if kind == "exact":
        from noiseproof.sampling.integer import IntegerSampler  # mpmath is needed for its table alone

        return IntegerSampler
    return HostSampler if device.type == "cpu" else DeviceSampler
