"""`noiseproof train`."""

import os
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.markup import escape

from noiseproof.cli import names
from noiseproof.cli.console import (
    ClassesOption,
    DataDirOption,
    DeviceOption,
    ImageSizeOption,
    JsonOption,
    SeedOption,
    UnverifiedOption,
    messages,
    print_json,
    progress_bar,
    resumable,
    say,
)
from noiseproof.cli.engine import say_if_emulated

if TYPE_CHECKING:
    from torch import nn

    from noiseproof.data import Dataset
    from noiseproof.objectives import Objective
    from noiseproof.training import BatchReport, EpochReport, TrainingSettings

__all__ = ["run_training", "train"]

_USUAL_MODELS = {
    "digits": names.ModelName.digits_cnn,
    "mnist": names.ModelName.paper_mnist,
    "cifar10": names.ModelName.paper_cifar,
}
_DEAD = 0.7
"""From this part of a layer's channels on the network is told to be dying: healthy ones have had up to a half."""

_USUAL_EPOCHS = {"mnist": 10}

_OPTIMISER, _DATA = "Optimiser", "Data"


def train(
    out: Annotated[Path, typer.Option("--out", help="The run folder to write.", show_default=False)],
    data: Annotated[
        str,
        typer.Option(help="digits, mnist, cifar10, your own file.npz, or a folder with a folder of images per class."),
    ] = "digits",
    model: Annotated[
        names.ModelName | None,
        typer.Option(help="The network.", show_default="digits-cnn, paper-mnist or paper-cifar, as the data are"),
    ] = None,
    objective: Annotated[
        names.ObjectiveName,
        typer.Option(help="What is minimised; stability is the paper's STN, gaussian trains on noisy copies only."),
    ] = names.ObjectiveName.stability,
    change: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="A setting of the objective, such as weight=2 or epsilon=0.3; a wrong one lists those it has.",
            show_default="as published",
        ),
    ] = None,
    noise: Annotated[
        names.NoiseName, typer.Option(help="gaussian certifies in l2; laplace and uniform certify in l1.")
    ] = names.NoiseName.gaussian,
    sigma: Annotated[
        float,
        typer.Option(
            "--sigma",
            "--scale",
            help="Size of the noise, for pixels in [0, 1]: standard deviation of gaussian, lambda of the others.",
        ),
    ] = 0.25,
    epochs: Annotated[
        int | None,
        typer.Option(help="Passes over the training images.", show_default="10 for mnist, 60 for other data"),
    ] = None,
    batch_size: Annotated[int, typer.Option(help="Images per step; 64 is the paper's.")] = 64,
    precision: Annotated[
        Literal["fp32", "bf16"], typer.Option(help="bf16 is up to twice as fast where the processor has it.")
    ] = "fp32",
    seed: SeedOption = 0,
    optimiser: Annotated[
        Literal["Adam", "SGD"], typer.Option(help="Adam is the paper's.", rich_help_panel=_OPTIMISER)
    ] = "Adam",
    learning_rate: Annotated[
        float, typer.Option(help="The highest of the schedule; 0.001 is the paper's.", rich_help_panel=_OPTIMISER)
    ] = 1e-3,
    schedule: Annotated[
        Literal["constant", "cosine", "step"],
        typer.Option(
            help="constant is the paper's; cosine falls to 0; step to a tenth at 1/2 and a hundredth at 3/4.",
            rich_help_panel=_OPTIMISER,
        ),
    ] = "constant",
    warmup_epochs: Annotated[
        float, typer.Option(help="Epochs in which the learning rate rises from 0.", rich_help_panel=_OPTIMISER)
    ] = 0.0,
    ramp_epochs: Annotated[
        float,
        typer.Option(
            help="Epochs in which the objective's regularisation (weight or epsilon) rises from 0.",
            rich_help_panel=_OPTIMISER,
        ),
    ] = 0.0,
    average: Annotated[
        float | None,
        typer.Option(
            help="Keep a moving average of the weights with this decay per step, such as 0.999.",
            show_default="none",
            rich_help_panel=_OPTIMISER,
        ),
    ] = None,
    clip: Annotated[
        float | None,
        typer.Option(help="Largest l2 norm of a step's gradient.", show_default="no limit", rich_help_panel=_OPTIMISER),
    ] = None,
    momentum: Annotated[float, typer.Option(help="Of SGD.", rich_help_panel=_OPTIMISER)] = 0.9,
    weight_decay: Annotated[float, typer.Option(help="L2 penalty.", rich_help_panel=_OPTIMISER)] = 0.0,
    augment: Annotated[
        Literal["none", "flip-crop", "deform"],
        typer.Option(
            help="flip-crop mirrors and shifts, as is usual for CIFAR-10; deform turns, stretches and bends, for handwriting.",
            rich_help_panel=_DATA,
        ),
    ] = "none",
    start_from: Annotated[
        str | None,
        typer.Option(
            metavar="RUN",
            help="Begin with the weights of this network: a run folder, a checkpoint or zoo:NAME.",
            show_default="drawn by the seed",
        ),
    ] = None,
    after: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="RUN",
            help="Train the next stage of a cascade, for convex-outer: on the images that this run (a folder, or a "
            "checkpoint) does not certify. Once for each stage before, in order.",
            show_default="none",
            rich_help_panel=_DATA,
        ),
    ] = None,
    data_dir: DataDirOption = None,
    allow_unverified: UnverifiedOption = False,
    image_size: ImageSizeOption = None,
    classes: ClassesOption = None,
    device: DeviceOption = "auto",
    json: JsonOption = False,
) -> None:
    """Train a classifier that stays right under noise, and write it to a run folder.

    Stop it with Ctrl-C and run it again: it goes on where its state was last saved, at most a minute before. Under
    torchrun (torchrun --nproc-per-node 2 -m noiseproof train ...) several processes share every batch.
    """
    from noiseproof.data import IMAGE_SIZE, load
    from noiseproof.training import CHECKPOINT, TrainingSettings

    loss = names.objective(objective, change or ())
    added = names.noise(noise, sigma)
    dataset = load(
        data,
        "train",
        classes,
        data_dir=data_dir,
        allow_unverified=allow_unverified,
        image_size=IMAGE_SIZE if image_size is None else image_size,
    )
    settings = TrainingSettings(
        model=model.value if model else _usual_model(data),
        objective=loss,
        noise=added,
        epochs=_USUAL_EPOCHS.get(data, 60) if epochs is None else epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        seed=seed,
        optimiser=optimiser,
        momentum=momentum,
        weight_decay=weight_decay,
        schedule=schedule,
        warmup_epochs=warmup_epochs,
        ramp_epochs=ramp_epochs,
        average=average,
        clip=clip,
        precision=precision,
        augment=augment,
    )
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
                "settings": settings.spec(),
            }
            | ({} if dataset.part is None else {"part": dict(dataset.part)})
        )
    else:
        say(
            f"Trained: {escape(str(out / CHECKPOINT))}, picture: {escape(str(picture))}\n"
            f"Next: [bold]noiseproof certify {escape(quote(str(out)))}[/]"
        )


def _usual_model(data: str) -> str:
    from noiseproof.errors import InvalidInputError

    if data not in _USUAL_MODELS:
        raise InvalidInputError(
            "--model",
            required="named for data of your own",
            got="nothing",
            remedy=f"Choose among {', '.join(names.ModelName)}.",
        )
    return _USUAL_MODELS[data].value


def _left_by(after: list[Path], loss: "Objective", dataset: "Dataset", out: Path, device: str) -> "Dataset":
    """Leave out what the stages before certify, with a progress bar, and say how much is left."""
    from noiseproof.training import left_by

    stages = [(str(path), names.checkpoint(str(path)).model) for path in after]
    with (
        resumable("What was judged last is kept."),
        progress_bar("judge", len(dataset), visible=_first_process()) as (bar, task),
    ):

        def on_images(judged: int, left: int) -> None:
            bar.update(task, completed=judged, note=f"{left} left")

        part = left_by(stages, loss, dataset, out, device=names.device(device), on_images=on_images)
    if _first_process():
        say(f"{len(part)} of {len(dataset)} training images are left: the stages before certify the others.")
    return part


def run_training(
    settings: "TrainingSettings", dataset: "Dataset", out: Path, device: str, *, start: "nn.Module | None" = None
) -> "nn.Module":
    """Train with a progress bar that shows loss and accuracy."""
    from noiseproof.classifiers import keep_large_blocks
    from noiseproof.training import leave
    from noiseproof.training import train as train_into

    keep_large_blocks()
    where = names.device(device)
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
                    f"[yellow]Dead channels:[/] {report.dead:.0%} of a layer's channels answer to no image after epoch "
                    f"{report.epoch}, and will not recover. Try a third of the learning rate, {settings.learning_rate / 3:.1g}."
                )

        model = train_into(settings, dataset, out, start=start, device=where, on_batch=on_batch, on_epoch=on_epoch)
        bar.update(task, completed=settings.epochs)
        leave()
        return model


def _first_process() -> bool:
    """Whether this process speaks: of those that torchrun starts, the first does."""
    return os.environ.get("RANK", "0") == "0"


def _draw(out: Path) -> Path:
    from noiseproof.reports import write_training_curve
    from noiseproof.training import LOG

    return write_training_curve(out / LOG, out / "training.svg")
