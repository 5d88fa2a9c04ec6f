"""Noise as a function of (seed, image, sample), and the votes of noisy copies."""

from collections.abc import Mapping

import torch

from noiseproof.errors import InvalidInputError
from noiseproof.noises import Noise
from noiseproof.randomness import SecretKey, Seed
from noiseproof.sampling.device import DeviceSampler
from noiseproof.sampling.host import HostSampler, host_source
from noiseproof.sampling.rows import Rows, Span
from noiseproof.sampling.sampler import FloatSampler, Sampler

__all__ = [
    "EXACT",
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

EXACT = "inversion-8bit"
"""What the name of the exact sampler in records says of it, after its generator."""


def sampler_of(engine: Mapping[str, object]) -> str:
    """Return the kind of sampler that a record's engine names."""
    return "exact" if str(engine.get("sampler")).endswith(EXACT) else "float"


def sampler_for(device: torch.device, noise: Noise, seed: Seed = 0, kind: str = "float") -> Sampler:
    """Return the sampler that adds noise to images on a device.

    Args:
        device: where the classifier runs.
        noise: the noise distribution.
        seed: key of all noise.
        kind: "float" uses NumPy's generator for the CPU and one in torch elsewhere; "exact" gives equal noise on all
            devices. Under a secret key the random words come from the CPU in either case.

    Raises:
        InvalidInputError: there is no such kind, or it does not support this noise.
        MissingExtraError: a secret key without the extra `chacha20`.
    """
    if kind not in SAMPLERS:
        raise InvalidInputError(
            "sampler", required=f"one of {', '.join(SAMPLERS)}", got=repr(kind), remedy="Choose one of them."
        )
    if kind == "exact":
        from noiseproof.sampling.integer import IntegerSampler  # mpmath is needed for its table alone

        return IntegerSampler(noise, seed)
    on_host = device.type == "cpu" or isinstance(seed, SecretKey)
    return HostSampler(noise, seed) if on_host else DeviceSampler(noise, seed)
