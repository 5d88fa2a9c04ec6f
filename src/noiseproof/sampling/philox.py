"""Philox (Salmon et al. 2011) in torch's integer arithmetic: any counter, on any device.

Words are int64. A product of two words may pass 2^63 and wrap: shifted and masked, its halves are exact all the same.
Keys come as tensors: a compiler may take whole numbers among the arguments for 32-bit ones.
"""

import importlib.util
from collections.abc import Callable
from functools import cache

import torch
from jaxtyping import Int
from torch import Tensor

__all__ = ["generator_for", "key_schedule", "key_schedule_64", "philox4x32", "philox4x64"]

_LOW = 2**32 - 1
_ROUNDS = 10

_MULTIPLIERS_32 = (0xD2511F53, 0xCD9E8D57)
_WEYL_32 = (0x9E3779B9, 0xBB67AE85)
_MULTIPLIERS_64 = (0xD2E7470EE14C6C93, 0xCA5A826395121157)
_WEYL_64 = (0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B)

Word = Int[Tensor, "*#shape"]
Words = tuple[Word, Word, Word, Word]


def key_schedule(low: int, high: int) -> Int[Tensor, "10 2"]:
    """Return the two key words of every round of Philox4x32-10."""
    rounds = range(_ROUNDS)
    return torch.tensor([[(low + i * _WEYL_32[0]) & _LOW, (high + i * _WEYL_32[1]) & _LOW] for i in rounds])


def key_schedule_64(low: int, high: Int[Tensor, "*keys"]) -> list[tuple[Tensor, Tensor]]:
    """Return the two key words of every round of Philox4x64-10, for one low and many high words of keys."""
    lows = torch.tensor([_wrapped(low + i * _WEYL_64[0]) for i in range(_ROUNDS)], device=high.device)
    return [(lows[i], high + _wrapped(i * _WEYL_64[1])) for i in range(_ROUNDS)]


def philox4x32(counter: Words, keys: Int[Tensor, "10 2"]) -> Words:
    """Return the four words of Philox4x32-10 at each counter; words are from 0 to 2^32 - 1."""
    a, b, c, d = counter
    for i in range(_ROUNDS):
        first, second = a * _MULTIPLIERS_32[0], c * _MULTIPLIERS_32[1]
        a, b, c, d = (
            ((second >> 32) & _LOW) ^ b ^ keys[i, 0],
            second & _LOW,
            ((first >> 32) & _LOW) ^ d ^ keys[i, 1],
            first & _LOW,
        )
    return a, b, c, d


def philox4x64(counter: Words, keys: list[tuple[Tensor, Tensor]]) -> Words:
    """Return the four words of Philox4x64-10 at each counter, 64-bit words in the bits of int64."""
    a, b, c, d = counter
    for low, high in keys:
        a, b, c, d = (
            _high_half(c, _MULTIPLIERS_64[1]) ^ b ^ low,
            c * _wrapped(_MULTIPLIERS_64[1]),
            _high_half(a, _MULTIPLIERS_64[0]) ^ d ^ high,
            a * _wrapped(_MULTIPLIERS_64[0]),
        )
    return a, b, c, d


def _high_half(word: Tensor, multiplier: int) -> Tensor:
    """Return bits 64 to 127 of a product of unsigned 64-bit words."""
    low, high = word & _LOW, (word >> 32) & _LOW
    below, above = multiplier & _LOW, multiplier >> 32
    middle = high * below + ((low * below >> 32) & _LOW)
    cross = low * above + (middle & _LOW)
    return high * above + ((middle >> 32) & _LOW) + ((cross >> 32) & _LOW)


def _wrapped(word: int) -> int:
    """Return the int64 that has the low 64 bits of a number."""
    word &= 2**64 - 1
    return word - 2**64 if word >= 2**63 else word


@cache
def generator_for(device_type: str, generator: Callable[..., Words]) -> Callable[..., Words]:
    """Return a generator of this module for a device: one compiled kernel on a GPU with Triton."""
    if device_type == "cuda" and importlib.util.find_spec("triton") is not None:
        return torch.compile(generator, dynamic=True)
    return generator
