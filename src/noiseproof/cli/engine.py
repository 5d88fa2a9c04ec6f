"""How the precisions of a network are shown."""

from enum import StrEnum
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.table import Table

if TYPE_CHECKING:
    from noiseproof.engine import Measurement

__all__ = ["PrecisionName", "speed_table"]


class PrecisionName(StrEnum):
    """Precisions."""

    auto = "auto"
    fp32 = "fp32"
    bf16 = "bf16"
    fp16 = "fp16"
    int8 = "int8"


def speed_table(measurements: "list[Measurement]") -> Table:
    """Return measurements as a table: speed beside what it costs in accuracy."""
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
