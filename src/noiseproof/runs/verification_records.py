"""Reference [17] for Table 1: networks, one or a cascade, verified on a data set, and the file that keeps the result.

    FOLDER/verified.json   data, images, norm, radius, errors, stages and how often each answered, about

    noiseproof verify runs/mnist/kw-single --data mnist --radius 1.58 --stage kw-mnist-small=stage.pth

A stage is a network by name with a file of weights (a cascade of the authors' file, a stage each: `models.kw_networks`),
or a checkpoint of `noiseproof train --objective convex-outer`. The first of several answers what it certifies.
"""

import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from noiseproof.data import Dataset
from noiseproof.errors import RunError, require_count
from noiseproof.models import build, load_checkpoint, model_digest
from noiseproof.models.checkpoint import load_state
from noiseproof.models.weights import read_weights
from noiseproof.perturbations.norms import NormLike
from noiseproof.storage.files import write_atomically
from noiseproof.storage.provenance import provenance
from noiseproof.verification import Cascade

__all__ = ["FILE", "Verified", "load_stage", "verify"]

FILE = "verified.json"
_FORMAT = 1
_BATCH = 64


@dataclass(frozen=True)
class Verified:
    """What a deterministic verifier proved of a data set.

    Attributes:
        data: name, split, digest.
        images: how many were verified.
        start: index of the first.
        stop: index after the last.
        step: every how many one was taken.
        norm: of the perturbation.
        radius: in that norm, pixels in [0, 1].
        clean_error: share of the images that are classified wrongly.
        certified_error: share of those that are classified wrongly or not certified.
        stages: name and digest of each network, and how many images it answered.
        about: what decides nothing: seconds, time, command, device, versions.
    """

    data: Mapping[str, Any]
    images: int
    start: int
    stop: int
    step: int
    norm: str
    radius: float
    clean_error: float
    certified_error: float
    stages: Sequence[Mapping[str, Any]]
    about: Mapping[str, Any]

    def write(self, folder: Path) -> Path:
        """Write the file and return its path.

        Raises:
            RunError: the folder cannot be written.
        """
        path = folder / FILE
        write_atomically(path, json.dumps({"format": _FORMAT} | asdict(self), indent=2).encode())
        return path

    @staticmethod
    def read(folder: Path) -> "Verified":
        """Read a file.

        Raises:
            RunError: there is none, it is damaged, of a newer version, or its figures contradict each other.
        """
        path = folder / FILE
        try:
            content = json.loads(path.read_bytes())
            if content.pop("format") > _FORMAT:
                raise ValueError("a newer noiseproof wrote it")  # noqa: TRY301 - one message for all
            found = Verified(**content)
            found._require_possible()
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise RunError(
                str(path),
                required="the result of a verification",
                got=f"{type(error).__name__}: {error}",
                remedy="Verify again: noiseproof verify --help",
            ) from error
        return found

    def _require_possible(self) -> None:
        """Raise ValueError for errors that no images have, or stages that did not answer all of them."""
        errors = (self.clean_error, self.certified_error)
        whole = all(math.isclose(error * self.images, round(error * self.images), abs_tol=1e-6) for error in errors)
        if not (whole and 0.0 <= self.clean_error <= self.certified_error <= 1.0):
            raise ValueError(f"errors {errors} of {self.images} images")
        if self.images != len(range(self.start, self.stop, self.step)) or self.images < 1:
            raise ValueError(f"{self.images} images from {self.start} to {self.stop}, every {self.step}")
        if sum(stage["answered"] for stage in self.stages) != self.images:
            raise ValueError("stages that did not answer every image once")


def verify(
    stages: Sequence[tuple[str, nn.Module]],
    dataset: Dataset,
    *,
    norm: NormLike,
    radius: float,
    every: int = 1,
    limit: int | None = None,
) -> Verified:
    """Verify a network, or a cascade, at every `every`-th image of a data set, the first `limit` of them.

    Args:
        stages: (name, network), as `verification.certified_robust` takes them, where they shall run.
        dataset: whose images.
        norm: of the perturbation.
        radius: in that norm, pixels in [0, 1].
        every: takes every n-th image.
        limit: at most so many.

    Raises:
        InvalidInputError: a network that cannot be verified, no stage, or an argument outside its domain.
    """
    require_count("every", every, 1, "1 takes all.")
    require_count("limit", 1 if limit is None else limit, 1, "Leave it out for all.")
    cascade, begun = Cascade([network for _, network in stages], norm, radius), time.perf_counter()
    indices = range(0, len(dataset), every)[:limit]
    device = next(stages[0][1].parameters()).device
    wrong = uncertified = 0
    answered = [0] * len(stages)
    for start in range(0, len(indices), _BATCH):
        part = indices[start : start + _BATCH]
        images = torch.as_tensor(dataset.read(part)).to(device)
        labels = torch.as_tensor(dataset.labels[list(part)]).to(device)
        answer = cascade(images)
        wrong += int((answer.labels != labels).sum())
        uncertified += int((~(answer.certified & (answer.labels == labels))).sum())
        for number in range(len(stages)):
            answered[number] += int((answer.stages == number).sum())
    return Verified(
        data=dataset.about(),
        images=len(indices),
        start=indices.start,
        stop=indices.stop,
        step=indices.step,
        norm=str(norm),
        radius=float(radius),
        clean_error=wrong / len(indices),
        certified_error=uncertified / len(indices),
        stages=[
            {"name": name, "digest": model_digest(network), "answered": count}
            for (name, network), count in zip(stages, answered, strict=True)
        ],
        about=provenance(device) | {"seconds": round(time.perf_counter() - begun, 3)},
    )


def load_stage(spec: str) -> nn.Module:
    """Build "NAME=WEIGHTS", or load a checkpoint, in evaluation mode."""
    name, given, weights = spec.partition("=")
    if not given:
        return load_checkpoint(Path(spec)).model
    network = build(name)
    load_state(network, read_weights(Path(weights)), what=weights, architecture=name)
    return network.eval()
