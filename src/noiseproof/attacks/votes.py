"""The smoothed classifier for decision-based attacks: the fractions of votes of each class, without gradients."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from noiseproof.attacks.copies import NoisyCopies
from noiseproof.classifiers.base import INVALID, BaseClassifier
from noiseproof.classifiers.batching import default_batch_size, filled_up
from noiseproof.classifiers.runners import Runner
from noiseproof.errors import ClassifierError, InvalidInputError
from noiseproof.noises import Noise

__all__ = ["Votes"]


class Votes(nn.Module):
    """Returns for each image the fraction of m noisy copies that the base classifier assigns to each class.

    s_c = (1/m) #{i : f(x + z_i) = c}. Its argmax is the majority vote of Algorithm 1; ties go to the class with the
    smallest index. Every call draws fresh noise, or, if `fixed`, uses the same noise: then it is a deterministic function,
    as required by attacks that use bisection or that assert that adversarial points remain adversarial.

    The noise of an image is a function of (seed, index, call), and does not depend on other images or the batch size.

    Args:
        network: f, a torch module or a backend, which returns scores or labels.
        noise: the noise distribution of the defence; None for a classifier without noise, where m is 1.
        num_classes: k.
        eot_samples: m, votes on each image in a call.
        fixed: whether all calls use the same noise.
        seed: key of the noise.
        indices: the key of each image; None numbers the rows of a call from 0.
        batch_size: rows per forward pass; None chooses it by image size.

    Raises:
        InvalidInputError: the network is not callable, or as `NoisyCopies`.

    Example:
        >>> from noiseproof.noises import Gaussian
        >>> votes = Votes(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), Gaussian(sigma=0.25), 2, eot_samples=8)
        >>> float(votes(torch.full((1, 1, 2, 2), 0.5)).sum())
        1.0
    """

    def __init__(
        self,
        network: nn.Module | Runner,
        noise: Noise | None,
        num_classes: int,
        *,
        eot_samples: int = 32,
        fixed: bool = False,
        seed: int = 0,
        indices: Sequence[int] | None = None,
        batch_size: int | None = None,
    ) -> None:
        super().__init__()
        self.classifier = BaseClassifier(network, num_classes=num_classes)
        self.num_classes = self.classifier.num_classes
        self.batch_size = batch_size
        self.noisy = NoisyCopies(noise, eot_samples, self.classifier.device, seed=seed, indices=indices, fixed=fixed)
        self.eval()

    @property
    def device(self) -> torch.device:
        """The device of network and images."""
        return self.classifier.device

    @torch.no_grad()
    def forward(
        self, images: Float[Tensor, "batch *shape"], rows: Sequence[int] | None = None
    ) -> Float[Tensor, "batch {self.num_classes}"]:
        """Return the fractions s.

        Args:
            images: in [0, 1], on the device of the network.
            rows: positions of the images in `indices`; None: all of them.

        Raises:
            InvalidInputError: the numbers of images and of indices differ.
            ClassifierError: the network failed, or returned an invalid label for a copy.
        """
        keys = self._rows(len(images), rows)
        size = self.classifier.runner.batch_size or self.batch_size or default_batch_size(images.shape[1:], self.device)
        together = max(1, size // self.noisy.eot_samples)
        call = self.noisy.calls
        shares = [images.new_empty(0, self.num_classes, dtype=torch.float32)]
        for first in range(0, len(images), together):
            self.noisy.calls = call  # the parts are one call
            part = slice(first, first + together)
            # a copy where there is no noise: a network may change what it is given
            labels = self._labels(self.noisy(images[part].clone(), keys[part]), size)
            counts = nn.functional.one_hot(labels.view(-1, self.noisy.eot_samples), self.num_classes).sum(1)
            shares.append(counts.float() / self.noisy.eot_samples)
        return torch.cat(shares)

    def _rows(self, images: int, rows: Sequence[int] | None) -> Sequence[int]:
        known = images if self.noisy.indices is None else len(self.noisy.indices)
        chosen = range(known) if rows is None else rows
        if len(chosen) != images:
            raise InvalidInputError(
                "images",
                required=f"{len(chosen)}, one for each index",
                got=images,
                remedy="Leave indices out where a library calls with parts of a batch, or name the rows.",
            )
        return chosen

    def _labels(self, noisy: Float[Tensor, "rows *shape"], size: int) -> Int[Tensor, " rows"]:
        """Classify in batches of at most `size` rows, padded if the network has a fixed batch size."""
        found = [self._classify(part, size) for part in torch.split(noisy, size)]
        labels = torch.cat(found).to(noisy.device)
        invalid = int((labels == INVALID).sum())
        if invalid:
            raise ClassifierError(
                "the classifier's output",
                required=f"scores without NaN, or labels from 0 to {self.num_classes - 1}, for every noisy image",
                got=f"{invalid} of {len(labels)} without",
                remedy="Pixels leave [0, 1] once noise is added: the classifier must bear any finite input.",
            )
        return labels

    def _classify(self, part: Float[Tensor, "rows *shape"], size: int) -> Int[Tensor, " rows"]:
        whole = filled_up(part, size) if self.classifier.runner.batch_size else part
        return self.classifier(whole)[: len(part)]
