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
"""What an attack ascends, see `attack_loss`."""

ResultT = TypeVar("ResultT")

_SATURATED = 1e-6
"""Of a loss -log F_y, where float32 leaves F_y - 1 one digit; its gradient is 0 from 6e-8 on."""


class Expectation(nn.Module):
    """A smoothed classifier as attackers see it: images to class scores, by m samples of the defence's own noise.

    With F = softmax f and z_i fresh noise, the scores of a view are

        log_mean   s_c = log (1/m) sum_i F_c(x + z_i)     logarithms of a distribution: cross-entropy of s is the loss
                                                          -log mean F_y, whose optimum is that of the smoothed classifier
        mean       s_c = (1/m) sum_i log F_c(x + z_i)     -s_y is the loss that the paper averages; a library that
                                                          normalises s again adds log sum_c exp s_c <= 0 to it

    Every call draws fresh noise, or, if `fixed`, uses the same again: then it is a deterministic function, which attacks
    that compare its values need (line searches, binary searches). Noise is keyed by (seed, index, call): an image's
    noise does not depend on the other images of its batch. It is never the noise that certifies or judges.

    Gradients are of the images alone: weights are copied and frozen, in evaluation mode. More rows than `batch_size` go
    through the network in parts that are computed again on the way back, in bounded memory; parts that do not fit are
    halved, on the way back by `fitting`. A gradient that is not finite is an error: an attack that it does not lead
    anywhere would call the classifier robust.

    Args:
        network: f, a torch module with differentiable scores (batch, classes), or one that `classifiers.accelerate` made.
        noise: the defence's, or None for a classifier without noise, whose m is 1.
        eot_samples: m, noisy copies of each image in a call. The paper's n_0.
        view: which scores.
        fixed: whether calls share their noise.
        seed: key of the noise.
        indices: the key of each image; None numbers the rows of a call from 0.
        batch_size: rows that go through the network at once, at first; None chooses by image size.

    Raises:
        InvalidInputError: an unknown view, a network that is no torch module, or as `NoisyCopies`.
        ClassifierError: when called, the network failed; on the way back, its gradient is NaN or infinite.

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
        """Stay in evaluation mode, whatever a library asks for: what is attacked is the classifier that votes."""
        return super().train(mode=False)

    def forward(self, images: Float[Tensor, "batch *shape"]) -> Float[Tensor, "batch classes"]:
        """Return the scores of the view."""
        log_p = self.log_probabilities(images)
        return _log_mean(log_p) if self.view == "log_mean" else log_p.mean(1)

    def log_probabilities(
        self, images: Float[Tensor, "batch *shape"], rows: Sequence[int] | None = None
    ) -> Float[Tensor, "batch samples classes"]:
        """Return log F(x + z_i) of every draw.

        Args:
            images: on the device of the network.
            rows: which of the indices the images are; None: all of them.

        Raises:
            InvalidInputError: another number of images than of indices.
            ClassifierError: the network failed, or its output is no scores, or has no gradient.
            OutOfMemoryError: not even one row fits.
        """
        noisy = self.noisy(images, rows)
        if noisy is images:
            noisy = images.clone()  # without noise: a network may change what it is given
        if noisy.requires_grad and torch.is_grad_enabled():
            noisy.register_hook(_require_finite)  # type: ignore[no-untyped-call]
        log_p = self._scores(noisy).log_softmax(-1)
        return log_p.view(len(images), self.noisy.eot_samples, log_p.shape[1])

    def fitting(self, work: Callable[[], ResultT], what: str) -> ResultT:
        """Return work(), which goes through this module and back; once more by half the rows where memory runs out.

        A call halves its own rows; on the way back there is no call to repeat, so whoever has to go back says what is.
        Rows are parts of one sum, and noise does not depend on them: the result is the same, up to the network's
        rounding, if `work` draws the same noise again (`fixed`, or `noisy.calls` set anew).

        Args:
            work: what is done, from where it can be done again.
            what: its name, for the error.

        Raises:
            OutOfMemoryError: not even one row fits.
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
        """Let so many rows go through the network at once in later calls, too."""
        self.batch_size = rows

    def _part(self, noisy: Float[Tensor, "rows *shape"], *, again: bool) -> Float[Tensor, "rows classes"]:
        """Run the network; `again` has it run once more on the way back, instead of keeping what that needs."""
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
    """Return a network as a backend with gradients: a frozen copy in evaluation mode, laid out for speed.

    Raises:
        InvalidInputError: it has no gradients.
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
    """What to do where there are no gradients."""
    return (
        f"Take an attack that needs no gradients: {', '.join(gradient_free())}. Or attack a network that has some, and try on "
        "this classifier what was found: source=, as attacks.Transfer does."
    )


def margin(scores: Float[Tensor, "batch classes"], labels: Int[Tensor, " batch"]) -> Float[Tensor, " batch"]:
    """Return max_{c != y} s_c - s_y: positive where another class than the label wins."""
    own = nn.functional.one_hot(labels, scores.shape[1]).bool()
    return scores.masked_fill(own, -torch.inf).amax(1) - scores.gather(1, labels[:, None])[:, 0]


def attack_loss(
    log_p: Float[Tensor, "batch samples classes"], labels: Int[Tensor, " batch"], loss: AttackLoss
) -> Float[Tensor, " batch"]:
    """Return what to ascend for each image, of log F(x + z_i):

        log_mean   -log (1/m) sum_i F_y(x + z_i)          of the smoothed classifier (Salman et al. 2019)
        mean       -(1/m) sum_i log F_y(x + z_i)          the paper's, section 6.2: the loss averaged over samples
        margin     max_{c != y} s_c - s_y                 with s_c = log (1/m) sum_i F_c(x + z_i)

    The gradient of `log_mean` weighs that of each sample's log F_y by F_y: samples that are wrong already hardly count.
    In `mean` all count alike, so the wrong ones, whose gradients are long, dominate. `margin` never saturates.

    Networks that are sure of themselves have F_y = 1 in float32, and a gradient of 0, as if they were robust. So

        where log_mean or mean is below 1e-6, it is the margin, which is less than log 1e-6 there: the order is kept;
        where F_y is 0 or 1 in every sample, log_mean and margin keep their values, but have the gradient of the average
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
    """Return the values, with another slope where some samples are wrong, the others right, and none is in between.

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
    """Let classes that a network rules out by scores of -inf have no slope, where logsumexp would have NaN."""
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
