"""Result files of others: per-image tables, what their radii imply, and whether these can be true."""

from noiseproof.published.attainable import ALPHAS, Attainable, attainable_counts, counts_within, largest_radius
from noiseproof.published.check import Checked, CheckedList, Finding, check_list
from noiseproof.published.files import check_file, read_file
from noiseproof.published.inversion import COMPARED, Inverted, invert
from noiseproof.published.lists import PublishedList, read_table
from noiseproof.published.printed import Printed, Rounding
from noiseproof.published.repeats import EqualCounts, equal_counts, most_probable
from noiseproof.published.runs import CheckedRun, check_run

__all__ = [
    "ALPHAS",
    "COMPARED",
    "Attainable",
    "Checked",
    "CheckedList",
    "CheckedRun",
    "EqualCounts",
    "Finding",
    "Inverted",
    "Printed",
    "PublishedList",
    "Rounding",
    "attainable_counts",
    "check_file",
    "check_list",
    "check_run",
    "counts_within",
    "equal_counts",
    "invert",
    "largest_radius",
    "most_probable",
    "read_file",
    "read_table",
]
