"""How the precisions of a network are shown."""

from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.table import Table

from noiseproof.cli.console import say

if TYPE_CHECKING:
    import torch

    from noiseproof.classifiers import Throughput

__all__ = ["say_if_emulated", "speed_table"]


def say_if_emulated(precision: str, where: "torch.device") -> None:
    """Warn if bfloat16 was requested and the device only emulates it, so that it is slower than float32."""
    from noiseproof.classifiers import multiplies_bfloat16

    if precision == "bf16" and not multiplies_bfloat16(where):
        say("[yellow]bfloat16 is emulated here,[/] several times slower than float32: --precision fp32 is faster.")


def speed_table(measurements: "list[Throughput]") -> Table:
    """Return measurements as a table of speed and noisy accuracy."""
    first = measurements[0]
    rows = Table(box=SIMPLE_HEAD, header_style="", title=f"{first.images} noisy images", title_justify="left")
    for heading in ("precision", "images/s", "speed-up", "noisy accuracy", "labels as float32"):
        rows.add_column(heading, justify="left" if heading == "precision" else "right")
    for found in measurements:
        change = found.noisy_accuracy - first.noisy_accuracy
        rows.add_row(
            found.name,
            f"{found.images_per_second:,.0f}",
            f"{found.images_per_second / first.images_per_second:.2f} x",
            f"{100 * found.noisy_accuracy:.2f} %" + (f" ({100 * change:+.2f})" if found is not first else ""),
            f"{100 * found.agreement:.2f} %",
        )
    return rows
