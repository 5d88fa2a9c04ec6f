"""The long trainings and certifications on CIFAR-10, for a GPU: `python reproduction/full.py --seconds 540`.

Jobs run one after the other; each goes on where it was stopped, so the same command is repeated until nothing is left. After
`--seconds` the running job is stopped, which saves its state. Exit code 0: all done; 3: work is left; that of a job that
failed otherwise.

    stability training and Gaussian augmentation at 100/255, three seeds each, 150 epochs     bands of Figure 1
    stability training at .25 and .5, 150 epochs                                             Figures 1 and 4
    ResNet-110 at sigma .12 and .25 by Gaussian augmentation and SmoothAdv, 150 epochs        the peers' recipes

A training is certified on every tenth test image with 10 000 votes, in bfloat16.
"""

import argparse
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

SIGMA = 100 / 255
SECONDS = 540.0
"""Under ten minutes, the longest call on machines that are lent."""

_LONG = ["--epochs", "150", "--schedule", "cosine", "--precision", "bf16"]
_RESIDUAL = ["--model", "cifar-resnet110", "--augment", "flip-crop", "--batch-size", "256", "--optimiser", "SGD"]
_RESIDUAL += ["--learning-rate", "0.1", "--weight-decay", "1e-4", "--warmup-epochs", "5"]
_PAPERS = [
    *((objective, SIGMA, seed) for seed in range(3) for objective in ("stability", "gaussian")),
    *(("stability", sigma, 0) for sigma in (0.25, 0.5)),
]
_SMOOTH_ADV = ["--set", "epsilon=0.25", "--set", "steps=10", "--set", "copies=4", "--ramp-epochs", "10"]
"""Salman et al. 2019: 64/255 on CIFAR-10, ten steps, four draws."""


def jobs(out: Path, data: Sequence[str] = ()) -> list[list[str]]:
    """Return the arguments of noiseproof, in order; `data` are those that name the data."""
    found: list[list[str]] = []

    def add(folder: str, *training: str) -> None:
        run = str(out / folder)
        found.append(["train", "--data", "cifar10", *data, *training, *_LONG, "--out", run])
        found.append(["certify", run, *data, "--precision", "bf16", "--every", "10"])

    for objective, sigma, seed in _PAPERS:
        name = f"{objective}-{sigma:.3g}-seed{seed}"
        add(name, "--objective", objective, "--sigma", repr(sigma), "--seed", str(seed))
    for sigma in (0.12, 0.25):
        add(f"resnet110-gaussian-{sigma}", "--objective", "gaussian", "--sigma", repr(sigma), *_RESIDUAL)
        add(
            f"resnet110-smoothadv-{sigma}",
            "--objective",
            "smooth-adv",
            "--sigma",
            repr(sigma),
            *_RESIDUAL,
            *_SMOOTH_ADV,
        )
    return found


def run(commands: Sequence[Sequence[str]], seconds: float) -> int:
    """Run commands one after the other until all are done or the time is up; return the exit code."""
    until = time.monotonic() + seconds
    for number, command in enumerate(commands, 1):
        sys.stdout.write(f"{number} of {len(commands)}: {shlex.join(command)}\n")
        sys.stdout.flush()
        with subprocess.Popen(command) as process:  # noqa: S603 - our own commands
            try:
                code = process.wait(max(until - time.monotonic(), 0.0))
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGTERM)  # it saves, and the next call goes on
                process.wait()
                sys.stdout.write("The time is up: call it again to go on.\n")
                return 3
            except KeyboardInterrupt:
                process.wait()  # Ctrl-C has reached it too
                raise
        if code:
            return code
    return 0


def main() -> int:
    """Read the command line and run what is left."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/full"), help="folder of the runs")
    parser.add_argument(
        "--seconds", type=float, default=SECONDS, help="stop after so many seconds (default: %(default)s)"
    )
    parser.add_argument("--data-dir", help="as of noiseproof")
    parser.add_argument("--allow-unverified", action="store_true", help="as of noiseproof")
    parser.add_argument("--list", action="store_true", help="print the commands and end")
    given = parser.parse_args()
    data = [
        *(["--data-dir", given.data_dir] if given.data_dir else []),
        *(["--allow-unverified"] if given.allow_unverified else []),
    ]
    commands = [[sys.executable, "-m", "noiseproof", *arguments] for arguments in jobs(given.out, data)]
    if given.list:
        sys.stdout.write("".join(f"noiseproof {shlex.join(command[3:])}\n" for command in commands))
        return 0
    return run(commands, given.seconds)


if __name__ == "__main__":
    sys.exit(main())
