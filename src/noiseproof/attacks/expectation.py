"""The smoothed classifier as a differentiable module: expectation over noise (section 6.2; Athalye et al. 2018)."""

import math
from collections.abc import Callable, Sequence
from typing import Literal, TypeVar, get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from noiseproof.attacks.copies import NoisyCopies
from noiseproof.attacks.registry import gradient_free
from noiseproof.classifiers import accelerate
from noiseproof.classifiers.batching import BatchSize, default_batch_size
from noiseproof.classifiers.runners import Runner, memory_named
from noiseproof.errors import ClassifierError, InvalidInputError, OutOfMemoryError
from noiseproof.noises import Noise

__all__ = ["AttackLoss", "Expectation", "View", "attack_loss", "differentiable", "margin"]

View = Literal["log_mean", "mean"]
"""log_mean: log((F(x + z_1) + .. + F(x + z_m)) / m). mean: (log F(x + z_1) + .. + log F(x + z_m)) / m."""

AttackLoss = Literal["log_mean", "mean", "margin"]
"""The loss that an attack maximises, see `attack_loss`."""

ResultT = TypeVar("ResultT")

_SATURATED = 1e-6
"""Value of -log F_y below which float32 leaves F_y - 1 one digit at most; below 6e-8 its gradient is 0."""


class Expectation(nn.Module):
    """A smoothed classifier as a differentiable function from images to class scores, estimated by m noise samples.

    With F = softmax f and z_i fresh noise, the scores of a view are

        log_mean   s_c = log (1/m) sum_i F_c(x + z_i)     log-probabilities; their cross-entropy is -log mean F_y, the
                                                          loss of the smoothed classifier
        mean       s_c = (1/m) sum_i log F_c(x + z_i)     -s_y is the loss averaged in the paper; a library that
                                                          normalises s again adds log sum_c exp s_c <= 0 to it

    Every call draws fresh noise, or, if `fixed`, uses the same noise: then it is a deterministic function, as required
    by attacks that compare its values (line search, bisection). The noise is a function of (seed, index, call), does not
    depend on the other images of a batch, and is independent of the noise of certification and evaluation.

    There are gradients for images only: the network is copied, frozen and in evaluation mode. If there are more rows
    than `batch_size`, the network runs on parts, which the backward pass computes again (gradient checkpointing). If
    memory runs out, the parts are halved, in the backward pass by `fitting`. A gradient that is not finite is an error,
    since the attack would fail and the classifier would seem robust.

    Args:
        network: f, a torch module with differentiable scores (batch, classes), or a backend of `classifiers.accelerate`.
        noise: the noise distribution of the defence; None for a classifier without noise, where m is 1.
        eot_samples: m, noisy copies of each image in a call. The paper's n_0.
        view: which scores are returned.
        fixed: whether all calls use the same noise.
        seed: key of the noise.
        indices: the key of each image; None numbers the rows of a call from 0.
        batch_size: initial number of rows per forward pass; None chooses it by image size.

    Raises:
        InvalidInputError: an unknown view, a network without gradients, or as `NoisyCopies`.
        ClassifierError: when called, the network failed; in the backward pass, its gradient is NaN or infinite.

    Example:
        >>> from noiseproof.noises import Gaussian
        >>> network = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
        >>> smoothed = Expectation(network, Gaussian(sigma=0.25), eot_samples=8)
        >>> smoothed(torch.full((1, 1, 2, 2), 0.5)).shape
        torch.Size([1, 2])
    """

    def __init__(
        self,
        network: nn.Module | Runner,
        noise: Noise | None,
        *,
        eot_samples: int = 16,
        view: View | str = "log_mean",
        fixed: bool = False,
        seed: int = 0,
        indices: Sequence[int] | None = None,
        batch_size: int | None = None,
    ) -> None:
        super().__init__()
        if view not in get_args(View):
            raise InvalidInputError(
                "view", required=" or ".join(map(repr, get_args(View))), got=repr(view), remedy="Choose one."
            )
        self.runner = differentiable(network)
        self.module = self.runner.module  # so that libraries find its device
        self.view = view
        self.batch_size = batch_size
        self._rows = BatchSize(1)  # that went through the network at once in the last call
        self.noisy = NoisyCopies(noise, eot_samples, self.runner.device, seed=seed, indices=indices, fixed=fixed)
        self.eval()

    def train(self, mode: bool = True) -> "Expectation":  # noqa: ARG002
        """Stay in evaluation mode, the mode in which the classifier votes, even if a library calls `train()`."""
        return super().train(mode=False)

    def forward(self, images: Float[Tensor, "batch *shape"]) -> Float[Tensor, "batch classes"]:
        """Return the scores of the view."""
        log_p = self.log_probabilities(images)
        return _log_mean(log_p) if self.view == "log_mean" else log_p.mean(1)

    def log_probabilities(
        self, images: Float[Tensor, "batch *shape"], rows: Sequence[int] | None = None
    ) -> Float[Tensor, "batch samples classes"]:
        """Return log F(x + z_i) for every noise sample.

        Args:
            images: on the device of the network.
            rows: positions of the images in `indices`; None: all of them.

        Raises:
            InvalidInputError: the numbers of images and of indices differ.
            ClassifierError: the network failed, or its output is not scores or has no gradient.
            OutOfMemoryError: memory is too small for one row.
        """
        noisy = self.noisy(images, rows)
        if noisy is images:
            noisy = images.clone()  # without noise: a network may change what it is given
        if noisy.requires_grad and torch.is_grad_enabled():
            noisy.register_hook(_require_finite)  # type: ignore[no-untyped-call]
        log_p = self._scores(noisy).log_softmax(-1)
        return log_p.view(len(images), self.noisy.eot_samples, log_p.shape[1])

    def fitting(self, work: Callable[[], ResultT], what: str) -> ResultT:
        """Return work(), a forward and backward pass; if memory runs out, repeat it with half as many rows at a time.

        A forward pass alone is repeated by the module itself. A backward pass can only be repeated together with its
        forward pass, so the caller passes both as `work`. The result does not depend on the number of rows, up to
        rounding, if `work` uses the same noise each time (`fixed`, or `noisy.calls` set again).

        Args:
            work: the forward and backward pass; it may be called several times.
            what: its description, for the error message.

        Raises:
            OutOfMemoryError: memory is too small for one row.
        """
        while True:
            try:
                with memory_named(what):
                    return work()
            except OutOfMemoryError as error:
                self._rows.halve(error)

    def _scores(self, noisy: Float[Tensor, "rows *shape"]) -> Float[Tensor, "rows classes"]:
        size = self.batch_size or default_batch_size(noisy.shape[1:], noisy.device)
        self._rows = BatchSize(max(1, min(size, len(noisy))), told=self._keep_batch_size)
        while True:
            size = self._rows.images
            try:
                parts = [self._part(part, again=len(noisy) > size) for part in torch.split(noisy, size)]
            except OutOfMemoryError as error:
                self._rows.halve(error)
            else:
                return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _keep_batch_size(self, rows: int) -> None:
        """Use this number of rows per forward pass in later calls too."""
        self.batch_size = rows

    def _part(self, noisy: Float[Tensor, "rows *shape"], *, again: bool) -> Float[Tensor, "rows classes"]:
        """Run the network; with `again` the backward pass repeats it instead of storing activations (checkpointing)."""
        able, remedy = (
            f"able to take a float32 batch of shape {tuple(noisy.shape)}",
            "Is it the network of these images?",
        )
        batch = f"a batch of {len(noisy)} images of shape {tuple(noisy.shape[1:])}"
        with ClassifierError.instead_of(Exception, "the network", required=able, remedy=remedy), memory_named(batch):
            if again and noisy.requires_grad and torch.is_grad_enabled():
                output = checkpoint(lambda part: self.runner(_laid(part)), noisy, use_reentrant=False)
            else:
                output = self.runner(_laid(noisy))
        return _checked(output, noisy)


def differentiable(network: nn.Module | Runner) -> Runner:
    """Return a network as a backend with gradients: a frozen copy of a module in evaluation mode, or a backend as it is.

    Raises:
        InvalidInputError: the network is no torch module, or a compiled backend: it has no gradients.
    """
    if isinstance(network, nn.Module):
        return accelerate(network)
    if network.module is not None and not getattr(network, "compiled", False):
        return network
    raise InvalidInputError(
        "the classifier",
        required="a torch module, for an attack that follows gradients",
        got=f"{type(network).__name__}, which has none",
        remedy=_without_gradients(),
    )


def _without_gradients() -> str:
    """Return the remedy for a classifier without gradients."""
    return (
        f"Take an attack that needs no gradients: {', '.join(gradient_free())}. Or attack a network that has some, and try on "
        "this classifier what was found: source=, as attacks.Transfer does."
    )


def margin(scores: Float[Tensor, "batch classes"], labels: Int[Tensor, " batch"]) -> Float[Tensor, " batch"]:
    """Return max_{c != y} s_c - s_y: positive where a class other than the label has the largest score."""
    own = nn.functional.one_hot(labels, scores.shape[1]).bool()
    return scores.masked_fill(own, -torch.inf).amax(1) - scores.gather(1, labels[:, None])[:, 0]


def attack_loss(
    log_p: Float[Tensor, "batch samples classes"], labels: Int[Tensor, " batch"], loss: AttackLoss
) -> Float[Tensor, " batch"]:
    """Return the loss of each image, which an attack maximises, from log F(x + z_i):

        log_mean   -log (1/m) sum_i F_y(x + z_i)          the smoothed classifier's (Salman et al. 2019)
        mean       -(1/m) sum_i log F_y(x + z_i)          the paper's, section 6.2: the loss averaged over samples
        margin     max_{c != y} s_c - s_y                 with s_c = log (1/m) sum_i F_c(x + z_i)

    The gradient of `log_mean` weights the gradient of log F_y of each sample by F_y, so that misclassified samples have
    little weight. In `mean` all samples have equal weight, and the misclassified ones, with large gradients, dominate.
    `margin` does not saturate.

    A confident network has F_y = 1 in float32 and a gradient of 0, as if it were robust. Therefore

        where log_mean or mean is below 1e-6, the margin replaces it; it is about log 1e-6 or less, so the order is kept;
        where F_y is 0 or 1 in every sample, log_mean and margin keep their values but have the gradient of the average
        over samples of max_{c != y} log F_c - log F_y.
    """  # noqa: D415 - the formula follows
    scores = _log_mean(log_p)
    apart = margin(scores, labels)
    if loss == "mean":
        value = -log_p.mean(1).gather(1, labels[:, None])[:, 0]
    else:
        value = _sloped(apart if loss == "margin" else -scores.gather(1, labels[:, None])[:, 0], log_p, labels)
    return value if loss == "margin" else torch.where(value < _SATURATED, apart, value)


def _sloped(
    values: Float[Tensor, " batch"], log_p: Float[Tensor, "batch samples classes"], labels: Int[Tensor, " batch"]
) -> Float[Tensor, " batch"]:
    """Return the values, with another gradient where F_y is nearly 0 in some samples and nearly 1 in all others.

    The derivative of -log mean F_y by all scores of y together is -sum_i w_i (1 - F_y,i) with w_i = F_y,i / sum_j F_y,j.
    """
    eot_samples = log_p.shape[1]
    own = log_p.detach().gather(2, labels.view(-1, 1, 1).expand(-1, eot_samples, 1))[:, :, 0]
    slope = (own.softmax(1) * -own.expm1()).sum(1)
    flat = (slope < _SATURATED) & (own.amin(1) < -1.0)
    each = margin(_finite(log_p).flatten(0, 1), labels.repeat_interleave(eot_samples)).view(-1, eot_samples).mean(1)
    return torch.where(flat, values.detach() + (each - each.detach()), values)


def _log_mean(log_p: Float[Tensor, "batch samples classes"]) -> Float[Tensor, "batch classes"]:
    return _finite(log_p).logsumexp(1) - math.log(log_p.shape[1])


def _finite(log_p: Float[Tensor, "batch samples classes"]) -> Float[Tensor, "batch samples classes"]:
    """Replace log-probabilities of -inf by the smallest finite number: the gradient is 0 instead of NaN in logsumexp."""
    return log_p.clamp(min=torch.finfo(log_p.dtype).min)


def _laid(batch: Tensor) -> Tensor:
    return batch.contiguous(memory_format=torch.channels_last) if batch.ndim == 4 else batch


def _checked(output: object, noisy: Tensor) -> Float[Tensor, "rows classes"]:
    scores = isinstance(output, Tensor) and output.ndim == 2 and output.is_floating_point()
    if not isinstance(output, Tensor) or not scores or len(output) != len(noisy):
        raise ClassifierError(
            "the network's output",
            required=f"float scores ({len(noisy)}, classes)",
            got=f"{output.dtype} of shape {tuple(output.shape)}"
            if isinstance(output, Tensor)
            else type(output).__name__,
            remedy=f"Attacks that follow gradients need scores. {_without_gradients()}",
        )
    if noisy.requires_grad and torch.is_grad_enabled() and not output.requires_grad:
        raise ClassifierError(
            "the network's output",
            required="differentiable by its input",
            got="scores without a gradient",
            remedy=f"Is there a detach, a rounding or inference mode inside? {_without_gradients()}",
        )
    return output


def _require_finite(gradient: Float[Tensor, "rows *shape"]) -> None:
    wrong = int((~gradient.isfinite()).flatten(1).any(1).sum())
    if wrong:
        raise ClassifierError(
            "the gradient of the classifier",
            required="finite for every noisy image, or attacks stand still and the classifier passes for robust",
            got=f"NaN or infinity for {wrong} of {len(gradient)}",
            remedy="Is there a square root or a norm of 0, or a score beyond the range of its type? Add a small constant "
            "inside, take float32, or take an attack on decisions.",
        )
