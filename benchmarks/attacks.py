"""What expectation over noise costs: `python benchmarks/attacks.py`; writes benchmarks/results/attacks.*.

PGD with 16 draws on the paper's MNIST network against as many bare passes forward and back: batches of as many rows, by
the same network in the same precision, that never change. They take turns; medians of the ratios of neighbours.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from networks import write

from noiseproof.attacks import PGD, Batch, Defence
from noiseproof.classifiers import accelerate, keep_large_blocks, multiplies_bfloat16
from noiseproof.models import build
from noiseproof.noises import Gaussian

DRAWS = 16


def seconds(function: Callable[[], object]) -> float:
    """Time one call."""
    begun = time.perf_counter()
    function()
    return time.perf_counter() - begun


def compare(precision: str, count: int, steps: int, rounds: int) -> tuple[float, float, list[float]]:
    """Return seconds a step of bare passes and of PGD, and their ratios."""
    network = accelerate(build("paper-mnist"), precision=precision)
    images, labels = torch.rand(count, 1, 28, 28), torch.randint(10, (count,))
    batch = Batch(images, labels, range(count))
    sizes = torch.full((count,), 1.5, dtype=torch.float64)
    rows = torch.rand(count * DRAWS, 1, 28, 28)
    own = labels.repeat_interleave(DRAWS)

    def bare() -> None:
        for _ in range(steps):
            rows.requires_grad_()
            loss = torch.nn.functional.cross_entropy(network(rows), own)
            torch.autograd.grad(loss, rows)

    def attack() -> None:
        find = PGD(eot_samples=DRAWS, steps=steps).begin(Defence(network, Gaussian(0.7), 10), batch, "l2")
        find(sizes, range(count))

    bare()
    pairs = [(seconds(bare), seconds(attack)) for _ in range(rounds)]
    ratios = [ours / theirs for theirs, ours in pairs]
    return statistics.median(p[0] for p in pairs) / steps, statistics.median(p[1] for p in pairs) / steps, ratios


def main() -> None:
    """Compare in float32 and bf16, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, default=64)
    chosen = parser.parse_args()
    keep_large_blocks()
    table = ["| precision | bare passes, s a step | PGD, s a step | ratio | range |", "|---|---|---|---|---|"]
    results = {}
    for precision in ("fp32", "bf16") if multiplies_bfloat16(torch.device("cpu")) else ("fp32",):
        bare, ours, ratios = compare(precision, chosen.images, chosen.steps, chosen.rounds)
        results[precision] = {"bare": bare, "pgd": ours, "ratios": ratios}
        low, high = min(ratios), max(ratios)
        table.append(
            f"| {precision} | {bare:.3f} | {ours:.3f} | {statistics.median(ratios):.3f} x | {low:.2f} to {high:.2f} |"
        )
    title = f"PGD, {DRAWS} draws, {chosen.steps} steps, {chosen.images} images: what it costs over its passes"
    write("attacks", title, table, results)


if __name__ == "__main__":
    main()
