"""Runs under the exact sampler: it is recorded, continued, audited and judged again as it was begun."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from noiseproof.attacks import PGD
from noiseproof.data import ArrayDataset
from noiseproof.errors import InvalidInputError, RunError
from noiseproof.models import model_digest
from noiseproof.noises import Gaussian, Laplace, Noise
from noiseproof.perturbations.levels import off_levels
from noiseproof.runs import (
    AttackImages,
    Audit,
    CountVotes,
    Engine,
    Rejudge,
    Selection,
    SequentialVotes,
    Subject,
    execute,
)
from noiseproof.sampling import EXACT
from noiseproof.sequential import CertifyRadii

EXACTLY = Engine(sampler="exact")
EXACT_NAME = f"philox4x64-{EXACT}"
JOB = CountVotes(300, 30, 0, Selection(limit=12), 5)


class Bright(nn.Module):
    """Class 1 where the image is bright."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        ink = (images.flatten(1).mean(1) - 0.5) * 40
        return torch.stack([-ink, ink], 1)


def subject(levels: int = 255) -> Subject:
    drawn = np.random.default_rng(0).integers(0, levels + 1, (12, 1, 4, 4)).astype(np.float32) / levels
    images = (drawn * np.linspace(0.5, 1, 12)[:, None, None, None] * levels).round().astype(np.float32) / levels
    labels = (images.mean((1, 2, 3)) > 0.5).astype(np.int64)
    return Subject(
        Bright(),
        {"name": "bright", "digest": model_digest(Bright())},
        Gaussian(0.25),
        ArrayDataset("bright", "test", images, labels, 2),
    )


def test_a_record_goes_on_with_the_sampler_it_was_begun_with(tmp_path: Path) -> None:
    first, _ = execute(JOB, tmp_path, subject(), engine=EXACTLY, shards=[0])
    assert first.settings.engine["sampler"] == EXACT_NAME
    whole, _ = execute(JOB, tmp_path, subject())
    at_once, _ = execute(JOB, tmp_path / "at once", subject(), engine=EXACTLY)
    np.testing.assert_array_equal(whole.read().votes, at_once.read().votes)
    in_floats, _ = execute(JOB, tmp_path / "floats", subject())
    assert (in_floats.read().votes != whole.read().votes).any()
    with pytest.raises(RunError, match=f"philox4x64-box-muller-cpu; got engine sampler {EXACT_NAME}"):
        execute(JOB, tmp_path, subject(), engine=Engine(sampler="float"))


def test_audits_judge_8_bit_points(tmp_path: Path) -> None:
    certified, _ = execute(JOB, tmp_path / "votes", subject(), engine=EXACTLY)
    audit = Audit(certified, PGD(eot_samples=8, steps=10), samples=300, alpha=0.05)
    made, _ = execute(audit, tmp_path / "audit", subject())
    attack = AttackImages(PGD(eot_samples=8, steps=10), [0.2, 0.5], samples=300)
    attacked, _ = execute(attack, tmp_path / "attack", subject(), engine=EXACTLY)
    again, _ = execute(Rejudge(attacked, samples=400), tmp_path / "again", subject())
    for record in (made, attacked, again):
        assert record.settings.engine["sampler"] == EXACT_NAME
    for record in (made, attacked):
        points = np.concatenate([record.read_points(shard) for shard in record.shards])
        assert not off_levels(torch.as_tensor(points)).any()
        assert (points[:, -1] != points[:, 0]).any()
    assert audit.judge(made).passed


def test_images_of_other_levels_are_refused_before_votes_are_counted(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="multiples of 1/255"):
        execute(JOB, tmp_path, subject(levels=16), engine=EXACTLY)
    assert not list(tmp_path.iterdir()), "what is refused leaves no record behind"


class Unknown(Laplace):
    """A noise of one's own, without its distribution function."""

    cumulative = Noise.cumulative


def test_it_is_the_default_for_8_bit_images_on_a_cpu(tmp_path: Path) -> None:
    given, cpu = subject(), torch.device("cpu")
    levels = ArrayDataset(
        "bright", "test", (given.dataset.read(range(12)) * 255).round().astype(np.uint8), np.ones(12, int), 2
    )
    stored = replace(given, dataset=levels)
    assert (given.dataset.eight_bit, levels.eight_bit) == (False, True)
    sequential = SequentialVotes(CertifyRadii(0.1), selection=Selection(limit=3))
    for job in (replace(JOB, selection=Selection(limit=3)), sequential):
        assert job.sampler(stored, cpu) == "exact"
        assert job.sampler(given, cpu) == job.sampler(stored, torch.device("cuda")) == "float"
        assert job.sampler(replace(stored, noise=Unknown(0.2)), cpu) == "float"
        record, _ = execute(job, tmp_path / type(job).__name__, stored)
        assert record.settings.engine["sampler"] == EXACT_NAME
    in_floats, _ = execute(JOB, tmp_path / "floats", stored, engine=Engine(sampler="float"), shards=[0])
    whole, _ = execute(JOB, in_floats.path, stored)
    assert whole.settings.engine["sampler"] == "philox4x64-box-muller-cpu", "it goes on as it was begun"
    attack, _ = execute(AttackImages(PGD(eot_samples=2, steps=1), [0.2], samples=100), tmp_path / "attack", stored)
    assert attack.settings.engine["sampler"] == "philox4x64-box-muller-cpu"
