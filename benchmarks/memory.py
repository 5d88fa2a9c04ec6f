"""Peak memory against the number of classes, image size, votes and images.

python benchmarks/memory.py      2 minutes on two cores; writes benchmarks/results/memory.*

Every row is a process of its own that certifies random images with a small convolutional network into a record, as
`noiseproof certify` does; its peak is what the system reports at its end, less that of a process that only imports.
"""

import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from networks import write
from torch import nn

import noiseproof as npf
from noiseproof.data import ArrayDataset
from noiseproof.runs import CountVotes, Engine, Subject, execute

BASE: dict[str, int] = {"classes": 10, "size": 32, "samples": 1000, "images": 8}
ROWS: list[dict[str, int]] = [
    {},
    {"classes": 100},
    {"classes": 1000},
    {"size": 64},
    {"size": 224},
    {"size": 224, "classes": 1000},
    {"samples": 10_000},
    {"samples": 50_000},
    {"images": 64},
    {"images": 512},
]


def certify(classes: int, size: int, samples: int, images: int) -> int:
    """Certify, and return the peak memory of this process in bytes."""
    torch.manual_seed(0)
    pictures = np.random.default_rng(0).random((images, 3, size, size), dtype=np.float32)
    dataset = ArrayDataset("random", "test", pictures, np.arange(images) % classes, classes)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, classes)
    )
    subject = Subject.of(model, npf.Gaussian(0.5), dataset, name="random")
    if samples:
        with tempfile.TemporaryDirectory() as folder:
            execute(CountVotes(samples), Path(folder) / "run", subject, engine=Engine("cpu", "fp32", compiled=False))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def peak(settings: dict[str, int]) -> int:
    """Certify in a fresh process."""
    command = [sys.executable, __file__, json.dumps(settings)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    """Measure every row, or be one."""
    if len(sys.argv) > 1:
        print(certify(**json.loads(sys.argv[1])))
        return
    figures: list[dict[str, Any]] = []
    table = ["| classes | image | votes an image | images | peak above imports and data, MB |", "|---|---|---|---|---|"]
    for change in ROWS:
        settings = BASE | change
        idle = peak(settings | {"samples": 0})
        found = peak(settings) - idle
        figures.append(settings | {"bytes": found, "idle": idle})
        table.append(
            f"| {settings['classes']} | 3 x {settings['size']} x {settings['size']} | {settings['samples']:,} "
            f"| {settings['images']} | {found / 1e6:.0f} |"
        )
    write("memory", "Peak memory of certifying", table, figures)


if __name__ == "__main__":
    main()
