"""Noise as a function of (seed, image, sample), and the votes of noisy copies."""

import torch

from noiseproof.sampling.device import DeviceSampler
from noiseproof.sampling.host import HostSampler, host_source
from noiseproof.sampling.sampler import FloatSampler, Rows, Sampler, Span

__all__ = ["DeviceSampler", "FloatSampler", "HostSampler", "Rows", "Sampler", "Span", "host_source", "sampler_for"]


def sampler_for(device: torch.device) -> type[Sampler]:
    """Return the sampler of a device: NumPy's for the CPU, the one in torch elsewhere."""
    return HostSampler if device.type == "cpu" else DeviceSampler
