"""`noiseproof demo`."""

import time
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.markup import escape

from noiseproof.cli.console import print_json, require_all, say
from noiseproof.cli.options import Device, Every, Json, Seed
from noiseproof.cli.progress import Shown
from noiseproof.cli.report import show_analyses
from noiseproof.cli.train import run_training
from noiseproof.objectives.registry import OBJECTIVES

__all__ = ["demo"]

_ALPHA = 0.001


def demo(
    *,
    out: Annotated[Path, Parameter(help="Folder for the two runs and the report.")] = Path("runs/demo"),
    samples: Annotated[int, Parameter(help="Votes per image; 2000 certify up to 2.7 sigma.")] = 2000,
    epochs: Annotated[int, Parameter(help="Passes over the training images.")] = 60,
    every: Every = 1,
    seed: Seed = 0,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Train, certify and report on a built-in data set of handwritten digits: one to three minutes on two cores.

    Trains one network with the paper's stability training and one with plain Gaussian augmentation, certifies every
    test image of both under sigma 0.25, and compares them on one page.
    """
    from noiseproof.bounds import Bonferroni, TwoPhase
    from noiseproof.certified import require_enough_samples, samples_needed
    from noiseproof.data import load
    from noiseproof.errors import require_count
    from noiseproof.noises import Gaussian
    from noiseproof.reports import analyse, write_report
    from noiseproof.reports.analysis import PAPER
    from noiseproof.reports.plain import plain_analysis
    from noiseproof.runs import CountVotes, Engine, Selection, Subject, execute
    from noiseproof.storage.provenance import peak_memory
    from noiseproof.training import TrainingSettings

    needed = max(samples_needed(bound, _ALPHA, num_classes=10) for bound in (TwoPhase(), Bonferroni()))
    require_enough_samples(samples, needed, _ALPHA)
    require_count("every", every, 1, "1 takes every image.")
    started = time.perf_counter()
    noise, records = Gaussian(sigma=0.25), []
    for objective in ("stability", "gaussian"):
        run = out / objective
        settings = TrainingSettings("digits-cnn", OBJECTIVES.make(objective), noise, epochs, seed=seed)
        run_training(settings, load("digits", "train"), run, device)
        job = CountVotes(samples, seed=seed, selection=Selection(every))
        with Shown(job.kept, unit="votes") as shown:
            engine = Engine(device, "fp32", compiled=False)
            record, left = execute(job, run, Subject.load(run), engine=engine, listener=shown)
            records.append(record)
        require_all(record, left)
    analyses = analyse(records, alpha=_ALPHA, beside=[PAPER])
    files = write_report(analyses, out / "report.html")
    seconds, peak = time.perf_counter() - started, peak_memory()
    if json:
        figures = {
            "seconds": seconds,
            "peak_memory_bytes": peak,
            "models": list(map(plain_analysis, analyses)),
        }
        print_json({"page": str(files.page)} | figures)
        return
    show_analyses(analyses)
    memory = "" if peak is None else f", {peak / 1e6:.0f} MB at most"
    say(f"Done in {seconds:.0f} s{memory}.\nReport: [bold]{escape(str(files.page.resolve()))}[/]")
