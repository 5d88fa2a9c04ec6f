"""From records to tables, curves and pages; no model and no data set is loaded here."""

from noiseproof.numerics.decimals import round_down
from noiseproof.reports.analysis import Analysis, analyse
from noiseproof.reports.page import ReportFiles, write_report
from noiseproof.reports.sequential import analyse_sequential, write_sequential_report
from noiseproof.reports.training_curve import write_training_curve

__all__ = [
    "Analysis",
    "ReportFiles",
    "analyse",
    "analyse_sequential",
    "round_down",
    "write_report",
    "write_sequential_report",
    "write_training_curve",
]
