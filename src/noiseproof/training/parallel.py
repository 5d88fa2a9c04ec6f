"""Device, precision and data-parallel processes (Lightning Fabric), and the randomness of a step, which they share."""

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from noiseproof.errors import InvalidInputError
from noiseproof.randomness import RandomSource, as_source
from noiseproof.training.settings import Precision

if TYPE_CHECKING:
    from lightning_fabric import Fabric

__all__ = ["Share", "launch", "leave", "step_source"]

_PRECISIONS: dict[Precision, Any] = {"fp32": "32-true", "bf16": "bf16-mixed"}


def launch(device: torch.device | str, precision: Precision) -> "Fabric":
    """Start Fabric on a device, as the only process or as one of those that `torchrun` started.

    Raises:
        InvalidInputError: neither a CPU nor a CUDA device, or one of several processes on a numbered device.
    """
    from lightning_fabric import Fabric

    where = torch.device(device)
    if where.type not in {"cpu", "cuda"}:
        raise InvalidInputError("device", required="a CPU or CUDA device", got=str(where), remedy="Use cpu.")
    started = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    numbered = where.type == "cuda" and str(where) != "cuda"
    if started > 1 and numbered:
        raise InvalidInputError(
            "device",
            required="cpu or cuda where torchrun started several processes",
            got=str(where),
            remedy="Each process selects a device of its own.",
        )
    devices: Any = [where.index] if numbered else started
    nodes = int(os.environ.get("WORLD_SIZE", "1")) // started
    with _quiet("lightning_fabric.utilities.rank_zero"):
        fabric = Fabric(
            accelerator=where.type,
            devices=devices,
            num_nodes=nodes,
            strategy="ddp" if started * nodes > 1 else "auto",
            precision=_PRECISIONS[precision],
        )
        fabric.launch()
    return fabric


def leave() -> None:
    """Leave the process group that `launch` joined, if any. A process that exits without this could make another abort."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()


@contextmanager
def _quiet(name: str) -> Iterator[None]:
    """Silence a logger that would announce the requested settings."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)


@dataclass(frozen=True)
class Share:
    """The rows of a batch that one of several processes trains on.

    Attributes:
        chosen: indices of the whole batch in the data set.
        rank: of this process.
        processes: their number.
    """

    chosen: np.ndarray
    rank: int = 0
    processes: int = 1

    @property
    def rows(self) -> range:
        """Every n-th row of the batch. A process that would have none gets the first row, with weight 0."""
        own = range(self.rank, len(self.chosen), self.processes)
        return own if len(own) else range(1)

    @property
    def indices(self) -> list[int]:
        """The rows' indices in the data set."""
        return [int(self.chosen[row]) for row in self.rows]

    @property
    def fraction(self) -> float:
        """The share of the batch that belongs to this process."""
        return len(range(self.rank, len(self.chosen), self.processes)) / len(self.chosen)


@dataclass(frozen=True)
class _RowsOf(RandomSource):
    """Some rows of the draws for a whole batch."""

    source: RandomSource
    rows: range
    total: int

    def normal(self, like: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        return self._own(self.source.normal, like)

    def exponential(self, like: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        return self._own(self.source.exponential, like)

    def uniform(self, like: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        return self._own(self.source.uniform, like)

    def _own(self, draw: Callable[[Tensor], Tensor], like: Tensor) -> Tensor:
        if len(like) != len(self.rows):
            raise ValueError(f"draws are made a row an image: {len(self.rows)} rows, not {len(like)}")
        return draw(like.new_empty((self.total, *like.shape[1:])))[list(self.rows)]


def step_source(seed: int, epoch: int, batch: int, share: Share, device: torch.device) -> RandomSource:
    """Return the randomness of one step, a function of (seed, epoch, batch), and seed dropout with them and the rank.

    Processes draw for the whole batch and keep their rows, so the noise of an image does not depend on their number;
    dropout does.
    """
    noise, dropout = np.random.SeedSequence([seed, epoch, batch]).generate_state(2, np.uint64)
    torch.manual_seed((int(dropout) + share.rank) % 2**64)
    source = as_source(torch.Generator(device).manual_seed(int(noise)))
    return source if share.processes == 1 else _RowsOf(source, share.rows, len(share.chosen))
