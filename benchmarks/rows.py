"""Does the output for an image change, to the last bit, with its place in the batch, its companions, threads, batch size?

python benchmarks/rows.py      minutes; writes benchmarks/results/rows.*
"""

from collections.abc import Iterator

import torch
from networks import images, network, write

from noiseproof.classifiers import accelerate, quantise
from noiseproof.classifiers.base import RowsCheck
from noiseproof.classifiers.runners import Runner

SIZES, THREADS = (1024, 1000, 37), (1, 2)
NAMES = ("paper-mnist", "paper-cifar")


def runner(name: str, form: str, batch_size: int) -> Runner:
    """Make a network ready; "fp32, compiled" and "bf16, compiled" beside the forms of the other benchmarks."""
    if form == "int8":
        return quantise(network(name), torch.from_numpy(images(name, 2 * batch_size)), batch_size=batch_size)
    return accelerate(network(name), precision=form.split(",")[0], compiled="compiled" in form)


def compared(run: Runner, batch: torch.Tensor, others: torch.Tensor) -> dict[str, RowsCheck]:
    """Compare outputs for a batch with those in other places, and in the same places among other companions."""
    order = torch.randperm(len(batch), generator=torch.Generator().manual_seed(0))
    stays = torch.arange(0, len(batch), 7)
    among = others.clone()
    among[stays] = batch[stays]
    out = run(batch)
    found = {"place": [(out[order], run(batch[order]))], "companions": [(out[stays], run(among)[stays])]}
    return {name: RowsCheck.of(pairs) for name, pairs in found.items()}


def study(name: str) -> Iterator[tuple[str, dict[str, float]]]:
    """Yield the largest changes in every form of a network, over threads and batch sizes."""
    all_images = torch.from_numpy(images(name, 2 * max(SIZES)))
    for form in ("fp32", "bf16", "fp32, compiled", "bf16, compiled", "int8"):
        changes: dict[str, float] = {"place": 0.0, "companions": 0.0, "threads": 0.0, "batch size": 0.0}
        reference: dict[int, torch.Tensor] = {}
        for size in SIZES:
            for threads in THREADS:
                torch.set_num_threads(threads)
                run, batch = runner(name, form, size), all_images[:size].contiguous(memory_format=torch.channels_last)
                with torch.inference_mode():
                    found = compared(run, batch, all_images[-size:])
                    out = run(batch).double()
                for what, check in found.items():
                    changes[what] = max(changes[what], check.largest)
                for what, other in (("threads", reference.get(size)), ("batch size", reference.get(SIZES[0]))):
                    if other is not None:
                        changes[what] = max(changes[what], float((out - other[:size]).abs().max()))
                reference.setdefault(size, out)
        yield form, {what: change / float(reference[SIZES[0]].std()) for what, change in changes.items()}


def main() -> None:
    """Measure all forms of both networks."""
    figures = {f"{name}, {form}": found for name in NAMES for form, found in study(name)}
    columns = ("place", "companions", "threads", "batch size")
    table = [f"| | {' | '.join(columns)} |", "|---|" + "---|" * len(columns)]
    for name, found in figures.items():
        table.append(
            f"| {name} | " + " | ".join(f"{found[what]:.0e}" if found[what] else "0" for what in columns) + " |"
        )
    write("rows", "Largest change of a score, in standard deviations of the scores", table, figures)


if __name__ == "__main__":
    main()
