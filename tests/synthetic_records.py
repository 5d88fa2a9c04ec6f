"""Records of votes and attacks written by hand, and what every number from them must be: an image at a time, by the formulas
as they are printed.
"""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.stats import beta, binom, norm

from noiseproof.experiments.attack_figures import TRADES, white_box
from noiseproof.experiments.networks import Network
from noiseproof.experiments.released import sison_glaz
from noiseproof.experiments.votes import Run
from noiseproof.runs.attack_records import AttackRecord, AttackSettings, AttackTable
from noiseproof.runs.records import Record, RecordSettings, VoteTable
from noiseproof.runs.sequential_records import SequentialRecord, SequentialSettings
from noiseproof.runs.verification_records import Verified
from noiseproof.sequential import CertifyRadii
from noiseproof.sequential.looks import next_look

IMAGES, SAMPLES, SELECTION, CLASSES = 41, 2000, 100, 10
OBJECTIVES = {
    "stn": {"name": "Stability", "form": "paper", "weight": 1.0},
    "gaussian": {"name": "GaussianAugmentation"},
    "smoothadv": {"name": "SmoothAdv", "consistency": 1.0, "epsilon": 1.0},
    "smoothadv-long": {"name": "SmoothAdv", "consistency": 1.0, "epsilon": 1.0},
}
RELEASED = "84486d01a1021329838e4b7048766249c363f7bd5721d68bc37785c5d356cc25"
Votes = np.ndarray


def drawn(seed: int, easy: float = 8.0) -> tuple[Votes, Votes, Votes]:
    """Labels, votes and selection votes of images from certain to hopeless; for some the winner is wrong."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(CLASSES, size=IMAGES)
    hits = 1.0 / (1.0 + np.exp(-easy * (rng.random(IMAGES) - 0.2)))
    hits[:20] = 1.0 - 10.0 ** -np.linspace(1.5, 5.0, 20)
    chances = np.full((IMAGES, CLASSES), 1e-3)
    winner = np.where(rng.random(IMAGES) < 0.1, (labels + 1) % CLASSES, labels)
    chances[np.arange(IMAGES), (winner + 2) % CLASSES] = 0.6 * (1.0 - hits)
    chances[np.arange(IMAGES), winner] = hits
    chances[:20] = 0.0
    chances[np.arange(20), winner[:20]] = hits[:20]
    chances[np.arange(20), (winner[:20] + 1) % CLASSES] = 1.0 - hits[:20]
    chances /= chances.sum(1, keepdims=True)
    return labels, *(np.stack([rng.multinomial(n, chance) for chance in chances]) for n in (SAMPLES, SELECTION))


def write_run(path: Path, kind: str, sigma: float, seed: int = 0, **changes: Any) -> Record:
    """Write a record of votes by hand, in three shards."""
    labels, votes, selection = changes.pop("drawn", None) or drawn(seed + (100 if kind == "gaussian" else 0))
    trained = {
        "objective": OBJECTIVES.get(kind),
        "noise": {"name": "gaussian", "sigma": changes.pop("trained_sigma", sigma)},
        "seed": changes.pop("trained_seed", seed),
        "epochs": {"smoothadv": 18, "smoothadv-long": 50}.get(kind, 12),
        **changes.pop("trained", {}),
    }
    about = {
        "command": ["noiseproof", "certify", str(path), "--every", "10"],
        "created": "2026-01-02T03:04:05+00:00",
        "device": "cpu",
        "processor": "Test Processor 9",
        "threads": 2,
        "training": {"settings": trained, "made": {"command": ["noiseproof", "train", "--seed", str(seed)]}},
    }
    if kind == "released":
        del about["training"]
    planned = {
        "data": {"name": "mnist", "split": "test", "digest": "d", "image_shape": [1, 28, 28]},
        "model": {"name": "net", "digest": RELEASED if kind == "released" else f"{kind}-{sigma}-{seed}"},
        "noise": {"name": "gaussian", "sigma": sigma},
        "num_classes": CLASSES,
        "samples": int(votes[0].sum()),
        "selection_samples": int(selection[0].sum()),
        "seed": 7,
        "start": 0,
        "stop": 10 * len(labels),
        "step": 10,
        "shard_size": 17,
    } | changes
    record = Record.create(path, RecordSettings(**planned), about)
    for shard in record.shards:
        rows = slice(17 * shard, 17 * (shard + 1))
        table = VoteTable(
            np.asarray(record.shard_indices(shard)),
            labels[rows],
            votes[rows],
            selection[rows],
            [b""] * len(labels[rows]),
        )
        record.write_shard(shard, table, {"seconds": 10.0 + shard, "device": "Test Processor 9"})
    return record


def low(count: int, n: int, alpha: float) -> float:
    return float(beta.ppf(alpha, count, n - count + 1)) if count else 0.0


def high(count: int, n: int, alpha: float) -> float:
    return float(beta.ppf(1 - alpha, count + 1, n - count)) if count < n else 1.0


def renyi_radius(p1: float, p2: float, sigma: float) -> float:
    p2 = min(p2, 1 - p1)
    if p1 <= p2:
        return 0.0

    def objective(a: float) -> float:
        def mean(p: float) -> float:
            return ((p1**p + p2**p) / 2) ** (1 / p)

        return math.log(1 - 2 * (p1 + p2) / 2 + 2 * mean(1 - a)) / a

    best = minimize_scalar(objective, bounds=(1.0 + 1e-6, 40.0), method="bounded", options={"xatol": 1e-10})
    return sigma * math.sqrt(-2.0 * float(best.fun))


def pixeldp_radius(p1: float, p2: float, sigma: float) -> float:
    p2 = min(p2, 1 - p1)
    if p1 <= p2:
        return 0.0
    largest = 0.0
    for e in np.linspace(1e-4, 1.0, 4001):
        delta = (p1 - math.exp(2 * e) * p2) / (1 + math.exp(e))
        if delta > 0:
            largest = max(largest, e / math.sqrt(2 * math.log(1.25 / delta)))
    return sigma * largest


def papers_radius(votes: Votes, sigma: float, radius: Callable[[float, float, float], float]) -> tuple[int, float]:
    n, (runner_up, winner) = int(votes.sum()), np.sort(votes)[-2:]
    level = 0.05 / (2 * len(votes))
    return int(votes.argmax()), radius(low(winner, n, level), high(runner_up, n, level), sigma)


def tight_radius(votes: Votes, selection: Votes, sigma: float, alpha: float = 0.001) -> tuple[int, float]:
    chosen = int(selection.argmax())
    p1 = low(int(votes[chosen]), int(votes.sum()), alpha)
    return chosen, sigma * float(norm.ppf(p1)) if p1 > 0.5 else 0.0


def certified(found: Sequence[tuple[int, float]], labels: Votes, radius: float) -> float:
    """Right and certified at a radius; at 0 an image that abstains (radius 0 exactly) does not count."""
    good = [
        predicted == label and length > 0 and length >= radius
        for (predicted, length), label in zip(found, labels, strict=True)
    ]
    return sum(good) / len(good)


def allowed(images: int, seeds: int) -> float:
    """The smallest count that no more failures exceed with probability .05 / seeds."""
    count = 0
    while binom.sf(count, images, 0.001) > 0.05 / seeds + 1e-15:
        count += 1
    return count / images


def expected(record: Record) -> dict[str, list[tuple[int, float]]]:
    table, sigma = record.read(), record.settings.noise["sigma"]
    assert table.selection_votes is not None
    return {
        "papers": [papers_radius(votes, sigma, renyi_radius) for votes in table.votes],
        "ours": [tight_radius(*pair, sigma) for pair in zip(table.votes, table.selection_votes, strict=True)],
        "pixeldp": [papers_radius(votes, sigma, pixeldp_radius) for votes in table.votes],
        "hundred": [papers_radius(votes, sigma, renyi_radius) for votes in table.selection_votes],
    }


def write_decided(
    run: Run, right: int, undecided: int, wrong: int, *, runner_up: bool = False, **changes: Any
) -> SequentialRecord:
    """Votes that stopped: unanimous for the true class, tossed, and unanimous for another."""
    own = run.record.settings
    asked = CertifyRadii([1.58], max_samples=5000, runner_up=runner_up)
    procedure = asked.spec() | changes.pop("procedure", {})
    count = right + undecided + wrong
    settings: dict[str, Any] = {
        "data": own.data,
        "model": own.model,
        "noise": own.noise,
        "num_classes": CLASSES,
        "procedure": procedure,
        "seed": 0,
        "start": 0,
        "stop": 10 * count,
        "step": 10,
        "shard_size": count,
        "engine": {},
    }
    path = run.record.path / ("radius-1.58-runner-up" if runner_up else "radius-1.58")
    record = SequentialRecord.create(
        path, SequentialSettings(**(settings | changes)), {"command": ["noiseproof", "certify"]}
    )
    votes = np.zeros((count, CLASSES), dtype=np.int64)
    many, tossed = (int(next_look(np.array([n]))[0]) if runner_up else n for n in (4000, 2000))
    votes[: right + undecided, 3] = many
    votes[right : right + undecided] = 0
    votes[right : right + undecided, 3:5] = tossed // 2, tossed - tossed // 2
    votes[right + undecided :, 4] = many
    table = VoteTable(np.arange(0, 10 * count, 10), np.full(count, 3), votes, None, [b""] * count)
    record.write_shard(0, table, {"seconds": 5.0})
    return record


def write_trades(records: Path, loss: str, wrong_from: Sequence[int]) -> AttackRecord:
    """An attack on the network of TRADES: of every len(wrong_from) images, i is wrong from size number wrong_from[i] on."""
    return write_attack(records, TRADES, loss, wrong_from)


def write_attack(
    records: Path, network: Network, loss: str, wrong_from: Sequence[int], digest: str = "t"
) -> AttackRecord:
    (found,) = (each for each in white_box(network, "l2") if getattr(each.attack, "loss", "") == loss)
    sizes = [0.0, *found.sizes]
    count, samples = found.images // found.every, found.samples if network.sigma else 1
    settings = AttackSettings(
        data={"name": network.data, "split": "test", "digest": "d", "image_shape": [1, 28, 28]},
        model={"name": network.model, "digest": digest},
        num_classes=CLASSES,
        attack=found.attack.spec(),
        noise={"name": "gaussian", "sigma": network.sigma} if network.sigma else None,
        norm="l2",
        sizes=sizes,
        samples=samples,
        alpha=0.001,
        seed=0,
        start=0,
        stop=found.every * count,
        step=found.every,
        shard_size=count,
        engine={} if network.attacked == "auto" else {"precision": network.attacked},
        gradients="fp32",
    )
    record = AttackRecord.create(records / found.folder, settings, {"command": ["noiseproof", "attack", loss]})
    votes = np.zeros((count, len(sizes), CLASSES), dtype=np.int64)
    for image, first in enumerate(list(wrong_from) * (count // len(wrong_from))):
        votes[image, :first, 0] = samples
        votes[image, first:, 1] = samples
    table = AttackTable(
        np.arange(0, found.every * count, found.every),
        np.zeros(count, dtype=np.int64),
        np.repeat(np.array([sizes]), count, 0),
        votes,
        np.zeros((count, len(sizes))),
        np.zeros((count, len(sizes), 1, 1, 1), dtype=np.float32),
    )
    record.write_shard(0, table, {"seconds": 2.5})
    return record


def released_radius(votes: Votes, passed: float, sigma: float) -> float:
    """The released code's formula at its hundred orders, one after the other."""
    found = sison_glaz(votes[None], alpha=passed)
    p1, p2 = float(found.p1_lower[0]), float(found.p2_upper[0])
    if p1 <= p2:
        return 0.0
    bounds = []
    for step in range(100):
        a = 1.01 + 0.01 * step
        mean = ((p1 ** (1 - a) + p2 ** (1 - a)) / 2) ** (1 / (1 - a))
        bounds.append(-math.log(1 - p1 - p2 + 2 * mean) / a)
    return sigma * math.sqrt(2 * max(bounds))


def bonferroni_tight(votes: Votes, sigma: float, alpha: float) -> tuple[int, float]:
    n, (runner_up, winner) = int(votes.sum()), np.sort(votes)[-2:]
    level = alpha / (2 * len(votes))
    p1 = low(int(winner), n, level)
    p2 = min(high(int(runner_up), n, level), 1 - p1)
    return int(votes.argmax()), sigma * float(norm.ppf(p1) - norm.ppf(p2)) / 2 if p1 > p2 else 0.0


def verified_result(**changes: Any) -> Verified:
    plain: dict[str, Any] = {
        "data": {"name": "mnist", "split": "test", "digest": "d"},
        "images": 200,
        "start": 0,
        "stop": 2000,
        "step": 10,
        "norm": "l2",
        "radius": 1.58,
        "clean_error": 0.115,
        "certified_error": 0.56,
        "stages": [{"name": "kw-mnist-small", "digest": "a", "answered": 200}],
        "about": {"command": ["noiseproof", "verify"], "seconds": 12.0, "created": "2026"},
    }
    return Verified(**(plain | changes))
