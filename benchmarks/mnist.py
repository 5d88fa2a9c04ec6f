"""Certified accuracy of the MNIST networks of the zoo: `python benchmarks/mnist.py`; writes benchmarks/results/mnist.*.

Every tenth image of the test split, the tight certificate, alpha .001. Votes are kept in runs/zoo and continued. They are
counted in int8, calibrated on training images: what is certified is that network. Needs MNIST.
"""

import argparse
import json
import subprocess
import sys
from typing import Any

from networks import write

from noiseproof.models import fetch, load_checkpoint

RADII = ("0", "0.5", "1", "1.4", "1.58")
PUBLISHED = (
    "| Gaussian, sigma 0.5, LeNet, Jeong & Shin | | | | 89.8 | | 61.8 | 1.558 |",
    "| STN (weight 2), sigma 0.5, LeNet, ibid. | | | | 90.8 | | 62.9 | 1.572 |",
    "| Consistency, sigma 0.5, LeNet, ibid. | | | | 92.9 | | 73.7 | 1.655 |",
    "| STN, sigma 0.7, as printed in the paper | 98.9 | | | | 51 | 69.0 | |",
)


def certify(name: str, samples: int, precision: str) -> dict[str, Any]:
    """Certify one network from the command line and return its figures."""
    command = [sys.executable, "-c", "from noiseproof.cli import main; main()", "certify", f"runs/zoo/{name}"]
    options = ["--model", f"zoo:{name}", "--every", "10", "--samples", str(samples), "--precision", precision]
    done = subprocess.run(
        [*command, *options, "--radii", ",".join(RADII), "--json"], check=True, stdout=subprocess.PIPE
    )
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures


def main() -> None:
    """Certify the networks named and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("networks", nargs="*", default=["mnist-stn-0.7", "mnist-stn-0.5"])
    parser.add_argument("--samples", type=int, default=10_000)
    parser.add_argument("--precision", default="int8")
    chosen = parser.parse_args()
    results = {name: certify(name, chosen.samples, chosen.precision) for name in chosen.networks}
    table = [
        "| network | natural (voted) | " + " | ".join(f"at {radius}" for radius in RADII) + " | average radius |",
        "|---" * (len(RADII) + 3) + "|",
    ]
    for name, found in results.items():
        settings = load_checkpoint(fetch(name)).record["settings"]
        cells = [f"{100 * found['certified_accuracy'][radius]:.1f}" for radius in RADII]
        table.append(
            f"| {name}: {settings['objective']['name']}, sigma {settings['noise']['sigma']:g} | "
            f"{100 * found['natural_accuracy']:.1f} | {' | '.join(cells)} | {found['average_certified_radius']:.3f} |"
        )
    table += PUBLISHED
    write("mnist", f"MNIST: certified accuracy, {chosen.samples} votes, every tenth test image", table, results)


if __name__ == "__main__":
    main()
