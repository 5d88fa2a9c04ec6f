"""Base classifiers: what f is, how it runs on this machine, and in which precision."""

from noiseproof.classifiers.memory import keep_large_blocks
from noiseproof.classifiers.precision import Accelerated, Precision, accelerate, multiplies_bfloat16
from noiseproof.classifiers.quantisation import Quantised, can_quantise, quantise
from noiseproof.classifiers.throughput import Throughput, find_batch_size, images_per_second, measure_throughput

__all__ = [
    "Accelerated",
    "Precision",
    "Quantised",
    "Throughput",
    "accelerate",
    "can_quantise",
    "find_batch_size",
    "images_per_second",
    "keep_large_blocks",
    "measure_throughput",
    "multiplies_bfloat16",
    "quantise",
]
