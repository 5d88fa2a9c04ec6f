"""A figure of one tiny record, a network trained for one epoch on the digits and certified, to be made step by step.

python -c "import tiny_figure; tiny_figure.main()" reproduce figure6 --make ...
"""

from dataclasses import dataclass
from pathlib import Path

from noiseproof.experiments import attack_figures
from noiseproof.experiments.figure import Figure, Result
from noiseproof.experiments.recipes import Facts, Reader, Recipe, Step
from noiseproof.reports.tables import Table
from noiseproof.runs.records import Record
from noiseproof.training import CHECKPOINT

SAMPLES = 1000


@dataclass(frozen=True)
class Tiny(Recipe[Record]):
    record = Record
    title = "a tiny record"
    folder = "digits/tiny"

    def steps(self, records: Path) -> list[Step]:
        run = records / self.folder
        training = ("noiseproof", "train", "--data", "digits", "--epochs", "1", "--out", str(run))
        certifying = ("noiseproof", "certify", str(run), "--samples", str(SAMPLES))
        steps = [] if (run / CHECKPOINT).exists() else [Step(training, run, (5.0, "one core"))]
        return [*steps, Step((*certifying, "--precision", "fp32", "--no-compile"), run)]

    def facts(self, record: Record) -> Facts:
        yield "samples", SAMPLES, record.settings.samples


class TinyFigure(Figure[Record | None]):
    name = "tiny"
    title = "A tiny figure"

    def read(self, reader: Reader) -> Record | None:
        return reader.find(Tiny())

    def numbers(self, found: Result[Record | None]) -> list[list[int]]:
        return [] if found.content is None else found.content.read().votes.tolist()

    def tables(self, content: Record | None) -> list[Table]:
        return [Table("tiny", ["record"], [] if content is None else [[str(content.path)]])]


def main() -> None:
    """Run the command line with this figure in place of figure 6."""
    from noiseproof.cli import main as command_line

    attack_figures.FIGURE6 = TinyFigure()  # type: ignore[assignment]
    command_line()
