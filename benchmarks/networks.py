"""What the benchmarks of speed run: networks with fresh weights, on images of noise. Neither changes how fast they are."""

import json
import platform
import statistics
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from noiseproof.classifiers import accelerate, quantise
from noiseproof.classifiers.runners import Runner
from noiseproof.models import build
from noiseproof.noises import Gaussian
from noiseproof.storage.provenance import device_name, provenance

RESULTS = Path(__file__).with_name("results")
SIGMA = 0.5
SHAPES = {"paper-mnist": (1, 28, 28), "paper-cifar": (3, 32, 32), "vgg7-cifar": (3, 32, 32)}
FORMS = ("fp32", "bf16", "int8")


def network(name: str) -> nn.Module:
    """Build a network; vgg7-cifar is 64-64-M-128-128-M-256-256-256-M-FC with 3 x 3 convolutions."""
    torch.manual_seed(0)
    if name != "vgg7-cifar":
        return build(name).eval()
    layers: list[nn.Module] = []
    inputs = 3
    for width in (64, 64, 0, 128, 128, 0, 256, 256, 256, 0):
        if width == 0:
            layers.append(nn.MaxPool2d(2))
        else:
            layers += [nn.Conv2d(inputs, width, 3, padding=1), nn.ReLU()]
            inputs = width
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(256 * 16, 10)).eval()


def images(name: str, count: int) -> np.ndarray:
    """Images of uniform noise."""
    return np.random.default_rng(0).random((count, *SHAPES[name]), dtype=np.float32)


def runner(name: str, form: str, batch_size: int, device: str = "cpu") -> Runner:
    """Make a network ready in a form: fp32 as it is, bf16 compiled, int8."""
    module = network(name).to(device)
    if form == "int8":
        noisy = torch.from_numpy(images(name, 4 * batch_size))
        noisy += Gaussian(SIGMA).sample(noisy, torch.Generator().manual_seed(0))
        return quantise(module, noisy, batch_size=batch_size)
    return accelerate(module, precision=form, compiled=form != "fp32", device=device)


def median(values: list[float]) -> float:
    """The median."""
    return statistics.median(values)


def write(name: str, title: str, table: list[str], figures: Any) -> None:
    """Write a table with the machine and the command beneath it, and the figures it is made of."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    about = provenance(device)
    versions = ", ".join(f"{package} {version}" for package, version in about["versions"].items())
    machine = (
        f"{device_name(device)}, {torch.get_num_threads()} threads, Python {platform.python_version()}, {versions}"
    )
    lines = [
        f"# {title}",
        "",
        *table,
        "",
        f"`python benchmarks/{Path(sys.argv[0]).name} {' '.join(sys.argv[1:])}`".replace(" `", "`"),
    ]
    lines += ["", f"{machine}, {about['created'][:10]}", ""]
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.md").write_text("\n".join(lines))
    (RESULTS / f"{name}.json").write_text(json.dumps({"about": about, "figures": figures}, indent=1) + "\n")
    print("\n".join(lines))
