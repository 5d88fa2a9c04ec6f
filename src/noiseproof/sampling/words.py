"""Random words as a function of (key, image, phase, draw, sample): Philox under a seed, ChaCha20 under a secret key."""

import hmac
import importlib.util
import struct
from functools import lru_cache

import numpy as np

from noiseproof.errors import MissingExtraError
from noiseproof.randomness import SecretKey, Seed
from noiseproof.sampling.rows import Span

__all__ = ["generator_of", "random_words"]

_Words = np.ndarray

_WORD_BYTES = 4

_PHILOX_STEP = 8
"""32-bit words that one step of the Philox4x64 counter gives."""

_CHACHA_STEP = 16
"""32-bit words of one block of ChaCha20."""

_CHACHA_BLOCKS = 2**32
"""Blocks that follow one another under one nonce: the block counter of RFC 8439 has 32 bits."""


def generator_of(seed: Seed) -> str:
    """Return the name of the generator of `random_words`, or raise MissingExtraError where it is not installed."""
    if not isinstance(seed, SecretKey):
        return "philox4x64"
    if importlib.util.find_spec("cryptography") is None:
        raise MissingExtraError("cryptography", extra="chacha20", needed_for="noise under a secret key")
    return "chacha20"


def random_words(seed: Seed, span: Span, numbers: int, draw: int) -> _Words:
    """Return the 32-bit words of consecutive samples of one image.

    A sample takes whole steps of its generator, so that samples can be drawn in any order and do not overlap:

        Philox4x64-10   key (seed, index), counter (sample * steps, 0, phase, draw), steps of 8 words
        ChaCha20        key HMAC-SHA256(secret key, (index, phase)), block sample * steps of the nonces for `draw`, steps
                        of 16 words; the block number is 64 bits, of which RFC 8439 calls the upper 32 part of the nonce

    Args:
        seed: a number for Philox (Salmon et al. 2011), a secret key for ChaCha20 (Bernstein 2008, RFC 8439).
        span: image, phase and samples.
        numbers: least number of words that a sample needs.
        draw: which draw of these samples, from 0 to 2**64 - 1.

    Returns:
        (samples, words), uint32, with `numbers` words or a few more.
    """
    step = _CHACHA_STEP if isinstance(seed, SecretKey) else _PHILOX_STEP
    steps = -(-numbers // step)
    if isinstance(seed, SecretKey):
        words = _chacha20(seed, span, span.first * steps, span.count * steps, draw)
    else:
        counter = np.array([span.first * steps, 0, span.phase, draw], dtype=np.uint64)
        philox = np.random.Philox(key=np.array([seed, span.index], dtype=np.uint64), counter=counter)
        words = philox.random_raw(span.count * steps * step // 2).view(np.uint32)
    return words.reshape(span.count, -1)


def _chacha20(secret: SecretKey, span: Span, first: int, blocks: int, draw: int) -> _Words:
    """Return the key stream of consecutive blocks."""
    from cryptography.hazmat.primitives.ciphers import Cipher
    from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20

    key = hmac.digest(secret.reveal(), struct.pack("<QQ", span.index, span.phase), "sha256")
    stream = np.empty(blocks * _CHACHA_STEP * _WORD_BYTES, dtype=np.uint8)
    done = 0
    while done < blocks:
        part = min(blocks - done, _CHACHA_BLOCKS - (first + done) % _CHACHA_BLOCKS)
        where = slice(done * _CHACHA_STEP * _WORD_BYTES, (done + part) * _CHACHA_STEP * _WORD_BYTES)
        cipher = Cipher(ChaCha20(key, struct.pack("<QQ", first + done, draw)), mode=None).encryptor()
        cipher.update_into(_zeros(where.stop - where.start), stream[where].data)
        done += part
    return stream.view("<u4").astype(np.uint32, copy=False)


@lru_cache(maxsize=8)
def _zeros(size: int) -> bytes:
    """Return zeros, whose encryption is the key stream."""
    return bytes(size)
