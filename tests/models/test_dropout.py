"""Dropout by random bytes: its probability, independence, scale, layouts and gradient."""

import copy
import math
from unittest import mock

import pytest
import torch
from torch import Tensor

from noiseproof.errors import InvalidInputError
from noiseproof.models.layers import Dropout


def test_every_byte_is_dropped_or_kept_as_p_says() -> None:
    """All 256 bytes in turn: exactly 256 p of them drop."""
    every = torch.arange(256, dtype=torch.uint8).view(torch.int64)
    for p in (0.0, 1 / 256, 0.25, 0.5, 255 / 256):
        with mock.patch.object(Tensor, "random_", lambda self, *_: self.copy_(every)):
            out = Dropout(p)(torch.ones(256))
        assert (out == 0).sum() == 256 * p
        assert torch.allclose(out[out != 0], torch.tensor(1 / (1 - p)))


def test_all_bits_of_a_word_are_random() -> None:
    torch.manual_seed(0)
    drawn = []
    random = Tensor.random_
    with mock.patch.object(Tensor, "random_", lambda self, *limits: drawn.append(random(self, *limits)) or self):
        Dropout()(torch.ones(8 * 256 * 400))
    counts = torch.bincount(drawn[0].view(torch.uint8).reshape(-1, 8)[:, :].long().flatten(), minlength=256)
    assert ((counts - 3200).abs() < 6 * math.sqrt(3200)).all()
    top = drawn[0].view(torch.uint8).reshape(-1, 8)
    for place in range(8):  # each of the eight places of a word, the one with the sign bit too
        at = torch.bincount(top[:, place].long(), minlength=256)
        assert ((at - 400).abs() < 6 * math.sqrt(400)).all(), place


def test_neighbours_are_independent() -> None:
    torch.manual_seed(1)
    count = 1 << 18
    dropped = (Dropout(0.25)(torch.ones(count)) == 0).double() - 0.25
    bound = 5 * 0.1875 / math.sqrt(count)
    assert abs(dropped.mean().item()) < 5 * math.sqrt(0.1875 / count)
    for lag in range(1, 18):
        assert abs((dropped[lag:] * dropped[:-lag]).mean().item()) < bound, lag


def layouts() -> dict[str, Tensor]:
    picture = torch.rand(3, 5, 4, 7) + 1
    return {
        "scalar": torch.tensor(2.0),
        "none": torch.empty(0, 3),
        "one": torch.ones(1),
        "nine": torch.ones(9),
        "contiguous": picture,
        "channels last": picture.contiguous(memory_format=torch.channels_last),
        "transposed": picture.transpose(1, 3),
        "every other": picture[:, ::2, :, ::3],
        "expanded": torch.ones(1, 5, 1, 1).expand(3, 5, 4, 7),
        "offset": picture.flatten()[11:].reshape(-1)[:33],
        "bfloat16": picture.bfloat16(),
        "float64": picture.double(),
    }


@pytest.mark.parametrize("name", layouts())
def test_layouts(name: str) -> None:
    values = layouts()[name]
    before = values.clone()
    layer = Dropout(0.5)
    kept = torch.zeros(values.shape)
    for _ in range(60):
        out = layer(values)
        assert out.shape == values.shape
        assert out.dtype == values.dtype
        assert ((out == 0) | (out == 2 * values)).all()
        kept += out != 0
    assert torch.equal(values, before)
    if values.numel():
        assert ((kept > 5) & (kept < 55)).all(), "every element is at times kept, at times dropped"
    if name == "channels last":
        assert layer(values).is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("shape", [(), (1,), (7,), (8,), (9,), (2, 3, 5, 7), (3, 1, 1, 5), (2, 0, 3)])
def test_no_byte_outside_the_words_is_read(shape: tuple[int, ...]) -> None:
    """The last element that the strides reach lies within what was drawn, in any order of the dimensions."""
    for values in (torch.ones(shape), torch.ones(shape[::-1]).permute(tuple(reversed(range(len(shape)))))):
        taken: list[tuple[Tensor, tuple[int, ...], tuple[int, ...]]] = []
        plain = Tensor.as_strided
        with mock.patch.object(Tensor, "as_strided", lambda *call, to=taken, do=plain: to.append(call) or do(*call)):
            Dropout()(values)
        ((draws, size, strides),) = taken
        reach = 1 + sum((length - 1) * stride for length, stride in zip(size, strides, strict=True))
        assert values.numel() == 0 or reach == values.numel() <= draws.numel() < values.numel() + 8


def test_gradient_is_the_mask_and_the_seed_decides_it() -> None:
    values = torch.rand(4, 9, requires_grad=True)
    layer = Dropout(0.25)
    torch.manual_seed(3)
    out = layer(values)
    (gradient,) = torch.autograd.grad(out.sum(), values)
    assert torch.equal(gradient, torch.where(out == 0, 0.0, 1 / 0.75))
    torch.manual_seed(3)
    assert torch.equal(copy.deepcopy(layer)(values), out)
    assert not torch.equal(layer(values), out)


def test_evaluation_is_the_identity_and_draws_nothing() -> None:
    layer, values = Dropout(0.5).eval(), torch.rand(5, 5)
    state = torch.get_rng_state()
    assert torch.equal(layer(values), values)
    assert torch.equal(state, torch.get_rng_state())
    assert isinstance(layer, torch.nn.Dropout)
    assert layer.state_dict() == {}


@pytest.mark.parametrize("p", [0.1, 1.0, 1 / 512])
def test_what_bytes_cannot_give(p: float) -> None:
    with pytest.raises(InvalidInputError, match=r"p must be a whole number of 256ths, below 1; got"):
        Dropout(p)


@pytest.mark.parametrize("p", [-0.5, 1.5])
def test_no_probability(p: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        Dropout(p)
