"""Precision, batch size and compilation: as requested, as recorded, or whatever is fastest on this machine."""

import importlib.util
import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from noiseproof.classifiers import (
    Precision,
    Throughput,
    accelerate,
    can_quantise,
    find_batch_size,
    measure_throughput,
    multiplies_bfloat16,
    quantise,
)
from noiseproof.classifiers.base import BaseClassifier
from noiseproof.classifiers.batching import default_batch_size
from noiseproof.classifiers.runners import Runner
from noiseproof.data import Dataset
from noiseproof.errors import InvalidInputError, require_count
from noiseproof.noises import Noise
from noiseproof.randomness import require_seed

__all__ = ["Autotuner", "Choice", "autotune", "has_compiler"]

_SHORT = 60.0
"""Seconds up to which a run is done in float32 as it is: measuring would take a good part of it."""

_LONG = 600.0
"""Seconds from which on compiling, 5 to 60 seconds, pays where it gains 5 to 10 %."""

_FASTER, _COMPILED_FASTER = 1.5, 1.05
"""16 bits must be this much faster than float32 to be chosen: below that the votes of float32 are worth the time, and
close calls would make two equal commands differ. Compiled code changes no more than rounding."""

_AGREEING = 0.99
"""Part of the noisy images that must keep their float32 label for 16 bits to be chosen."""

_NOISY_IMAGES = 1024


@dataclass(frozen=True)
class Choice:
    """The form in which a network runs.

    Attributes:
        classifier: the backend.
        batch_size: images per batch.
        measured: the measurements it rests on, float32 first; empty if none were made.
        split: the split of the measured images; "test", that of the images to be certified, where there is no other.
    """

    classifier: Runner
    batch_size: int
    measured: list[Throughput]
    split: str = "train"


class Autotuner:
    """Measures one network on noisy images whose votes are not counted.

    They are from the training split, or from the data set itself where it has none, and their noise is from another
    generator than that of the votes.

    Args:
        module: the network.
        dataset: what will be certified.
        noise: the noise to be added; None measures clean images.
        seed: of the noise drawn here.
        device: where the network runs.
        batch_size: images per batch; None takes the default, and on a GPU doubles it while float32 gets 5 % faster.
    """

    def __init__(
        self,
        module: nn.Module,
        dataset: Dataset,
        noise: Noise | None,
        *,
        seed: int,
        device: torch.device,
        batch_size: int | None = None,
    ) -> None:
        self.module = module.to(device)
        self.num_classes = dataset.num_classes
        self.device = device
        plain = self._checked(accelerate(module, device=device))
        require_seed(seed)
        if batch_size is not None:
            require_count("batch_size", batch_size, 1, "Leave it out to have it chosen.")
        self.batch_size = batch_size or default_batch_size(dataset.image_shape, device)
        if batch_size is None and device.type != "cpu":  # on CPUs the default lies on a plateau
            self.batch_size = find_batch_size(plain, dataset.image_shape, device, start=self.batch_size)
        try:
            source = dataset.other_split("train")
        except InvalidInputError:  # it has no training split
            source = dataset
        self.split = source.split
        rows = max(_NOISY_IMAGES // self.batch_size, 1) * self.batch_size
        spread = np.linspace(0, len(source) - 1, min(rows, len(source))).astype(np.int64)
        chosen = np.resize(spread, rows)
        images = torch.as_tensor(source.read(chosen.tolist()))
        added = 0.0 if noise is None else noise.sample(images, np.random.default_rng([seed, 0xCA11]))
        self.noisy = (images + added).to(device)
        self.labels = torch.as_tensor(source.labels[chosen])
        self.measured: list[Throughput] = []
        self._reference: Tensor | None = None
        self.measure("fp32", accelerate(module, device=device))

    def measure(self, name: str, runner: Runner) -> Throughput:
        """Measure one form of the network; the first is the reference for the agreement of later ones."""
        found, labels = measure_throughput(
            name, self._checked(runner), self.noisy, self.labels, self.batch_size, self._reference
        )
        self._reference = labels if self._reference is None else self._reference
        self.measured.append(found)
        return found

    def accelerated(self, precision: Precision, *, compiled: bool) -> tuple[Runner, Throughput]:
        """Make and measure a form of the network."""
        name = f"{precision.value}, compiled" if compiled and precision is not Precision.int8 else precision.value
        if precision is Precision.int8:
            runner: Runner = quantise(self.module, self.noisy, batch_size=self.batch_size)
        else:
            runner = accelerate(self.module, precision=precision, compiled=compiled, device=self.device)
        return runner, self.measure(name, runner)

    def everything(self) -> list[Throughput]:
        """Measure the network in every precision that this machine supports, compiled and not."""
        for precision in self._sixteen_bits:
            self.accelerated(precision, compiled=False)
        if has_compiler(self.device):
            for precision in (Precision.fp32, *self._sixteen_bits):
                self.accelerated(precision, compiled=True)
            if can_quantise(self.device):
                self.accelerated(Precision.int8, compiled=True)
        return self.measured

    def fastest(self, votes: int, *, compiled: bool | None) -> Choice:
        """Choose between float32 and 16 bits, and whether to compile if that is left open (None)."""
        best, precision = self.measured[0], Precision.fp32
        for candidate in self._sixteen_bits:
            _, found = self.accelerated(candidate, compiled=False)
            fast = found.images_per_second >= max(_FASTER * self.measured[0].images_per_second, best.images_per_second)
            if fast and found.agreement >= _AGREEING:
                best, precision = found, candidate
        if compiled is None and has_compiler(self.device) and votes / best.images_per_second > _LONG:
            runner, found = self.accelerated(precision, compiled=True)
            if found.images_per_second >= _COMPILED_FASTER * best.images_per_second:
                return Choice(runner, self.batch_size, self.measured, self.split)
        runner = accelerate(self.module, precision=precision, compiled=bool(compiled), device=self.device)
        return Choice(runner, self.batch_size, self.measured, self.split)

    @property
    def _sixteen_bits(self) -> list[Precision]:
        native = [Precision.bf16] if multiplies_bfloat16(self.device) else []
        return [*native, Precision.fp16] if self.device.type == "cuda" else native

    def _checked(self, runner: Runner) -> BaseClassifier:
        return BaseClassifier(runner, num_classes=self.num_classes)


def autotune(
    module: nn.Module,
    dataset: Dataset,
    noise: Noise | None,
    *,
    precision: str,
    compiled: bool | None,
    batch_size: int | None,
    recorded: Mapping[str, Any] | None,
    votes: int,
    seed: int,
    device: torch.device,
) -> Choice:
    """Return a network in the requested precision, in that of its record, or in the one that autotuning selects.

    A record that is continued keeps its precision under "auto", and its compilation under `compiled=None`. For a new
    record "auto" takes float32 if the run lasts up to a minute; otherwise it measures float32 and 16 bits, and takes
    16 bits if they are 1.5 times as fast and keep 99 % of noisy labels. It compiles if the run would still last over
    ten minutes, there is a compiler, and compiled code is at least 5 % faster. int8 is used only on request.

    Args:
        module: the network.
        dataset: what will be certified.
        noise: the noise to be added.
        precision: "auto" or one of `Precision`.
        compiled: whether to compile; None decides as above.
        batch_size: images per batch; None chooses one.
        recorded: the engine of the record to be continued, if there is one.
        votes: how many will be counted.
        seed: of the run.
        device: where the network runs.

    Raises:
        InvalidInputError: the precision is unknown or not supported by the device, or there is no compiler.
        MissingExtraError: int8 without the extra `int8`.
    """
    if (
        recorded is not None
        and recorded["precision"] in set(Precision)
        and precision in {"auto", recorded["precision"]}
    ):
        precision = recorded["precision"]
        compiled = recorded["compile"] if compiled is None else compiled
    if (compiled or precision == Precision.int8) and not has_compiler(device):
        raise InvalidInputError(
            "a compiler",
            required='installed for compiled= and precision="int8"',
            got="none",
            remedy="Install g++ or clang++ (on a GPU: Triton), or run without.",
        )
    size = batch_size or default_batch_size(dataset.image_shape, device)
    if precision == Precision.int8:
        tuner = Autotuner(module, dataset, noise, seed=seed, device=device, batch_size=size)
        runner, _ = tuner.accelerated(Precision.int8, compiled=True)
        return Choice(runner, size, tuner.measured, tuner.split)
    plain = accelerate(
        module, precision="fp32" if precision == "auto" else precision, compiled=bool(compiled), device=device
    )
    if precision != "auto":
        return Choice(plain, size, [])
    if votes / _rough_speed(BaseClassifier(plain, num_classes=dataset.num_classes), size, dataset, device) <= _SHORT:
        return Choice(plain, size, [])
    tuner = Autotuner(module, dataset, noise, seed=seed, device=device, batch_size=batch_size)
    return tuner.fastest(votes, compiled=compiled)


def has_compiler(device: torch.device) -> bool:
    """Whether `torch.compile` has what it needs: Triton for a GPU, a C++ compiler for a CPU."""
    if device.type == "cuda":
        return importlib.util.find_spec("triton") is not None
    return any(shutil.which(name) for name in (os.environ.get("CXX", "g++"), "g++", "clang++"))


def _rough_speed(classifier: BaseClassifier, size: int, dataset: Dataset, device: torch.device) -> float:
    """Images per second of one batch, after one to warm up."""
    batch = torch.rand((size, *dataset.image_shape), device=device)
    classifier(batch).sum().item()
    begun = time.perf_counter()
    classifier(batch).sum().item()
    return size / (time.perf_counter() - begun)
