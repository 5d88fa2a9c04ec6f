"""Names on the command line -> objects. The names are plain, so that help texts need no torch."""

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from noiseproof.attacks.registry import ATTACKS
from noiseproof.bounds.registry import BOUNDS
from noiseproof.certificates.registry import CERTIFICATES
from noiseproof.noises.registry import NOISES
from noiseproof.objectives.registry import OBJECTIVES
from noiseproof.plugins import changed

if TYPE_CHECKING:
    import torch

    from noiseproof.attacks import Attack
    from noiseproof.bounds import Bound
    from noiseproof.certificates import Certificate
    from noiseproof.models import Checkpoint
    from noiseproof.noises import Noise
    from noiseproof.objectives import Objective

__all__ = [
    "AttackName",
    "BoundName",
    "CertificateName",
    "ModelName",
    "NoiseName",
    "NormName",
    "ObjectiveName",
    "attack",
    "bound",
    "certificate",
    "checkpoint",
    "device",
    "noise",
    "objective",
]


class ModelName(StrEnum):
    """Networks."""

    digits_cnn = "digits-cnn"
    paper_mnist = "paper-mnist"
    paper_cifar = "paper-cifar"
    small_cnn = "small-cnn"
    lenet = "lenet"
    lenet_wide = "lenet-wide"
    kw_mnist_small = "kw-mnist-small"
    kw_mnist_large = "kw-mnist-large"
    kw_cifar_small = "kw-cifar-small"
    kw_cifar_large = "kw-cifar-large"
    cifar_resnet20 = "cifar-resnet20"
    cifar_resnet110 = "cifar-resnet110"
    resnet50 = "resnet50"


class NoiseName(StrEnum):
    """Noises."""

    gaussian = "gaussian"
    laplace = "laplace"
    uniform = "uniform"


class ObjectiveName(StrEnum):
    """Training objectives."""

    stability = "stability"
    gaussian = "gaussian"
    natural = "natural"
    consistency = "consistency"
    smooth_adv = "smooth-adv"
    macer = "macer"
    adversarial = "adversarial"
    trades = "trades"
    logit_pairing = "logit-pairing"
    convex_outer = "convex-outer"


class AttackName(StrEnum):
    """Attacks."""

    pgd = "pgd"
    auto_pgd = "auto-pgd"
    auto_attack = "auto-attack"
    carlini_wagner = "carlini-wagner"
    boundary = "boundary"
    hop_skip_jump = "hop-skip-jump"
    random = "random"


class NormName(StrEnum):
    """Norms in which an attack measures its size."""

    l2 = "l2"
    linf = "linf"
    l1 = "l1"


class BoundName(StrEnum):
    """Confidence statements."""

    two_phase = "two-phase"
    single_phase = "single-phase"
    winner_runner_up = "winner-runner-up"
    bonferroni = "bonferroni"


class CertificateName(StrEnum):
    """Certificates."""

    neyman_pearson = "neyman-pearson"
    renyi = "renyi"
    theorem3 = "theorem3"
    teng = "teng"
    pixeldp = "pixeldp"
    pixeldp_analytic = "pixeldp-analytic"
    kl = "kl"
    chi_squared = "chi-squared"
    hellinger = "hellinger"
    total_variation = "total-variation"


def objective(name: ObjectiveName, changes: Sequence[str] = ()) -> "Objective":
    """Make a training objective with its published settings, but for the changes: "weight=2"."""
    return changed(OBJECTIVES.make(name), changes)


def attack(name: AttackName, changes: Sequence[str] = ()) -> "Attack":
    """Make an attack with its default settings, but for the changes: "eot_samples=64"."""
    return changed(ATTACKS.make(name), changes)


def bound(name: BoundName, selection_samples: int) -> "Bound":
    """Make a bound; only two-phase has selection samples."""
    return BOUNDS.make(name, **({"selection_samples": selection_samples} if name == BoundName.two_phase else {}))


def certificate(name: CertificateName) -> "Certificate":
    """Make a certificate."""
    return CERTIFICATES.make(name)


def noise(name: NoiseName, scale: float) -> "Noise":
    """Make a noise with its one parameter."""
    return NOISES[name](scale)


def checkpoint(place: str) -> "Checkpoint":
    """Load a network of ours: a run folder, a checkpoint, or zoo:NAME."""
    from noiseproof.models import fetch, load_checkpoint
    from noiseproof.training import CHECKPOINT

    path = fetch(place.removeprefix("zoo:")) if place.startswith("zoo:") else Path(place)
    return load_checkpoint(path / CHECKPOINT if path.is_dir() else path)


def device(name: str) -> "torch.device":
    """Return the named device; "auto" is the first GPU, or else the CPU.

    Raises:
        InvalidInputError: torch does not know the name, or the machine lacks the device.
    """
    from noiseproof.runs.running import device_named

    return device_named(name)
