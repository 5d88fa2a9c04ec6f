"""No vote changes unnoticed: digests of votes and outcomes of every path, on the digits, with fixed seeds.

`votes_unchanged.json` was recorded before the second plan of the house was begun. Votes of an exact classifier are the
same on every machine. Those of networks, and points of attacks, depend on how a processor rounds: they are recorded for a
kind of arithmetic, which `arithmetic()` tells, and compared where it is the same. `python tests/test_votes_unchanged.py`
adds what is not recorded for this machine yet, and never replaces a digest.
"""

import hashlib
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import noiseproof as npf
from noiseproof.attacks import PGD, Batch, Defence
from noiseproof.classifiers import accelerate, quantise
from noiseproof.models import DigitsCNN, Ensemble
from noiseproof.sequential import SharedBudget, fit_prior

HERE = Path(__file__).parent
RECORDED = HERE / "votes_unchanged.json"
SIGMA = 0.25


@cache
def digits() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ten test images, their labels, and a linear classifier fitted to the training images, in multiples of 1/256."""
    train, test = npf.data.load("digits", "train"), npf.data.load("digits", "test")
    rows = range(0, len(test), len(test) // 10)[:10]
    x = train.read(range(len(train))).reshape(len(train), -1).astype(np.float64)
    x = np.concatenate([x, np.ones((len(x), 1))], axis=1)
    target = np.eye(10)[train.labels]
    weights = np.rint(256.0 * np.linalg.solve(x.T @ x + 10.0 * np.eye(x.shape[1]), x.T @ target)) / 256.0
    return test.read(rows), test.labels[np.asarray(rows)], weights


def linear(batch: Any) -> Any:
    """The linear classifier, in float64: no sum depends on the order of its terms beyond 1e-16."""
    weights = digits()[2]
    return (np.asarray(batch).reshape(len(batch), -1).astype(np.float64) @ weights[:-1] + weights[-1]).argmax(1)


def smoothed(noise: npf.noises.Noise | None = None, **options: Any) -> npf.SmoothedClassifier:
    return npf.SmoothedClassifier(linear, npf.Gaussian(SIGMA) if noise is None else noise, 10, **options)


def certified(**options: Any) -> list[np.ndarray]:
    """What `certify` returns with these options: votes, selection votes, predictions, and radii to 12 digits."""
    noise, batch_size = options.pop("noise", None), options.pop("batch_size", None)
    found = smoothed(noise, batch_size=batch_size).certify(digits()[0], seed=5, indices=range(0, 100, 10), **options)
    more = [part for part in (found.selection_votes, found.outcome) if part is not None]
    return [found.votes, found.prediction, np.round(found.radius, 12), *more]


def learned() -> Any:
    """A prior fitted to votes on other noise."""
    votes = smoothed().count(digits()[0], samples=500, seed=6)
    return fit_prior(votes.max(1), votes.sum(1))


EXACT: dict[str, Callable[[], list[np.ndarray]]] = {
    "count": lambda: [smoothed().count(digits()[0], samples=777, seed=1)],
    "two-phase": lambda: certified(samples=1000),
    "two-phase, batches of 7": lambda: certified(samples=1000, batch_size=7),
    "single-phase, renyi": lambda: certified(
        stop=npf.FixedSamples(1000, bound=npf.bounds.SinglePhase(), certificate=npf.certificates.Renyi())
    ),
    "laplace": lambda: certified(noise=npf.Laplace(0.15), samples=1000),
    "uniform": lambda: certified(noise=npf.Uniform(0.5), samples=1000),
    "predict": lambda: [smoothed().predict(digits()[0], seed=2)],
    "radius": lambda: certified(stop=npf.CertifyRadii(0.2, max_samples=20_000)),
    "radii": lambda: certified(stop=npf.CertifyRadii([0.05, 0.2, 0.4], max_samples=20_000)),
    "radii, budget": lambda: certified(stop=SharedBudget(npf.CertifyRadii([0.05, 0.2], max_samples=20_000), 9_000)),
    "radius, prior": lambda: certified(stop=npf.CertifyRadii(0.1, max_samples=20_000, prior=learned())),
    "radii, runner-up": lambda: certified(stop=npf.CertifyRadii([0.1, 0.3], runner_up=True, max_samples=20_000)),
    "relative error": lambda: certified(stop=npf.EstimateRadius(0.2, max_samples=20_000)),
}


def network(member: int = 0) -> nn.Module:
    """A trained network for the digits, and a second one beside it."""
    found = DigitsCNN().eval()
    generator = np.random.default_rng(member)
    state = {name: value.float() for name, value in load_file(HERE / "digits_cnn.safetensors").items()}
    if member:
        state = {
            name: value + torch.as_tensor(0.03 * generator.standard_normal(value.shape), dtype=torch.float32)
            for name, value in state.items()
        }
    found.load_state_dict(state)
    return found


def voted(classifier: Any) -> list[np.ndarray]:
    by = npf.SmoothedClassifier(classifier, npf.Gaussian(SIGMA), 10, batch_size=256)
    return [by.count(digits()[0], samples=1000, seed=8)]


def attacked(**options: Any) -> list[np.ndarray]:
    """Points that PGD finds against the noisy network."""
    images, labels, _ = digits()
    batch = Batch(torch.as_tensor(images), torch.as_tensor(labels), list(range(len(images))), 4)
    find = PGD(eot_samples=4, steps=5, **options).begin(Defence(network(), npf.Gaussian(SIGMA), 10), batch, "l2")
    return [find(torch.full((len(images),), 0.4), list(range(len(images)))).numpy()]


NETWORKS: dict[str, Callable[[], list[np.ndarray]]] = {
    "network, float32": lambda: voted(network()),
    "network, bfloat16": lambda: voted(accelerate(network(), precision="bf16")),
    "ensemble, early exit": lambda: voted(Ensemble([network(0), network(1)], early_exit=1.5).eval()),
    "PGD": attacked,
    "PGD, mean, restarts": lambda: attacked(loss="mean", restarts=2),
}


def int8() -> list[np.ndarray]:
    """Votes of the network in int8, quantised by noisy images."""
    images = torch.as_tensor(digits()[0])
    noisy = images.repeat(26, 1, 1, 1)[:256]
    noisy = noisy + SIGMA * torch.as_tensor(np.random.default_rng(3).standard_normal(noisy.shape), dtype=torch.float32)
    return voted(quantise(network(), noisy, batch_size=256))


def digest(arrays: list[np.ndarray]) -> str:
    found = hashlib.sha256()
    for array in arrays:
        found.update(repr((array.shape, array.dtype.str)).encode() + np.ascontiguousarray(array).tobytes())
    return found.hexdigest()[:32]


@cache
def arithmetic() -> str:
    """How this machine rounds: a digest of a convolution's results and gradients in float32 and bfloat16."""
    generator = np.random.default_rng(7)
    pixels = torch.as_tensor(generator.standard_normal((64, 1, 8, 8)), dtype=torch.float32).requires_grad_()
    found = []
    for kind in (torch.float32, torch.bfloat16):
        module = network().to(kind)
        logits = module(pixels.to(kind))
        (gradient,) = torch.autograd.grad(logits.float().logsumexp(1).sum(), pixels)
        found += [logits.detach().float().numpy(), gradient.numpy()]
    return digest(found)[:12]


@pytest.mark.parametrize("name", EXACT)
def test_votes_of_an_exact_classifier(name: str) -> None:
    assert digest(EXACT[name]()) == json.loads(RECORDED.read_text())["exact"][name]


@pytest.mark.parametrize("name", [*NETWORKS, "network, int8"])
def test_votes_of_networks(name: str) -> None:
    recorded = json.loads(RECORDED.read_text())["networks"].get(arithmetic(), {})
    if name not in recorded:
        pytest.skip("no digests are recorded for a processor that rounds like this one")
    assert digest(int8() if name == "network, int8" else NETWORKS[name]()) == recorded[name]


def test_a_changed_vote_changes_the_digest() -> None:
    votes = np.arange(10).reshape(1, 10)
    assert digest([votes]) != digest([votes + np.eye(1, 10, dtype=np.int64)])


if __name__ == "__main__":
    torch.set_num_threads(1)
    known = json.loads(RECORDED.read_text()) if RECORDED.exists() else {"exact": {}, "networks": {}}
    known["exact"] = {name: digest(path()) for name, path in EXACT.items()} | known["exact"]
    here = known["networks"].setdefault(arithmetic(), {})
    for key, path in (NETWORKS | {"network, int8": int8}).items():
        here.setdefault(key, digest(path()))
    RECORDED.write_text(json.dumps(known, indent=1) + "\n")
