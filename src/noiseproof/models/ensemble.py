"""Several networks as one base classifier (Horváth et al. 2022)."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from noiseproof.errors import InvalidInputError

__all__ = ["Ensemble"]


class Ensemble(nn.Module):
    """The mean of the logits of k networks: f(x) = 1/k sum_l f_l(x).

    Under noise the errors of the networks are partly independent, so the margin of the mean has a smaller variance and
    the top class gets more votes (Horváth et al. 2022, "Boosting randomized smoothing with variance reduced
    classifiers", section 4). The predicted class is that of the geometric mean of the softmax outputs. An ensemble is a
    base classifier like any other: all certificates hold for it, and a vote costs k times as much.

    With early exit, f(x) = 1/j sum_{l <= j} f_l(x), where j is the first number of networks whose mean has its two
    largest logits at least `early_exit` apart, or k if there is none. The first network decides most noisy copies, so a
    vote costs little more than one forward pass. (Horváth et al., K-consensus, evaluate all unless the first K agree.)
    This function differs from the mean of all networks, but certificates hold for it too, as they need no assumption
    about f.

    Attributes:
        members: the networks, in the order in which they are evaluated.
        early_exit: the margin, as a buffer, so that the digest of the network covers it; None without early exit.
    """

    early_exit: Tensor | None

    def __init__(self, members: Sequence[nn.Module], early_exit: float | None = None) -> None:
        """Combine networks.

        Args:
            members: at least two networks for the same images and classes, which are not copied.
            early_exit: the margin between the two largest logits, above 0, at which no further network is evaluated;
            None
                evaluates all.

        Raises:
            InvalidInputError: fewer than two networks, or a margin that is not above 0 or not finite.
        """
        super().__init__()
        if len(members) < 2:
            raise InvalidInputError(
                "members", required="at least 2 networks", got=len(members), remedy="One needs no ensemble."
            )
        margin = None if early_exit is None else torch.tensor(float(early_exit))
        if margin is not None and not 0 < margin < math.inf:
            raise InvalidInputError(
                "early_exit",
                required="a margin above 0, and finite, in float32",
                got=early_exit,
                remedy="None evaluates all members on every image.",
            )
        self.members = nn.ModuleList(members)
        self.register_buffer("early_exit", margin, persistent=False)

    def forward(self, images: Float[Tensor, "batch *shape"]) -> Float[Tensor, "batch classes"]:
        """Return the mean of the logits of all members, or of those that were evaluated.

        Raises:
            InvalidInputError: the members differ in their number of classes.
        """
        first: Tensor = self.members[0](images)
        if self.early_exit is None:
            total = first
            for member in self.members[1:]:
                total = total + _logits(member, images, first)
            return total / len(self.members)
        if torch.compiler.is_compiling() or torch.jit.is_tracing():  # type: ignore[attr-defined, no-untyped-call]
            return self._of_all(images, first, self.early_exit)
        mean, total, left = first, first, images
        rows = torch.arange(len(images), device=images.device)
        for number, member in enumerate(self.members[1:], 2):
            unclear = ~_clear(mean[rows], self.early_exit)
            rows, total, left = rows[unclear], total[unclear], left[unclear]
            if not len(rows):
                break
            total = total + _logits(member, left, first)
            mean = mean.to(total.dtype).index_copy(0, rows, total / number)
        return mean

    def _of_all(self, images: Tensor, first: Tensor, early_exit: Tensor) -> Tensor:
        """The same by evaluating all members: in a compiled or exported graph shapes cannot depend on values."""
        mean, total = first, first
        for number, member in enumerate(self.members[1:], 2):
            total = total + _logits(member, images, first)
            mean = torch.where(_clear(mean, early_exit)[:, None], mean, total / number)
        return mean


def _logits(member: nn.Module, images: Tensor, first: Tensor) -> Tensor:
    logits: Tensor = member(images)
    expected = (images.shape[0], *first.shape[1:])
    if logits.shape != expected:
        raise InvalidInputError(
            "members",
            required=f"networks of the same classes, with scores {expected}",
            got=tuple(logits.shape),
            remedy="Put together networks of one data set.",
        )
    return logits


def _clear(logits: Float[Tensor, "batch classes"], margin: Tensor) -> Bool[Tensor, " batch"]:
    """Whether the two largest logits are a margin apart; of one class alone, always."""
    if logits.shape[1] < 2:
        return torch.ones(logits.shape[0], dtype=torch.bool, device=logits.device)
    largest = logits.topk(2, dim=1).values
    return largest[:, 0] - largest[:, 1] >= margin
