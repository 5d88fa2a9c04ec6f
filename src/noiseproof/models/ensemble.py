"""Several networks as one base classifier (Horváth et al. 2022)."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

from noiseproof.errors import InvalidInputError

__all__ = ["Ensemble"]


class Ensemble(nn.Module):
    """The mean of the logits of k networks: f(x) = 1/k sum_l f_l(x).

    Under noise the networks err partly on different copies, so the mean's margin varies less and the same image gets more
    votes (Horváth et al. 2022, "Boosting randomized smoothing with variance reduced classifiers", section 4). Its winner
    is that of the geometric mean of the softmax outputs. It is a classifier like any other: what smoothing proves of it
    holds as it stands, at k times the price of a vote.
    """

    def __init__(self, members: Sequence[nn.Module]) -> None:
        """Put networks together.

        Args:
            members: at least two, for the same images and classes; they are kept, not copied.

        Raises:
            InvalidInputError: fewer than two.
        """
        super().__init__()
        if len(members) < 2:
            raise InvalidInputError(
                "members", required="at least 2 networks", got=len(members), remedy="One needs no ensemble."
            )
        self.members = nn.ModuleList(members)

    def forward(self, images: Float[Tensor, "batch *shape"]) -> Float[Tensor, "batch classes"]:
        """Return the mean of the members' logits.

        Raises:
            InvalidInputError: the members count other classes.
        """
        first: Tensor = self.members[0](images)
        total = first
        for member in self.members[1:]:
            logits: Tensor = member(images)
            if logits.shape != first.shape:
                raise InvalidInputError(
                    "members",
                    required=f"networks of the same classes, with scores {tuple(first.shape)}",
                    got=tuple(logits.shape),
                    remedy="Put together networks of one data set.",
                )
            total = total + logits
        return total / len(self.members)
