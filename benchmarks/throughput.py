"""Votes per second, end to end, against the bare forward pass of the same network in the same precision.

python benchmarks/throughput.py [DEVICE]     about 12 minutes on two cores; writes benchmarks/results/throughput.*

The ceiling calls the prepared network again and again on one batch that never changes. End to end is
`VoteCounter.count`: noise, copies of the images, network, counting. Both run in turn, seven times each;
the ratio is the median of those of neighbours. The batch size is the engine's choice.
"""

import sys
import time

import torch
from networks import FORMS, SHAPES, SIGMA, images, median, network, runner, write

import noiseproof as npf
from noiseproof.classifiers import accelerate, find_batch_size, keep_large_blocks
from noiseproof.classifiers.base import BaseClassifier
from noiseproof.classifiers.batching import default_batch_size
from noiseproof.classifiers.runners import Runner
from noiseproof.randomness import Phase
from noiseproof.storage.stopwatch import Stopwatch

REPEATS = 7
SECONDS = 2.5


def ceiling(prepared: Runner, batch: torch.Tensor, calls: int) -> float:
    """Images per second of the bare network."""
    begun = time.perf_counter()
    with torch.inference_mode():
        for _ in range(calls):
            output = prepared(batch)
        output.sum().item()  # waits for a GPU
    return calls * len(batch) / (time.perf_counter() - begun)


def row(name: str, form: str, device: str) -> dict[str, object]:
    """Measure one network in one form."""
    plain = BaseClassifier(accelerate(network(name), device=device), num_classes=10)
    size = default_batch_size(SHAPES[name])
    if device != "cpu":
        size = find_batch_size(plain, SHAPES[name], torch.device(device), start=size)
    prepared = runner(name, form, size, device)
    batch = torch.rand((size, *SHAPES[name]), device=device).contiguous(memory_format=torch.channels_last)
    smoothed = npf.SmoothedClassifier(prepared, npf.Gaussian(SIGMA), 10, batch_size=size)
    pictures = images(name, 4)
    smoothed.count(pictures, samples=size)
    ceiling(prepared, batch, 2)
    calls = max(4, int(SECONDS * ceiling(prepared, batch, 4) / size))
    bare, whole, overheads = [], [], []
    for _ in range(REPEATS):
        bare.append(ceiling(prepared, batch, calls))
        stopwatch = Stopwatch()
        begun = time.perf_counter()
        smoothed.counter.count(pictures, {Phase.CERTIFY: size * calls // len(pictures)}, stopwatch=stopwatch)
        whole.append(size * calls // len(pictures) * len(pictures) / (time.perf_counter() - begun))
        shares = stopwatch.shares()
        overheads.append(shares["noise"] + shares["counting"])
    return {
        "network": name,
        "precision": form if form != "bf16" else "bf16, compiled",
        "batch": size,
        "ceiling": median(bare),
        "end to end": median(whole),
        "ratio": median([ours / alone for ours, alone in zip(whole, bare, strict=True)]),
        "noise and counting": median(overheads),
    }


def main() -> None:
    """Measure all and write the table."""
    keep_large_blocks()
    device = sys.argv[1] if len(sys.argv) > 1 else "cpu"
    forms = FORMS if device == "cpu" else ("fp32", "bf16")
    rows = [row(name, form, device) for name in SHAPES for form in forms]
    table = [
        "| network | precision | batch | bare network, images/s | end to end, votes/s | ratio | noise and counting |"
    ]
    table.append("|---|---|---|---|---|---|---|")
    table += [
        f"| {found['network']} | {found['precision']} | {found['batch']} | {found['ceiling']:,.0f} "
        f"| {found['end to end']:,.0f} | {found['ratio']:.3f} | {100 * found['noise and counting']:.1f} % |"
        for found in rows
    ]
    write("throughput" if device == "cpu" else "throughput-gpu", "End to end against the bare network", table, rows)


if __name__ == "__main__":
    main()
