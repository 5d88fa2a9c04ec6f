"""The training set of a later stage of a cascade (section 3.3 of [17]): images that no earlier stage certifies.

FOLDER/cascade.json   data, stages, norm, epsilon, how many images have been verified, indices of those that are left
"""

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
from torch import nn

from noiseproof.data import Dataset, Subset
from noiseproof.errors import InvalidInputError, RunError
from noiseproof.models import model_digest
from noiseproof.numerics.decimals import round_down
from noiseproof.objectives import ConvexOuter, Objective
from noiseproof.storage.files import remove_leftovers, require_writable, write_atomically
from noiseproof.training.state import require_free
from noiseproof.verification import Cascade
from noiseproof.verification.layers import read_network

__all__ = ["CASCADE", "left_by"]

CASCADE = "cascade.json"
"""Which training images the stages before leave."""

_LOCK = ".cascade.lock"
_FORMAT = 1
_BATCH = 64

_SAVE_EVERY = 60.0
"""Seconds between two writings of the file: a kill loses a minute."""


def left_by(
    stages: Sequence[tuple[str, nn.Module]],
    objective: Objective,
    dataset: Dataset,
    out: Path,
    *,
    device: torch.device | str = "cpu",
    on_images: Callable[[int, int], None] = lambda _judged, _left: None,
) -> Subset:
    """Return the images that a cascade leaves to the stage that will be trained into `out`.

    An image is decided by a stage that certifies its own prediction in the norm and at the epsilon of the objective, at
    their full strength (`verification.Cascade`); labels are not used. Every image is verified once: the indices that
    are left are kept in `out`, and the same call continues with them. If several processes run, one of them verifies.

    The subset's `part`, and the checkpoint, record its origin: digests of the whole data and of each stage's weights,
    norm, epsilon, the number of images, and how many are left.

    Args:
        stages: (name for messages, network in evaluation mode), in the order in which they decide.
        objective: of the training.
        dataset: the whole training split.
        out: the run folder of the training.
        device: where to verify.
        on_images: called with how many images have been verified, and how many of them are left.

    Raises:
        InvalidInputError: no stage, an objective other than `ConvexOuter`, a stage that does not fit the data or cannot
            be verified, or no image is left.
        RunError: `out` holds a training of something else, its file is damaged, or it cannot be written.
    """
    if not isinstance(objective, ConvexOuter):
        raise InvalidInputError(
            "objective",
            required="ConvexOuter (convex-outer) for a stage after others",
            got=type(objective).__name__,
            remedy="Use that objective, or train without earlier stages (stages=).",
        )
    for name, stage in stages:
        _require_stage(name, stage, dataset)
    cascade = Cascade([stage.to(device) for _, stage in stages], objective.norm, objective.epsilon)
    requested: dict[str, Any] = {
        "data": dataset.digest(),
        "stages": [model_digest(stage) for _, stage in stages],
        "norm": objective.norm,
        "epsilon": objective.epsilon,
        "images": len(dataset),
    }
    path = out / CASCADE
    if not path.exists():
        require_free(out)
    require_writable(out)
    with FileLock(out / _LOCK):
        left = _judge(path, requested, cascade, dataset, torch.device(device), on_images)
        (out / _LOCK).unlink(missing_ok=True)
    if not left:
        raise InvalidInputError(
            "stages",
            required="stages that leave images to train on",
            got=f"all {len(dataset)} images certified in {objective.norm} at {round_down(objective.epsilon, None)}",
            remedy="The cascade is complete without another stage.",
        )
    return Subset(dataset, left, requested | {"left": len(left)})


def _require_stage(name: str, stage: nn.Module, dataset: Dataset) -> None:
    """Raise InvalidInputError unless the stage accepts the images, has their classes, and can be verified."""
    try:
        read = read_network(stage, torch.Size(dataset.image_shape), torch.float32, torch.device("cpu"))
    except InvalidInputError as error:
        raise InvalidInputError(
            f"stage {name}",
            required=f"{error.required}, for images {tuple(dataset.image_shape)} ({dataset.name})",
            got=error.got,
            remedy=error.remedy,
        ) from error
    if read.classes != dataset.num_classes:
        raise InvalidInputError(
            f"stage {name}",
            required=f"a network of {dataset.num_classes} classes ({dataset.name})",
            got=f"one of {read.classes}",
            remedy="All stages have the same classes.",
        )


def _judge(
    path: Path,
    requested: dict[str, Any],
    cascade: Cascade,
    dataset: Dataset,
    device: torch.device,
    on_images: Callable[[int, int], None],
) -> list[int]:
    """Return the indices that are left, those of the file first; the caller holds the lock."""
    remove_leftovers(path)
    judged, left = _read(path, requested)
    on_images(judged, len(left))
    saved = time.perf_counter()
    while judged < len(dataset):
        part = range(judged, min(judged + _BATCH, len(dataset)))
        answered = cascade(torch.from_numpy(dataset.read(part)).to(device)).certified
        left += [index for index, certified in zip(part, answered.tolist(), strict=True) if not certified]
        judged = part.stop
        if judged == len(dataset) or time.perf_counter() - saved >= _SAVE_EVERY:
            content = {"format": _FORMAT} | requested | {"judged": judged, "left": left}
            write_atomically(path, json.dumps(content).encode())
            saved = time.perf_counter()
        on_images(judged, len(left))
    return left


def _read(path: Path, requested: dict[str, Any]) -> tuple[int, list[int]]:
    """Return how many images are verified according to the file, and which of them are left."""
    if not path.exists():
        return 0, []
    required, remedy = (
        "the images that a cascade leaves",
        "It is damaged or foreign; remove it to verify the images again.",
    )
    damage = (OSError, ValueError, KeyError, TypeError, AttributeError)
    with RunError.instead_of(damage, str(path), required=required, remedy=remedy):
        found = json.loads(path.read_bytes())
        if found.pop("format") != _FORMAT:
            raise ValueError("another version of noiseproof wrote it")
        judged, left = found.pop("judged"), found.pop("left")
        ascending = all(type(index) is int for index in left) and left == sorted(set(left))
        if not (ascending and 0 <= judged <= found["images"] and all(0 <= index < judged for index in left)):
            raise ValueError(f"{len(left)} images left of {judged} judged of {found['images']}")
    if found != requested:
        changed = [key for key in requested if found.get(key) != requested[key]]
        raise RunError(
            str(path),
            required=f"of a training with {', '.join(f'{key} {requested[key]!r}' for key in changed)}",
            got=", ".join(f"{key} {found.get(key)!r}" for key in changed),
            remedy="Choose another folder for the new training, or remove this one.",
        )
    return judged, left
