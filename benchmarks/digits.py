"""The demo over three seeds: `python benchmarks/digits.py`, a few minutes; writes benchmarks/results/digits.*.

Each seed decides weights, order, training noise and certification noise. Records are kept in runs/digits-SEED.
"""

import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).with_name("results")
SEEDS = (0, 1, 2)
ROWS = {
    "natural accuracy (voted)": lambda p: 100 * p["natural_accuracy"],
    "abstained": lambda p: 100 * p["abstained"],
    "certified at 0": lambda p: 100 * p["certified_accuracy"]["0"],
    "certified at 0.25": lambda p: 100 * p["certified_accuracy"]["0.25"],
    "certified at 0.5": lambda p: 100 * p["certified_accuracy"]["0.5"],
    "average certified radius": lambda p: p["average_certified_radius"],
}


def demo(seed: int) -> dict[str, Any]:
    """Run the demo with one seed and return its figures."""
    command = [sys.executable, "-c", "from noiseproof.cli import main; main()", "demo"]
    arguments = ["--seed", str(seed), "--out", f"runs/digits-{seed}", "--json"]
    done = subprocess.run([*command, *arguments], check=True, stdout=subprocess.PIPE)
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures


def main() -> None:
    """Run every seed and write mean and standard deviation."""
    results = {seed: demo(seed) for seed in SEEDS}
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "digits.json").write_text(json.dumps(results, indent=2) + "\n")
    columns = [
        (model["name"], procedure["procedure"], index, number)
        for index, model in enumerate(results[SEEDS[0]]["models"])
        for number, procedure in enumerate(model["procedures"])
    ]
    lines = ["| | " + " | ".join(f"{name}<br>{procedure}" for name, procedure, _, _ in columns) + " |"]
    lines.append("|---" * (len(columns) + 1) + "|")
    for title, figure in ROWS.items():
        cells = []
        for _, _, index, number in columns:
            values = [figure(results[seed]["models"][index]["procedures"][number]) for seed in SEEDS]
            digits = 3 if "radius" in title else 1
            cells.append(f"{statistics.mean(values):.{digits}f} ± {statistics.stdev(values):.{digits}f}")
        lines.append(f"| {title} | " + " | ".join(cells) + " |")
    (RESULTS / "digits.md").write_text("\n".join(lines) + "\n")
    print((RESULTS / "digits.md").read_text())
    for seed in SEEDS:
        print(
            f"seed {seed}: {results[seed]['seconds']:.0f} s, {results[seed]['peak_memory_bytes'] / 1e6:.0f} MB at most"
        )


if __name__ == "__main__":
    main()
