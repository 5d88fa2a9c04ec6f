"""How alpha is split between winner and runner-up, and what other bounds certify of the same votes.

python benchmarks/alpha_split.py      a minute; writes benchmarks/results/alpha_split.*

Probabilities of each image's classes are taken from records (`reproduction/records`, ten classes) and from results that
others published ($NOISEPROOF_DATA/published, whose README names the sources): these print one radius an image, which gives
back the votes of the winner. What is left to the other classes is not published: it is given to one rival, or broken at
uniform points, so that the runner-up has 62 % of it on average. Where a published classifier
abstains nothing is known, and the image counts as not certified under every bound. Votes are then drawn at every n, the same
for all bounds; `TwoPhase` draws 100 further ones, or, in the column "of n", takes them out of n.
"""

import csv
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from networks import write
from scipy.special import ndtri

from noiseproof.bounds import Bonferroni, Bound, SinglePhase, TwoPhase, WinnerRunnerUp, clopper_pearson_lower
from noiseproof.certificates import NeymanPearson
from noiseproof.noises import Gaussian
from noiseproof.runs.records import Record

RECORDS = Path(__file__).parents[1] / "reproduction" / "records"
ALPHA, SELECTION, IMAGES, SEED = 0.001, 100, 2000, 20261130
SAMPLES = (100, 1000, 10_000, 100_000)
SHARES = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5)
RADII = (0.25, 0.5, 1.0, 2.0, 3.0)
"""In units of sigma."""

SHOWN = (0.5, 1.0, 2.0)
"""Of these, in the table."""

OWN = ("mnist/stn-0.5", "mnist/smoothadv-0.6", "mnist/stn-1", "cifar10/stn-released")
PUBLISHED = (
    ("cohen2019/cifar10_resnet110_sigma_0.25.tsv", 0.25, (2, 10)),
    ("cohen2019/cifar10_resnet110_sigma_1.00.tsv", 1.0, (2, 10)),
    ("jeong2023/mnist_cat-rs_sigma_0.5.tsv", 0.5, (10,)),
    ("cohen2019/imagenet_resnet50_sigma_0.50.tsv", 0.5, (1000,)),
    ("cohen2019/imagenet_resnet50_sigma_1.00.tsv", 1.0, (1000,)),
)

Classes = Float[np.ndarray, "images classes"]


@dataclass(frozen=True)
class Source:
    """Images that are classified rightly, as the probabilities of their classes, the right one first.

    Attributes:
        name: of the table.
        spread: how the rest lies among the other classes.
        classes: probabilities; every image is repeated until there are about `IMAGES`.
        share: the images that these are of all.
    """

    name: str
    spread: str
    classes: Classes
    share: float


def recorded(name: str) -> Source:
    """Return the shares of a record's votes."""
    table = Record.open(RECORDS / name).read()
    shares = table.votes / table.votes.sum(1, keepdims=True)
    right = shares.argmax(1) == table.label
    shares = shares[right]
    own = np.argsort(-shares, axis=1, kind="stable")
    return Source(name, "as recorded", repeated(np.take_along_axis(shares, own, axis=1)), float(right.mean()))


def published(folder: Path, name: str, sigma: float, classes: int, spread: str) -> Source:
    """Return what a table of radii says of the winner, with a rest for the others.

    Cohen et al. print radii that no alpha below .01 reaches in some tables: where .001 does not, .01 is taken.
    """
    with (folder / name).open() as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    radius = np.array([float(row["radius"]) for row in rows if row["correct"] == "1"]) / sigma
    leading = np.arange(50_001, 100_001)
    for alpha in (0.001, 0.01):
        reached = ndtri(clopper_pearson_lower(leading, np.full_like(leading, 100_000), alpha))
        if radius.max() <= reached[-1] * 1.003:  # three digits are printed
            break
    winner = leading[np.searchsorted(reached, radius).clip(max=len(leading) - 1)] / 100_000
    winner = repeated(winner[:, None])[:, 0].clip(max=1.0 - 5e-6)  # unanimous: half a vote of 100 000 for others
    rest = np.zeros((len(winner), classes - 1))
    rest[:, 0] = 1.0
    if spread == "broken":
        cuts = np.random.default_rng(SEED).random(rest.shape)
        cuts[:, -1] = 1.0
        rest = cuts * np.cumprod(np.column_stack([np.ones(len(cuts)), 1.0 - cuts[:, :-1]]), axis=1)
    found = np.column_stack([winner, (1.0 - winner)[:, None] * rest])
    return Source(f"{name.removesuffix('.tsv')}, k = {classes}", spread, found, len(radius) / len(rows))


def repeated(rows: Float[np.ndarray, "images classes"]) -> Float[np.ndarray, "images classes"]:
    """Return evenly chosen rows of a long table, and a short one several times over."""
    chosen: Classes = rows[np.arange(IMAGES) * len(rows) // IMAGES]
    return chosen


def bounds() -> Iterator[tuple[str, Bound, bool]]:
    """Yield every bound by name, and whether its selection comes out of n."""
    yield "TwoPhase", TwoPhase(SELECTION), False
    yield "TwoPhase of n", TwoPhase(SELECTION), True
    yield "SinglePhase", SinglePhase(), False
    yield "Bonferroni", Bonferroni(), False
    for share in SHARES:
        yield f"share {share:g}", WinnerRunnerUp(runner_up_share=share), False


def measure(source: Source, samples: int, number: int) -> dict[str, list[float]]:
    """Return, by bound, the average radius over all images and the certified accuracy at `RADII`, in units of sigma."""
    chance = np.random.default_rng([SEED, number, samples])
    selection: Int[np.ndarray, "images classes"] = chance.multinomial(SELECTION, source.classes)
    less = chance.multinomial(max(samples - SELECTION, 1), source.classes)
    votes = less + chance.multinomial(min(SELECTION, samples - 1), source.classes)
    certificate, noise, found = NeymanPearson(), Gaussian(1.0), {}
    for name, bound, inside in bounds():
        if inside and samples <= SELECTION:
            continue
        interval = bound(less if inside else votes, alpha=ALPHA, selection_votes=selection)
        radius = certificate.radius(noise, interval.p1_lower, interval.p2_upper) * (interval.prediction == 0)
        accuracy = [float((radius >= at).mean()) for at in RADII]
        found[name] = [round(source.share * value, 6) for value in (float(radius.mean()), *accuracy)]
    return found


def sources() -> Iterator[Source]:
    """Yield what is at hand, and say what is not."""
    yield from map(recorded, OWN)
    folder = Path(os.environ.get("NOISEPROOF_DATA", "")) / "published"
    for name, sigma, sizes in PUBLISHED:
        if not (folder / name).is_file():
            print(f"{name} is left out: not in NOISEPROOF_DATA/published.")
            continue
        for classes in sizes:
            for spread in ("one rival",) if classes == 2 else ("one rival", "broken"):
                yield published(folder, name, sigma, classes, "two classes" if classes == 2 else spread)


def row(*cells: object) -> str:
    """Return a row of a table."""
    return f"| {' | '.join(map(str, cells))} |"


def head(*cells: object) -> list[str]:
    """Return the two rows that a table begins with."""
    return [row(*cells), "|---" * len(cells) + "|"]


def summary(figures: Sequence[Mapping[str, Any]], names: Sequence[str]) -> list[str]:
    """Return the average radius against that of `TwoPhase`, in per cent: mean over the sources, least and largest."""
    table = head("rest", "n", *names[1:])
    for spread in dict.fromkeys(each["rest"] for each in figures):
        for samples in SAMPLES:
            rows = [each["found"] for each in figures if (each["rest"], each["samples"]) == (spread, samples)]
            cells = []
            for name in names[1:]:
                gain = [100.0 * (each[name][0] / each["TwoPhase"][0] - 1.0) for each in rows if name in each]
                cells.append(f"{np.mean(gain):+.2f} ({min(gain):+.2f} to {max(gain):+.2f})" if gain else "–")
            table.append(row(spread, f"{samples:,}", *cells))
    return table


def main() -> None:
    """Measure every source at every n."""
    names = [name for name, _, _ in bounds()]
    figures: list[dict[str, Any]] = []
    for number, source in enumerate(sources()):
        for samples in SAMPLES:
            found = measure(source, samples, number)
            figures.append({"source": source.name, "rest": source.spread, "samples": samples, "found": found})
    tables = [
        f"alpha {ALPHA}, {IMAGES:,} images a row, seed {SEED}; share: the runner-up's in `WinnerRunnerUp`.",
        "",
        "Average radius against that of `TwoPhase` in per cent: mean over the sources (least to largest).",
        "",
        *summary(figures, names),
    ]
    for column, title in (
        (0, "average radius, in sigma"),
        *((1 + RADII.index(at), f"certified at {at:g} sigma") for at in SHOWN),
    ):
        tables += ["", *head(title, "n", *names)]
        for each in figures:
            cells = [f"{each['found'][name][column]:.4f}" if name in each["found"] else "–" for name in names]
            tables.append(row(f"{each['source']}, {each['rest']}", f"{each['samples']:,}", *cells))
    write("alpha_split", "Bounds on the same votes", tables, {"radii": RADII, "rows": figures})


if __name__ == "__main__":
    main()
