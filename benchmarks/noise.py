"""Time of a standard normal number from the sampler of certification, and from others, on one thread.

python benchmarks/noise.py      seconds; writes benchmarks/results/noise.*
"""

import time
from collections.abc import Callable

import numpy as np
import torch
from networks import median, write

import noiseproof as npf
from noiseproof.randomness import Phase
from noiseproof.sampling import DeviceSampler, Rows, Span, host_source, sampler_for

ROWS, SHAPE, REPEATS = 256, (1, 28, 28), 50


def main() -> None:
    """Measure all, in turn."""
    torch.set_num_threads(1)
    numbers = ROWS * int(np.prod(SHAPE))
    out, batch = np.empty(numbers, dtype=np.float32), torch.empty(ROWS, *SHAPE)
    images = torch.randint(256, (1, *SHAPE)) / 255
    cpu = torch.device("cpu")
    rows = Rows([Span(0, 0, Phase.CERTIFY, 0, ROWS)], cpu)
    philox, sfc = (np.random.Generator(kind(0)) for kind in (np.random.Philox, np.random.SFC64))
    noise, key = npf.Gaussian(0.5), npf.SecretKey.draw()
    device = DeviceSampler(noise, 0)
    host, exact, host_chacha, exact_chacha = (
        sampler_for(cpu, noise, seed, kind) for seed in (0, key) for kind in ("float", "exact")
    )
    ways: dict[str, Callable[[], object]] = {
        "the sampler of CPUs: image + noise, any sample addressed": lambda: host.fill(batch, images, rows),
        "the exact sampler, for 8-bit images": lambda: exact.fill(batch, images, rows),
        "image + noise under a secret key (ChaCha20)": lambda: host_chacha.fill(batch, images, rows),
        "the exact sampler under a secret key (ChaCha20)": lambda: exact_chacha.fill(batch, images, rows),
        "standard normals of the sampler of CPUs alone": lambda: host_source(0, rows).normal(batch),
        "NumPy's ziggurat on Philox": lambda: philox.standard_normal(dtype=np.float32, out=out),
        "NumPy's ziggurat on SFC64": lambda: sfc.standard_normal(dtype=np.float32, out=out),
        "torch.randn (ends at 5.77 standard deviations)": batch.normal_,
        "the sampler of GPUs, run on the CPU": lambda: device.fill(batch, images, rows),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(REPEATS):
        for name, draw in ways.items():
            begun = time.perf_counter()
            draw()
            seconds[name].append(time.perf_counter() - begun)
    figures = {name: 1e9 * median(values) / numbers for name, values in seconds.items()}
    table = ["| | ns a number |", "|---|---|", *(f"| {name} | {value:.1f} |" for name, value in figures.items())]
    write("noise", "Normal numbers on one thread", table, figures)


if __name__ == "__main__":
    main()
