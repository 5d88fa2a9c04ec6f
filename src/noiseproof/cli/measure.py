"""`noiseproof measure`."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.markup import escape

from noiseproof.cli.console import console, print_json, say
from noiseproof.cli.engine import speed_table
from noiseproof.cli.options import BatchSize, ClassifierOptions, DataOptions, Device, Json, NoiseOptions, Seed
from noiseproof.errors import InvalidInputError

__all__ = ["measure"]


def measure(
    run: Annotated[Path | None, Parameter(help="The run folder of a trained network; or name one by --model.")] = None,
    /,
    *,
    classifier: ClassifierOptions = ClassifierOptions(),
    noise: NoiseOptions = NoiseOptions(),
    data: DataOptions = DataOptions(),
    batch_size: BatchSize = None,
    seed: Seed = 0,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Measure speed and noisy accuracy of a network in every precision that this machine supports; nothing is written.

    The table shows which options are worth passing to certify: --precision bf16 --compile, or --precision int8.
    """
    from dataclasses import asdict

    from torch import nn

    from noiseproof.classifiers import keep_large_blocks
    from noiseproof.classifiers.autotune import Autotuner
    from noiseproof.runs.running import device_named

    if (run is None) == (classifier.model is None):
        raise InvalidInputError(
            "RUN" if run is None else "--model",
            required="given without --model" if run is None else "left out where RUN is given",
            got="neither" if run is None else "both",
            remedy="Name one network to measure.",
        )
    subject = classifier.load(run, data, noise=noise.noise, sigma=noise.sigma, smoothed=True)
    if not isinstance(subject.classifier, nn.Module):
        raise InvalidInputError(
            "the model",
            required="a torch module",
            got=subject.model["name"],
            remedy="Other models run in their own precision.",
        )
    keep_large_blocks()
    where = device_named(device)
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
