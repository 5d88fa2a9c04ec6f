"""Dropout whose masks cost little on the CPU."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from noiseproof.errors import InvalidInputError

__all__ = ["Dropout"]

_BYTE = 256


class Dropout(nn.Dropout):
    """As `nn.Dropout`, for a p that is a whole number of 256ths.

    torch draws a mask on the CPU element by element on one thread, an eighth of a training step of the paper's MNIST
    network. Here a random word gives the masks of eight elements, a byte each: an element is dropped where its byte is
    below 256 p, which has probability p exactly.

    Raises:
        InvalidInputError: 256 p is no whole number.
    """

    def __init__(self, p: float = 0.5) -> None:
        super().__init__(p)
        if not float(_BYTE * p).is_integer() or p == 1.0:
            raise InvalidInputError(
                "p", required="a whole number of 256ths, below 1", got=p, remedy="Take nn.Dropout for others."
            )

    def forward(self, values: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Drop elements while training, and scale the others by 1 / (1 - p)."""
        if not self.training or values.device.type != "cpu":
            return super().forward(values)
        words = torch.empty(-(-values.numel() // 8), dtype=torch.int64).random_(-(2**63), None)
        order = torch.empty_like(values, device="meta").stride()
        draws = words.view(torch.uint8).as_strided(values.shape, order)
        return values * (draws >= round(_BYTE * self.p)).to(values.dtype).mul_(1.0 / (1.0 - self.p))
