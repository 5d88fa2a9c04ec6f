"""Verify a data set without noise, as reference [17] of the paper does: no votes, no failure probability."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from noiseproof.classifiers.runners import Runner, device_of
from noiseproof.data import Dataset
from noiseproof.errors import InvalidInputError
from noiseproof.models import build, load_checkpoint, model_digest, names
from noiseproof.models.checkpoint import load_state
from noiseproof.models.weights import read_weights
from noiseproof.perturbations.norms import NormLike
from noiseproof.runs.job import EVERY_IMAGE, Job, Selection
from noiseproof.runs.listener import Listener
from noiseproof.runs.running import Running
from noiseproof.runs.shards import Shard, ShardWriter
from noiseproof.runs.subject import Subject
from noiseproof.runs.tables import Table
from noiseproof.runs.verification_records import VerificationRecord, VerificationSettings, VerificationTable
from noiseproof.verification import Cascade

__all__ = ["Stages", "Verify", "load_stage"]

_PER_FILE = 64


class Stages(Runner):
    """Networks that verification takes, in order; as a classifier, the first of them.

    Args:
        networks: as for `verification.certified_robust`, all on one device.

    Raises:
        InvalidInputError: none.
    """

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        if not networks:
            raise InvalidInputError("stages", required="at least one network", got="none", remedy="One is no cascade.")
        self.networks, self.device = list(networks), device_of(networks[0])

    def __call__(self, batch: Float[Tensor, "batch *shape"]) -> Float[Tensor, "batch classes"]:
        """Return the scores of the first network."""
        scores: Float[Tensor, "batch classes"] = self.networks[0](batch)
        return scores


@dataclass(frozen=True)
class Verify(Job[VerificationRecord]):
    """Prove, for every image, that no perturbation within a radius changes the class of the stage that decides it.

    Of several stages the first that certifies an image decides it, the last one all that are left. What is proven is
    summed up by `VerificationRecord.result`.

    Attributes:
        radius: of the perturbation, pixels in [0, 1].
        norm: in which it is measured.
        selection: which images.
        shard_size: images per file.
    """

    radius: float
    norm: NormLike = "l2"
    selection: Selection = EVERY_IMAGE
    shard_size: int = _PER_FILE
    record = VerificationRecord

    def __post_init__(self) -> None:
        if not 0.0 <= self.radius < math.inf:
            raise InvalidInputError(
                "radius", required="finite and >= 0", got=self.radius, remedy="It is in units of a pixel in [0, 1]."
            )

    @staticmethod
    def subject(stages: Sequence[tuple[str, nn.Module]], dataset: Dataset) -> Subject:
        """Return what this job runs on.

        Args:
            stages: name and network of each.
            dataset: whose images.

        Raises:
            InvalidInputError: no stage.
        """
        networks = Stages([network for _, network in stages])
        names, digests = [name for name, _ in stages], [model_digest(network) for _, network in stages]
        return Subject(networks, {"name": ", ".join(names), "stages": names, "digests": digests}, None, dataset)

    @property
    def work(self) -> tuple[int, int]:
        """An image is verified once."""
        return 1, 1

    def plan(self, subject: Subject) -> VerificationSettings:
        """Return the settings of the record; a stage is identified by its digest, wherever its file lies."""
        common = self.common(subject) | {"model": {"digests": subject.model["digests"]}}
        return VerificationSettings(
            norm=str(self.norm), radius=float(self.radius), shard_size=self.shard_size, **common
        )

    def about(self, running: Running) -> dict[str, Any]:
        """Return what every record says, and the names of the stages."""
        return super().about(running) | {"stages": running.subject.model["stages"]}

    def try_out(self, running: Running, listener: Listener) -> None:  # noqa: ARG002 - there is nothing to tell
        """Verify one image, so that what cannot be verified leaves no record behind."""
        images = torch.as_tensor(running.subject.dataset.read(range(1)))
        self._cascade(running)(images.to(running.device))

    def require_unchanged(self, record: VerificationRecord, running: Running) -> None:
        """Compare no outputs: digests suffice for networks of known layers."""

    def run(self, running: Running, writer: ShardWriter) -> Iterator[tuple[Shard, Table]]:
        """Verify shard after shard."""
        cascade = self._cascade(running)
        for shard in writer.shards():
            for part in shard.parts():
                found = cascade(torch.as_tensor(shard.images[part]).to(running.device))
                columns = (each.cpu().numpy() for each in (found.labels, found.certified, found.stages))
                writer.progress(len(found.labels))
                yield shard, VerificationTable(np.asarray(shard.indices[part]), shard.labels[part], *columns)

    def _cascade(self, running: Running) -> Cascade:
        return Cascade(running.classifier.networks, self.norm, self.radius)


def load_stage(spec: str) -> nn.Module:
    """Build "NAME=WEIGHTS", or load a checkpoint, in evaluation mode.

    A stage is a network by name with a file of weights (a cascade of the authors' file, a stage each:
    `models.kw_networks`), or a checkpoint of `noiseproof train --objective convex-outer`.
    """
    name, given, weights = spec.partition("=")
    if not given:
        return load_checkpoint(Path(spec)).model
    if name not in names():
        raise InvalidInputError(
            spec,
            required=f"a checkpoint, or NAME=WEIGHTS with a NAME of {', '.join(names())}",
            got=f"no network {name!r}",
            remedy="Example: kw-mnist-small=stage.pth.",
        )
    network = build(name)
    load_state(network, read_weights(Path(weights)), what=weights, architecture=name)
    return network.eval()
