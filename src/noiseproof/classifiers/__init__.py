"""Base classifiers: what f is, how it runs on this machine, and in which precision."""

from noiseproof.classifiers.memory import keep_large_blocks
from noiseproof.classifiers.precision import Accelerated, Precision, accelerate, multiplies_bfloat16
from noiseproof.classifiers.quantisation import Quantised, can_quantise, quantise
from noiseproof.classifiers.throughput import Measurement, find_batch_size, images_per_second, measure

__all__ = [
    "Accelerated",
    "Measurement",
    "Precision",
    "Quantised",
    "accelerate",
    "can_quantise",
    "find_batch_size",
    "images_per_second",
    "keep_large_blocks",
    "measure",
    "multiplies_bfloat16",
    "quantise",
]
