"""Votes until it is known, by every rule: `python benchmarks/sequential.py`; writes benchmarks/results/sequential.*.

Vote probabilities of 1000 MNIST test images are replayed (`probabilities/`, from 10 000 votes each of zoo:mnist-stn-0.5): every
rule reads the same streams of votes, vote by vote. No data and no network are needed. The class is the one with probability p;
`noiseproof certify --radius` chooses it by the same votes, which (1 + c)/alpha pays for.

`python benchmarks/sequential.py --fit RUN` writes the probabilities of a record of certify.
"""

import argparse
import csv
import time
from pathlib import Path
from typing import Any

import numpy as np
from baselines.sequential_rules import FixedNumber, JeffreysTest, KrichevskyTrofimov, OneLevelTest, Stages, UnionBound
from jaxtyping import Bool, Float, Int
from networks import write
from scipy.special import ndtr, ndtri

from noiseproof.bounds import clopper_pearson_lower
from noiseproof.runs.records import Record
from noiseproof.sequential import information_limit, lower_bound

PROBABILITIES = Path(__file__).with_name("probabilities") / "mnist-stn-0.5.csv"
SIGMA, ALPHA, BETA, CAP = 0.5, 0.001, 0.001, 100_000
RADII = (0.5, 1.0, 1.58)


def read(path: Path) -> Float[np.ndarray, " images"]:
    """Read p of every image: (votes for the leading class + 1/2) / (votes + 1)."""
    with path.open() as file:
        return np.array([(float(row["leader"]) + 0.5) / (float(row["votes"]) + 1.0) for row in csv.DictReader(file)])


def fit(run: Path) -> None:
    """Write the votes of a record's leading classes."""
    table = Record.open(run).read()
    PROBABILITIES.parent.mkdir(exist_ok=True)
    with PROBABILITIES.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["index", "leader", "votes"])
        writer.writerows(
            zip(table.index.tolist(), table.votes.max(1).tolist(), table.votes.sum(1).tolist(), strict=True)
        )


def rules(p0: float) -> dict[str, OneLevelTest]:
    """Every rule at one level."""
    return {
        "truncated Jeffreys, every class": JeffreysTest(p0, ALPHA, every_class=True, beta=BETA, cap=CAP),
        "truncated Jeffreys, class given": JeffreysTest(p0, ALPHA, beta=BETA, cap=CAP),
        "Krichevsky-Trofimov (Voracek 2024)": KrichevskyTrofimov(p0, ALPHA),
        "union bound (Voracek 2024)": UnionBound(p0, ALPHA),
        "four stages (Horvath et al. 2022)": Stages(p0, ALPHA, BETA),
        "fixed 100 000 (Cohen et al. 2019)": FixedNumber(p0, ALPHA, CAP),
    }


class Replay:
    """One rule's boundaries, tabulated once."""

    def __init__(self, rule: OneLevelTest, futility: JeffreysTest) -> None:
        self.numbers = np.arange(1, max(CAP, int(sum(getattr(rule, "sizes", (0,))))) + 1)
        self.most = rule.certified_up_to(self.numbers)
        least = rule.given_up_from(self.numbers)
        own = bool((least <= self.numbers).any())
        # rules without a way to give up get that of the others, so that they are compared by how they certify
        self.least = least if own else futility.given_up_from(self.numbers)
        self.shown = JeffreysTest(futility.p0, ALPHA, beta=BETA).given_up_from(self.numbers)
        self.restarts = [end for end in rule.restarts if end < len(self.numbers)]

    def __call__(self, failed: Bool[np.ndarray, " cap"]) -> tuple[int, int]:
        """Return the votes at which it stops on a stream of votes, and 1 certified, 0 at the cap, -1 given up."""
        failures: Int[np.ndarray, " cap"] = np.cumsum(failed[: len(self.numbers)])
        for end in self.restarts:
            failures[end:] -= failures[end - 1]
        numbers = self.numbers[: len(failures)]
        sure, futile = failures <= self.most[: len(failures)], failures >= self.least[: len(failures)]
        ends = np.flatnonzero(sure | futile)
        if not len(ends):
            return len(numbers), 0
        end = int(ends[0])
        return end + 1, 1 if sure[end] else -1 if failures[end] >= self.shown[end] else 0


def replay(p: Float[np.ndarray, " images"], radius: float, repeats: int) -> dict[str, dict[str, float]]:
    """Run every rule on the same streams; means over images and repeats."""
    p0 = float(ndtr(radius / SIGMA))
    chosen = rules(p0)
    futility = JeffreysTest(p0, ALPHA, beta=BETA, cap=CAP)
    replays = {name: Replay(rule, futility) for name, rule in chosen.items()}
    longest = max(len(each.numbers) for each in replays.values())
    found: dict[str, list[tuple[int, int]]] = {name: [] for name in replays}
    for repeat in range(repeats):
        rng = np.random.default_rng(repeat)
        for chance in p:
            failed = rng.random(longest, dtype=np.float32) >= np.float32(chance)
            for name, each in replays.items():
                found[name].append(each(failed))
    limits = np.minimum(information_limit(p, p0, ALPHA), CAP)
    certifiable = np.tile(p > p0, repeats)
    results = {"information limit": {"votes": float(limits.mean())}}
    for name, pairs in found.items():
        votes, outcome = np.array(pairs).T
        results[name] = {
            "votes": float(votes.mean()),
            "over_limit": float(votes.sum() / (repeats * limits.sum())),
            "over_limit_certifiable": float(votes[certifiable].sum() / (repeats * limits[p > p0].sum())),
            "certified": float((outcome == 1).mean()),
            "undecided": float((outcome == 0).mean()),
        }
    return results


def anytime(p: Float[np.ndarray, " images"], repeats: int) -> dict[str, dict[str, float]]:
    """Compare radii of images certified at sigma or more with those by a fixed 100 000 votes."""
    rng = np.random.default_rng(1)
    p = p[p > ndtr(1.0) + 0.01]
    sizes = np.unique(np.geomspace(100, CAP, 60).astype(np.int64))
    best = _best_sizes(p, sizes, CAP // 10)
    sums: dict[str, list[float]] = {}
    for _ in range(repeats):
        tenth = rng.binomial(CAP // 10, p)
        whole = tenth + rng.binomial(CAP - CAP // 10, p)
        fixed = _fixed_radius(whole, np.full_like(whole, CAP))
        found = {
            "fixed 10 000": _fixed_radius(tenth, np.full_like(tenth, CAP // 10)),
            "fixed, 10 000 on average, the best shares for whoever knows every p": _fixed_radius(
                rng.binomial(best, p), best
            ),
            "anytime at 10 000": _anytime_radius(tenth, np.full_like(tenth, CAP // 10)),
            "anytime at 100 000": _anytime_radius(whole, np.full_like(whole, CAP)),
        }
        for name, radii in found.items():
            sums.setdefault(name, []).append(float(radii.mean() / fixed.mean()))
    return {name: {"of_fixed_radius": float(np.mean(values))} for name, values in sums.items()}


def _fixed_radius(successes: Int[np.ndarray, " images"], n: Int[np.ndarray, " images"]) -> Float[np.ndarray, " images"]:
    return np.maximum(SIGMA * ndtri(clopper_pearson_lower(successes, n, ALPHA)), 0.0)


def _anytime_radius(
    successes: Int[np.ndarray, " images"], n: Int[np.ndarray, " images"]
) -> Float[np.ndarray, " images"]:
    return np.maximum(SIGMA * ndtri(lower_bound(successes, n, 0.98 * ALPHA)), 0.0)


def _best_sizes(
    p: Float[np.ndarray, " images"], sizes: Int[np.ndarray, " sizes"], mean: int
) -> Int[np.ndarray, " images"]:
    """Return the numbers of votes, `mean` on average, that give the largest mean radius: by the price of a vote."""
    gained = np.stack([_fixed_radius(np.rint(p * n).astype(np.int64), np.full(len(p), n)) for n in sizes])
    low, high = 0.0, 1.0
    for _ in range(60):
        price = 0.5 * (low + high)
        chosen = sizes[(gained - price * sizes[:, None]).argmax(0)]
        low, high = (price, high) if chosen.mean() > mean else (low, price)
    return np.asarray(sizes[(gained - high * sizes[:, None]).argmax(0)])


def main() -> None:
    """Replay and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fit", type=Path, help="write the probabilities of this record, and end")
    parser.add_argument("--repeats", type=int, default=3)
    chosen = parser.parse_args()
    if chosen.fit is not None:
        fit(chosen.fit)
        return
    p = read(PROBABILITIES)
    begun = time.perf_counter()
    results: dict[str, Any] = {f"{radius:g}": replay(p, radius, chosen.repeats) for radius in RADII}
    names = list(results["0.5"])
    table = ["| votes an image | " + " | ".join(f"r = {radius:g}" for radius in RADII) + " |", "|---" * 4 + "|"]
    for name in names:
        cells = []
        for radius in RADII:
            found = results[f"{radius:g}"][name]
            ratio = (
                f" ({found['over_limit']:.2f} x; undecided {100 * found['undecided']:.1f} %)"
                if "over_limit" in found
                else ""
            )
            cells.append(f"{found['votes']:,.0f}{ratio}")
        table.append(f"| {name} | {' | '.join(cells)} |")
    results["anytime"] = anytime(p, 20)
    table += ["", "| radius of images certified at sigma or more | of the radius by a fixed 100 000 |", "|---|---|"]
    table += [f"| {name} | {100 * found['of_fixed_radius']:.1f} % |" for name, found in results["anytime"].items()]
    title = (
        f"Votes until a radius is decided: {len(p)} MNIST images, sigma {SIGMA:g}, alpha {ALPHA:g}, cap {CAP:,}, "
        f"{chosen.repeats} repeats"
    )
    write("sequential", title, table, results)
    print(f"{time.perf_counter() - begun:.0f} s")


if __name__ == "__main__":
    main()
