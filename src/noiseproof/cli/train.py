"""`noiseproof train`."""

from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from noiseproof.cli import names
from noiseproof.cli.console import DeviceOption, JsonOption, SeedOption, print_json, progress_bar, resumable, say

if TYPE_CHECKING:
    from torch import nn

    from noiseproof.training import BatchReport, EpochReport, TrainingSettings

__all__ = ["run_training", "train"]


def train(
    out: Annotated[Path, typer.Option("--out", help="The run folder to write.", show_default=False)],
    data: Annotated[names.DataName, typer.Option(help="What to train on.")] = names.DataName.digits,
    model: Annotated[names.ModelName, typer.Option(help="The network.")] = names.ModelName.digits_cnn,
    objective: Annotated[
        names.ObjectiveName,
        typer.Option(help="stability: the paper's STN; gaussian: noisy copies only; natural: no noise at all."),
    ] = names.ObjectiveName.stability,
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
    weight: Annotated[
        float | None,
        typer.Option(help="Weight of the stability term, for stability alone.", show_default="1, the paper's"),
    ] = None,
    epochs: Annotated[int, typer.Option(help="Passes over the training images; 60 settle the digits network.")] = 60,
    batch_size: Annotated[int, typer.Option(help="Images per step; 64 is the paper's.")] = 64,
    learning_rate: Annotated[float, typer.Option(help="Of Adam; 0.001 is the paper's.")] = 1e-3,
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    json: JsonOption = False,
) -> None:
    """Train a classifier that stays right under noise, and write it to a run folder.

    Stop it with Ctrl-C and run it again: it goes on after the last whole epoch.
    """
    from noiseproof.errors import InvalidInputError
    from noiseproof.training import CHECKPOINT, TrainingSettings

    if weight is not None and objective is not names.ObjectiveName.stability:
        raise InvalidInputError(
            "--weight", required="left out", got=f"{weight:g} for {objective.value}", remedy="It is stability's alone."
        )
    settings = TrainingSettings(
        model=model.value,
        objective=names.objective(objective, 1.0 if weight is None else weight),
        noise=names.noise(noise, sigma),
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        seed=seed,
    )
    run_training(settings, data, out, device)
    if json:
        print_json({"run": str(out), "checkpoint": str(out / CHECKPOINT), "settings": settings.spec()})
    else:
        say(f"Trained: {escape(str(out / CHECKPOINT))}\nNext: [bold]noiseproof certify {escape(quote(str(out)))}[/]")


def run_training(settings: "TrainingSettings", data: names.DataName, out: Path, device: str) -> "nn.Module":
    """Train with a progress bar that shows loss and accuracy."""
    from noiseproof.data import load
    from noiseproof.training import train as train_into

    where = names.device(device)
    title = f"train {settings.objective.spec()['name']}"
    with resumable("Every whole epoch is saved."), progress_bar(title, settings.epochs) as (bar, task):

        def on_batch(report: "BatchReport") -> None:
            done = report.epoch - 1 + report.batch / report.batches
            note = f"loss {report.loss:.3f}, accuracy {100 * report.accuracy:.1f} %"
            bar.update(task, completed=round(done, 2), note=note)

        def on_epoch(report: "EpochReport") -> None:
            bar.update(task, completed=report.epoch)

        model = train_into(settings, load(data.value, "train"), out, device=where, on_batch=on_batch, on_epoch=on_epoch)
        bar.update(task, completed=settings.epochs)
        return model
