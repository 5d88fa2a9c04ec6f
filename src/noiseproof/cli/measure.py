"""`noiseproof measure`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from noiseproof.cli import names
from noiseproof.cli.console import (
    ClassesOption,
    DataDirOption,
    DataOption,
    DeviceOption,
    ImageSizeOption,
    JsonOption,
    SeedOption,
    UnverifiedOption,
    console,
    print_json,
    say,
)
from noiseproof.cli.engine import speed_table

__all__ = ["measure"]


def measure(
    run: Annotated[Path | None, typer.Argument(help="The run folder of a trained network.", show_default=False)] = None,
    model: Annotated[
        str | None, typer.Option(help="zoo:NAME, net.safetensors of noiseproof, or package.module:factory.")
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(help="Its weights: .safetensors, .pt of tensors, or .h5 of Keras 2.")
    ] = None,
    noise: Annotated[names.NoiseName | None, typer.Option(help="Noise for --model.", show_default="gaussian")] = None,
    sigma: Annotated[
        float | None, typer.Option("--sigma", "--scale", help="Size of the noise.", show_default="as in training")
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(help="Images per call of the network.", show_default="found")
    ] = None,
    data: DataOption = None,
    data_dir: DataDirOption = None,
    allow_unverified: UnverifiedOption = False,
    image_size: ImageSizeOption = None,
    classes: ClassesOption = None,
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    json: JsonOption = False,
) -> None:
    """Measure speed and noisy accuracy of a network in every precision that this machine has, and write nothing.

    Choose with it what to pass to certify: --precision bf16 --compile, or --precision int8.
    """
    from dataclasses import asdict

    from torch import nn

    from noiseproof.classifiers import keep_large_blocks
    from noiseproof.classifiers.autotune import Autotuner
    from noiseproof.errors import InvalidInputError
    from noiseproof.runs import DataChoice, Subject

    if (run is None) == (model is None):
        raise InvalidInputError(
            "RUN and --model", required="one of the two", got="both" if run else "none", remedy="Name what to measure."
        )
    if model is None and (weights is not None or noise is not None):
        raise InvalidInputError(
            "--weights and --noise", required="given with --model", got="no --model", remedy="A run folder has its own."
        )
    choice = DataChoice(data, classes, data_dir, allow_unverified, image_size)
    subject = Subject.load(run or str(model), weights=weights, data=choice, noise=noise, sigma=sigma)
    if not isinstance(subject.classifier, nn.Module):
        raise InvalidInputError(
            "the model",
            required="a torch module",
            got=subject.model["name"],
            remedy="Others run in the precision they have.",
        )
    keep_large_blocks()
    where = names.device(device)
    say(f"Measuring on {escape(str(where))}; compiling takes 5 to 60 seconds a row ...")
    tuner = Autotuner(
        subject.classifier, subject.dataset, subject.noise, seed=seed, device=where, batch_size=batch_size
    )
    measured = tuner.everything()
    if json:
        print_json({"device": str(where), "batch_size": tuner.batch_size, "rows": [asdict(row) for row in measured]})
        return
    console.print(speed_table(measured))
    say(f"{tuner.batch_size} images a batch.")
