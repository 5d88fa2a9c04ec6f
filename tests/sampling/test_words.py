"""Random words under a seed and under a secret key: known answers, addressing, and a key that shows nowhere."""

import copy
import hashlib
import importlib.util
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

import noiseproof as npf
from noiseproof.errors import InvalidInputError, MissingExtraError
from noiseproof.noises import Gaussian
from noiseproof.perturbations.levels import LEVELS
from noiseproof.randomness import Phase, SecretKey, as_seed, public_seed
from noiseproof.sampling import Rows, Span, sampler_for, words
from noiseproof.sampling.inversion import Inversion
from noiseproof.sampling.words import random_words

CPU = torch.device("cpu")
KEY = SecretKey(bytes(range(32)))
every_seed = pytest.mark.parametrize("seed", [7, KEY], ids=["philox", "chacha20"])


def test_known_answer_of_rfc_8439(monkeypatch: pytest.MonkeyPatch) -> None:
    """Section 2.3.2: key 00 to 1f, nonce 000000090000004a00000000, block 1."""
    monkeypatch.setattr(words.hmac, "digest", lambda key, *_: key)
    block = words._chacha20(KEY, Span(0, 0, Phase.CERTIFY, 0, 1), 1 | 0x09000000 << 32, 1, 0x4A000000)
    assert block.tobytes().hex() == (
        "10f1e7e4d13b5915500fdd1fa32071c4c7d1f4c733c068030422aa9ac3d46c4e"
        "d2826446079faa0914c2d705d98b02a2b5129cd1de164eb9cbd083e8a2503c4e"
    )


def test_known_answer_of_hmac_sha256_as_the_key_of_an_image(monkeypatch: pytest.MonkeyPatch) -> None:
    """The inner and the outer hash written out, as RFC 2104 has them."""
    seen: list[bytes] = []
    own = words.hmac.digest
    monkeypatch.setattr(words.hmac, "digest", lambda *given: seen.append(own(*given)) or seen[-1])
    random_words(KEY, Span(0, 5, Phase.JUDGE, 0, 1), 4, 0)
    padded = KEY.reveal().ljust(64, b"\0")
    inner, outer = (bytes(byte ^ pad for byte in padded) for pad in (0x36, 0x5C))
    message = (5).to_bytes(8, "little") + int(Phase.JUDGE).to_bytes(8, "little")
    assert seen == [hashlib.sha256(outer + hashlib.sha256(inner + message).digest()).digest()]


@every_seed
@pytest.mark.parametrize("numbers", [1, 16, 17, 100])
def test_any_sample_is_reached_directly(seed: Any, numbers: int) -> None:
    together = random_words(seed, Span(0, 3, Phase.CERTIFY, 0, 9), numbers, 2)
    assert together.shape[1] >= numbers
    for sample in (0, 4, 8):
        np.testing.assert_array_equal(
            together[sample], random_words(seed, Span(0, 3, Phase.CERTIFY, sample, 1), numbers, 2)[0]
        )


@every_seed
def test_no_two_draws_share_words(seed: Any) -> None:
    drawn = [
        random_words(seed, Span(0, index, phase, 0, 40), 16, draw).view(np.uint64).ravel()
        for index in (0, 1, 2**63)
        for phase in (Phase.SELECT, Phase.CERTIFY, Phase.JUDGE)
        for draw in (0, 1, 2**32)
    ]
    assert len(np.unique(np.concatenate(drawn))) == sum(map(len, drawn))


def test_the_key_stream_goes_on_beyond_2_32_blocks() -> None:
    """The block counter of RFC 8439 ends there."""
    first = 2**32 - 3
    across = random_words(KEY, Span(0, 0, Phase.CERTIFY, first, 6), 16, 0)
    for sample in range(6):
        alone = random_words(KEY, Span(0, 0, Phase.CERTIFY, first + sample, 1), 16, 0)[0]
        np.testing.assert_array_equal(across[sample], alone)
    assert len(np.unique(across)) == across.size


@every_seed
@pytest.mark.parametrize("kind", ["float", "exact"])
def test_copies_do_not_depend_on_the_batch(seed: Any, kind: str) -> None:
    sampler, images = sampler_for(CPU, Gaussian(0.25), seed, kind), torch.arange(48.0).reshape(2, 1, 4, 6) / LEVELS
    whole = torch.empty(10, 1, 4, 6)
    sampler.fill(whole, images, Rows([Span(0, 8, Phase.CERTIFY, 5, 5), Span(1, 9, Phase.CERTIFY, 0, 5)], CPU))
    for row, span in enumerate([Span(0, 8, Phase.CERTIFY, 5 + s, 1) for s in range(5)]):
        alone = torch.empty(1, 1, 4, 6)
        sampler.fill(alone, images, Rows([span], CPU))
        assert torch.equal(alone[0], whole[row])


def test_the_law_under_a_secret_key() -> None:
    """Chi-square of 2^20 numbers of a fixed key against the exact law of round(255 z)."""
    noise, reach = Gaussian(0.05), 40
    images = torch.zeros(1, 1, 32, 32)
    batch = torch.empty(1024, 1, 32, 32)
    sampler_for(CPU, noise, KEY, "exact").fill(batch, images, Rows([Span(0, 0, Phase.CERTIFY, 0, 1024)], CPU))
    drawn = (batch * LEVELS).round().to(torch.int64).clamp(-reach, reach).flatten().numpy()
    edges = (np.arange(-reach, reach) + 0.5) / LEVELS
    expected = len(drawn) * np.diff(stats.norm.cdf(edges, scale=0.05), prepend=0.0, append=1.0)
    assert stats.chisquare(np.bincount(drawn + reach, minlength=2 * reach + 1), expected).pvalue > 1e-4
    assert Inversion.of(noise) is Inversion.of(noise)


def test_a_key_shows_nowhere() -> None:
    @dataclass(frozen=True)
    class Holder:
        seed: SecretKey

    key = SecretKey.draw()
    secret = key.reveal()
    shown = [repr(key), str(key), f"{key}", repr(Holder(key)), repr(asdict(Holder(key))), repr(public_seed(key))]
    for text in shown:
        assert secret.hex() not in text
        assert repr(secret) not in text
    assert key.commitment == hashlib.sha256(secret).hexdigest()
    assert f"{public_seed(key):016x}" == key.commitment[:16]


def test_keys_are_equal_by_their_commitment() -> None:
    key = SecretKey.draw()
    committed = SecretKey(commitment=key.commitment)
    assert key == committed == copy.deepcopy(key)
    assert hash(key) == hash(committed)
    assert key != SecretKey.draw()
    assert (key.known, committed.known) == (True, False)
    assert as_seed(key) is key


def test_keys_that_are_none() -> None:
    with pytest.raises(InvalidInputError, match="key must be 32 bytes; got 31"):
        SecretKey(bytes(31))
    with pytest.raises(InvalidInputError, match=f"one whose SHA-256 digest is {KEY.commitment}; got"):
        SecretKey(bytes(32), KEY.commitment)
    with pytest.raises(InvalidInputError, match="a key or its commitment; got neither"):
        SecretKey()
    with pytest.raises(
        InvalidInputError, match=f"the secret key, to draw noise; got only its commitment, {KEY.commitment}"
    ):
        sampler_for(CPU, Gaussian(1.0), SecretKey(commitment=KEY.commitment))


def test_without_the_cipher(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match=r"noiseproof\[chacha20\]"):
        sampler_for(CPU, Gaussian(1.0), KEY)


def test_certify_in_python() -> None:
    """The same key, the same votes; another key, others. Only the public number stands in the result."""
    smoothed = npf.SmoothedClassifier(lambda x: (x.mean((1, 2, 3)) > 0.5).astype(int), Gaussian(0.5), 2)
    images = np.random.default_rng(0).random((5, 1, 4, 4), dtype=np.float32)
    one, same = (smoothed.count(images, samples=300, seed=KEY) for _ in range(2))
    np.testing.assert_array_equal(one, same)
    assert (one != smoothed.count(images, samples=300, seed=SecretKey(bytes(32)))).any()
    found = smoothed.certify(images, samples=300, seed=KEY)
    assert found.noise_key is not None
    assert set(found.noise_key[:, 0].tolist()) == {public_seed(KEY)}
