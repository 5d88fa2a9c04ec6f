"""The same votes by the loop of the literature, by the Adversarial Robustness Toolbox, and by noiseproof.

python benchmarks/peers.py      about 15 minutes on two cores; needs the extra `bench`; writes benchmarks/results/peers.*

Every contender is a process of its own, kept warm. They take turns, five times, each counting the same number of votes
of the same network on the same images; the table gives medians.

- The loop: one image at a time, batches of 1000, float32, counted in Python (Cohen, Rosenfeld and Kolter 2019, the
  pseudo-code of its section 3.2: SampleUnderNoise).
- The toolbox: `PyTorchRandomizedSmoothing.certify`, at the fastest of six batch sizes.
- noiseproof: as `noiseproof certify` runs it, blocks of memory kept, batch size its own choice.
"""

import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from networks import SHAPES, SIGMA, images, median, network, runner, write

REPEATS = 5
IMAGES, SELECTION = 2, 100
VOTES = {"paper-mnist": 8092, "vgg7-cifar": 2460, "paper-cifar": 1948}
"""With those of selection, whole batches of ours: in a run of 10 000 votes the last, filled-up batch costs under 1 %."""
TOOLBOX_BATCHES = (32, 64, 128, 256, 512, 1000)
Contender = Callable[[int], None]
"""Counts so many votes, and those of selection, for every image."""


def published_loop(name: str) -> Contender:
    """SampleUnderNoise for every image, as the pseudo-code has it."""
    model, pictures = network(name), torch.from_numpy(images(name, IMAGES))

    def sample_under_noise(x: torch.Tensor, count: int) -> np.ndarray:
        counts = np.zeros(10, dtype=int)
        with torch.no_grad():
            while count > 0:
                size = min(1000, count)
                count -= size
                batch = x.repeat((size, 1, 1, 1))
                noise = torch.randn_like(batch) * SIGMA
                for label in model(batch + noise).argmax(1).numpy():
                    counts[label] += 1
        return counts

    def run(votes: int) -> None:
        for picture in pictures:
            sample_under_noise(picture, SELECTION)
            sample_under_noise(picture, votes)

    return run


def toolbox(name: str) -> Contender:
    """The toolbox, at its best batch size."""
    warnings.simplefilter("ignore")
    from art.estimators.certification.randomized_smoothing import PyTorchRandomizedSmoothing

    smoothed = PyTorchRandomizedSmoothing(
        model=network(name),
        loss=torch.nn.CrossEntropyLoss(),
        input_shape=SHAPES[name],
        nb_classes=10,
        clip_values=None,
        sample_size=SELECTION,
        scale=SIGMA,
        alpha=0.001,
        device_type="cpu",
    )
    pictures = images(name, IMAGES)

    def timed(size: int) -> float:
        begun = time.perf_counter()
        smoothed.certify(pictures[:1], n=1000, batch_size=size)
        return time.perf_counter() - begun

    best = min(TOOLBOX_BATCHES, key=lambda size: min(timed(size), timed(size)))
    print(f"toolbox: batch {best}", file=sys.stderr)
    return lambda votes: smoothed.certify(pictures, n=votes, batch_size=best) and None


def ours(form: str) -> Callable[[str], Contender]:
    """Noiseproof in a precision."""

    def contender(name: str) -> Contender:
        import noiseproof as npf
        from noiseproof.classifiers import keep_large_blocks
        from noiseproof.classifiers.batching import default_batch_size

        keep_large_blocks()
        size = default_batch_size(SHAPES[name])
        smoothed = npf.SmoothedClassifier(runner(name, form, size), npf.Gaussian(SIGMA), 10, batch_size=size)
        pictures = images(name, IMAGES)
        return lambda votes: smoothed.certify(pictures, samples=votes) and None

    return contender


CONTENDERS: dict[str, Callable[[str], Contender]] = {
    "published loop, float32": published_loop,
    "toolbox, float32": toolbox,
    "noiseproof, float32": ours("fp32"),
    "noiseproof, bf16 compiled": ours("bf16"),
    "noiseproof, int8": ours("int8"),
}


def serve(name: str, contender: str) -> None:
    """Be one contender: warm up, then time a run for every line of input."""
    run = CONTENDERS[contender](name)
    run(1000)
    print("ready", flush=True)
    for _ in sys.stdin:
        begun = time.perf_counter()
        run(VOTES[name])
        print(time.perf_counter() - begun, flush=True)


def compare(name: str) -> dict[str, Any]:
    """Let all contenders take turns; votes per second of each, median first."""
    processes = {}
    for contender in CONTENDERS:
        command = [sys.executable, __file__, name, contender]
        processes[contender] = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        answer = processes[contender].stdout.readline()  # type: ignore[union-attr]
        if answer != "ready\n":
            raise RuntimeError(f"{contender} did not start")
    rates: dict[str, list[float]] = {contender: [] for contender in CONTENDERS}
    for _ in range(REPEATS):
        for contender, process in processes.items():
            process.stdin.write("go\n")  # type: ignore[union-attr]
            process.stdin.flush()  # type: ignore[union-attr]
            seconds = float(process.stdout.readline())  # type: ignore[union-attr]
            rates[contender].append(IMAGES * (VOTES[name] + SELECTION) / seconds)
    for process in processes.values():
        process.communicate()
    return rates


def main() -> None:
    """Compare on all networks, or be a contender."""
    if len(sys.argv) > 2:
        serve(sys.argv[1], sys.argv[2])
        return
    found = {name: compare(name) for name in VOTES}
    table = ["| network | " + " | ".join(CONTENDERS) + " |", "|---" * (len(CONTENDERS) + 1) + "|"]
    for name, rates in found.items():
        loop, art = (median(rates[peer]) for peer in list(CONTENDERS)[:2])
        cells = [
            f"{median(values):,.0f}<br>{median(values) / loop:.2f} x, {median(values) / art:.2f} x"
            for values in rates.values()
        ]
        table.append(f"| {name} | " + " | ".join(cells) + " |")
    table += ["", "Votes per second, and the ratio to the published loop and to the toolbox."]
    write("peers", "The same votes, by others and by noiseproof", table, found)


if __name__ == "__main__":
    main()
