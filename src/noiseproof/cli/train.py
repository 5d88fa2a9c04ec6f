"""`noiseproof train`."""

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Group, Parameter
from rich.markup import escape

from noiseproof.cli import names
from noiseproof.cli.console import messages, print_json, progress_bar, resumable, say
from noiseproof.cli.engine import say_if_emulated
from noiseproof.cli.options import DATA, Changes, Device, Json, NamedDataOptions, NoiseName, Seed
from noiseproof.models.registry import MODELS
from noiseproof.noises.registry import NOISES
from noiseproof.objectives.registry import OBJECTIVES
from noiseproof.plugins import changed

if TYPE_CHECKING:
    from torch import nn

    from noiseproof.data import Dataset
    from noiseproof.objectives import Objective
    from noiseproof.training import BatchReport, EpochReport, TrainingSettings

__all__ = ["OptimiserOptions", "TrainingDataOptions", "TrainingOptions", "run_training", "train"]

_DEAD = 0.7
"""Share of dead channels in a layer from which a warning is printed: healthy networks have had up to a half."""


@Parameter(name="*", group=DATA)
@dataclass(frozen=True, kw_only=True)
class TrainingDataOptions(NamedDataOptions):
    """Which data to train on.

    Attributes:
        data: digits, mnist, cifar10, your own file.npz, or a folder with a folder of images per class.
        augment: flip-crop flips and shifts, as usual for CIFAR-10; deform rotates and distorts, for handwriting.
    """

    data: str = "digits"
    augment: Literal["none", "flip-crop", "deform"] = "none"


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class TrainingOptions:
    """What is trained, and how long.

    Attributes:
        model: The network.
        objective: The training loss; stability is the paper's STN, gaussian trains on noisy copies only.
        changes: A setting of the objective, such as weight=2 or epsilon=0.3; may be repeated. A wrong name lists all.
        noise: gaussian certifies in l2; laplace and uniform certify in l1.
        sigma: Size of the noise, for pixels in [0, 1]: standard deviation of gaussian, lambda of the others.
        epochs: Passes over the training images.
        batch_size: Images per step; 64 is the paper's.
        precision: auto uses bf16 where the processor has it, unless the network is small; a training keeps its own.
    """

    model: Annotated[
        str | None,
        Parameter(choices=tuple(MODELS), show_default="digits-cnn, paper-mnist or paper-cifar, depending on the data"),
    ] = None
    objective: Annotated[str, Parameter(choices=tuple(OBJECTIVES))] = "stability"
    changes: Changes = ()
    noise: NoiseName = "gaussian"
    sigma: Annotated[float, Parameter(name=("--sigma", "--scale"))] = 0.25
    epochs: Annotated[int | None, Parameter(show_default="10 for mnist, 60 for other data")] = None
    batch_size: int = 64
    precision: Literal["auto", "fp32", "bf16"] = "auto"


@Parameter(name="*", group=Group("Optimiser", sort_key=8))
@dataclass(frozen=True, kw_only=True)
class OptimiserOptions:
    """How the loss is minimised.

    Attributes:
        optimiser: Adam is the paper's.
        learning_rate: Largest learning rate of the schedule; 0.001 is the paper's.
        schedule: constant is the paper's; cosine falls to 0; step falls to a tenth at 1/2 and to a hundredth at 3/4.
        warmup_epochs: Epochs in which the learning rate rises from 0.
        ramp_epochs: Epochs in which the objective's regularisation (weight or epsilon) rises from 0.
        average: Keep a moving average of the weights with this decay per step, such as 0.999.
        clip: Largest l2 norm of a step's gradient.
        momentum: Momentum of SGD.
        weight_decay: Coefficient of the l2 penalty on the weights.
    """

    optimiser: Literal["Adam", "SGD"] = "Adam"
    learning_rate: float = 1e-3
    schedule: Literal["constant", "cosine", "step"] = "constant"
    warmup_epochs: float = 0.0
    ramp_epochs: float = 0.0
    average: Annotated[float | None, Parameter(show_default="none")] = None
    clip: Annotated[float | None, Parameter(show_default="no limit")] = None
    momentum: float = 0.9
    weight_decay: float = 0.0


def train(
    *,
    out: Annotated[Path, Parameter(help="The run folder to write.")],
    training: TrainingOptions = TrainingOptions(),
    data: TrainingDataOptions = TrainingDataOptions(),
    optimiser: OptimiserOptions = OptimiserOptions(),
    start_from: Annotated[
        str | None,
        Parameter(
            metavar="RUN",
            help="Begin with the weights of this network: a run folder, a checkpoint or zoo:NAME.",
            show_default="drawn by the seed",
        ),
    ] = None,
    after: Annotated[
        tuple[Path, ...],
        Parameter(
            metavar="RUN",
            help="Train the next stage of a cascade, for convex-outer: on the images that this run (a folder, or a "
            "checkpoint) does not certify. Repeat for each earlier stage, in order.",
            show_default="none",
        ),
    ] = (),
    seed: Seed = 0,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Train a classifier that is accurate under noise, and write it to a run folder.

    After Ctrl-C or a crash the same command resumes from the last saved state, at most a minute earlier. Under torchrun
    (torchrun --nproc-per-node 2 -m noiseproof train ...) several processes share every batch.
    """
    from noiseproof.training import CHECKPOINT, require_fit_by_name

    loss = changed(OBJECTIVES.make(training.objective), training.changes)
    settings = _settings(training, optimiser, data, loss, seed)
    require_fit_by_name(settings.model, data.data)
    dataset = data.load("train")
    if after:
        dataset = _left_by(after, loss, dataset, out, device)
    run_training(
        settings, dataset, out, device, start=None if start_from is None else names.checkpoint(start_from).model
    )
    if not _first_process():
        return
    picture = _draw(out)
    if json:
        print_json(
            {
                "run": str(out),
                "checkpoint": str(out / CHECKPOINT),
                "picture": str(picture),
                "settings": names.checkpoint(str(out)).record["settings"],
            }
            | ({} if dataset.part is None else {"part": dict(dataset.part)})
        )
    else:
        say(
            f"Trained: {escape(str(out / CHECKPOINT))}, picture: {escape(str(picture))}\n"
            f"Next: [bold]noiseproof certify {escape(quote(str(out)))}[/]"
        )


def _settings(
    training: TrainingOptions,
    optimiser: OptimiserOptions,
    data: TrainingDataOptions,
    loss: "Objective",
    seed: int,
) -> "TrainingSettings":
    """Return what is recorded with the network."""
    from noiseproof.training import TrainingSettings, usual_epochs, usual_model

    return TrainingSettings(
        model=training.model or usual_model(data.data),
        objective=loss,
        noise=NOISES[training.noise](training.sigma),
        epochs=usual_epochs(data.data) if training.epochs is None else training.epochs,
        batch_size=training.batch_size,
        precision=training.precision,
        augment=data.augment,
        seed=seed,
        **asdict(optimiser),
    )


def _left_by(after: Sequence[Path], loss: "Objective", dataset: "Dataset", out: Path, device: str) -> "Dataset":
    """Leave out the images that earlier stages certify, with a progress bar, and print how many are left."""
    from noiseproof.runs.running import device_named
    from noiseproof.training import left_by

    stages = [(str(path), names.checkpoint(str(path)).model) for path in after]
    with (
        resumable("What was judged last is kept."),
        progress_bar("judge", len(dataset), visible=_first_process()) as (bar, task),
    ):

        def on_images(judged: int, left: int) -> None:
            bar.update(task, completed=judged, note=f"{left} left")

        part = left_by(stages, loss, dataset, out, device=device_named(device), on_images=on_images)
    if _first_process():
        say(f"{len(part)} of {len(dataset)} training images are left: earlier stages certify the others.")
    return part


def run_training(
    settings: "TrainingSettings", dataset: "Dataset", out: Path, device: str, *, start: "nn.Module | None" = None
) -> "nn.Module":
    """Train with a progress bar that shows loss and accuracy."""
    from noiseproof.classifiers import keep_large_blocks
    from noiseproof.runs.running import device_named
    from noiseproof.training import leave
    from noiseproof.training import train as train_into

    keep_large_blocks()
    where = device_named(device)
    if _first_process():
        say_if_emulated(settings.precision, where)
    title = f"train {settings.objective.spec()['name']}"
    with (
        resumable("What was saved last is kept."),
        progress_bar(title, settings.epochs, visible=_first_process()) as (bar, task),
    ):

        def on_batch(report: "BatchReport") -> None:
            done = report.epoch - 1 + report.batch / report.batches
            note = f"loss {report.loss:.3f}, accuracy {100 * report.accuracy:.1f} %"
            bar.update(task, completed=round(done, 2), note=note)

        def on_epoch(report: "EpochReport") -> None:
            bar.update(task, completed=report.epoch)
            if _first_process() and not messages.is_terminal:  # a log has no bar that moves
                say(
                    f"epoch {report.epoch}/{settings.epochs}: loss {report.loss:.3f}, "
                    f"accuracy {100 * report.accuracy:.1f} %, {report.seconds:.0f} s"
                )
            if _first_process() and report.dead >= _DEAD:
                say(
                    f"[yellow]Dead channels:[/] {report.dead:.0%} of a layer's channels are 0 on every image after epoch "
                    f"{report.epoch}, and will not recover. Try a third of the learning rate, {settings.learning_rate / 3:.1g}."
                )

        model = train_into(settings, dataset, out, start=start, device=where, on_batch=on_batch, on_epoch=on_epoch)
        bar.update(task, completed=settings.epochs)
        leave()
        return model


def _first_process() -> bool:
    """Whether this process prints: of those that torchrun starts, the first does."""
    return os.environ.get("RANK", "0") == "0"


def _draw(out: Path) -> Path:
    from noiseproof.reports import write_training_curve
    from noiseproof.training import LOG

    return write_training_curve(out / LOG, out / "training.svg")
