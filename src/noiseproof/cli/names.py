"""Names on the command line -> objects. The names are plain, so that help texts need no torch."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

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
    """Build a training objective with its published settings, but for the changes: "weight=2".

    Raises:
        InvalidInputError: a change that is no NAME=VALUE of this objective.
    """
    from noiseproof import objectives as o

    builders: dict[ObjectiveName, type[Objective]] = {
        ObjectiveName.stability: o.Stability,
        ObjectiveName.gaussian: o.GaussianAugmentation,
        ObjectiveName.natural: o.Natural,
        ObjectiveName.consistency: o.Consistency,
        ObjectiveName.smooth_adv: o.SmoothAdv,
        ObjectiveName.macer: o.MACER,
        ObjectiveName.adversarial: o.Adversarial,
        ObjectiveName.trades: o.TRADES,
        ObjectiveName.logit_pairing: o.AdversarialLogitPairing,
        ObjectiveName.convex_outer: o.ConvexOuter,
    }
    return replace(builders[name](), **_parse_changes(builders[name](), changes))  # type: ignore[type-var]


def attack(name: AttackName, changes: Sequence[str] = ()) -> "Attack":
    """Build an attack with its default settings, but for the changes: "draws=64".

    Raises:
        InvalidInputError: a change that is no NAME=VALUE of this attack.
    """
    from noiseproof import attacks as a

    builders: dict[AttackName, type[Attack]] = {
        AttackName.pgd: a.PGD,
        AttackName.auto_pgd: a.AutoPGD,
        AttackName.auto_attack: a.RandomisedAutoAttack,
        AttackName.carlini_wagner: a.CarliniWagner,
        AttackName.boundary: a.BoundaryAttack,
        AttackName.hop_skip_jump: a.HopSkipJump,
        AttackName.random: a.RandomSearch,
    }
    return replace(builders[name](), **_parse_changes(builders[name](), changes))  # type: ignore[type-var]


def _parse_changes(settings: "Objective | Attack", changes: Sequence[str]) -> dict[str, str | float | int | None]:
    from noiseproof.errors import InvalidInputError

    known = {key: value for key, value in settings.spec().items() if key != "name"}
    parsed: dict[str, str | float | int | None] = {}
    for change in changes:
        key, sign, text = change.partition("=")
        if not sign or key not in known:
            raise InvalidInputError(
                "--set",
                required=f"NAME=VALUE with a setting of {type(settings).__name__}",
                got=repr(change),
                remedy="It has " + (", ".join(f"{name}={value}" for name, value in known.items()) or "none") + ".",
            )
        parsed[key] = _parse(key, text, known[key])
    return parsed


def _parse(name: str, text: str, usual: object) -> str | float | int:
    """Read a setting as what it usually is: a text, a whole number, or a number."""
    from noiseproof.errors import InvalidInputError

    if isinstance(usual, str):
        return text
    if isinstance(usual, bool):
        if text.lower() in {"true", "false"}:
            return text.lower() == "true"
        raise InvalidInputError(name, required="true or false", got=repr(text), remedy=f"Usual: {usual}.")
    kind = int if isinstance(usual, int) else float
    try:
        return kind(text)
    except ValueError as error:
        required = "a whole number" if kind is int else "a number"
        raise InvalidInputError(name, required=required, got=repr(text), remedy=f"Usual: {usual}.") from error


def bound(name: BoundName, selection_samples: int) -> "Bound":
    """Build a bound; only two-phase has selection samples."""
    from noiseproof.bounds import Bonferroni, SinglePhase, TwoPhase, WinnerRunnerUp

    builders: dict[BoundName, Callable[[], Bound]] = {
        BoundName.two_phase: lambda: TwoPhase(selection_samples=selection_samples),
        BoundName.single_phase: SinglePhase,
        BoundName.winner_runner_up: WinnerRunnerUp,
        BoundName.bonferroni: Bonferroni,
    }
    return builders[name]()


def certificate(name: CertificateName) -> "Certificate":
    """Build a certificate."""
    from noiseproof import certificates as c

    builders: dict[CertificateName, Callable[[], Certificate]] = {
        CertificateName.neyman_pearson: c.NeymanPearson,
        CertificateName.renyi: c.Renyi,
        CertificateName.theorem3: c.Theorem3,
        CertificateName.teng: c.Teng,
        CertificateName.pixeldp: c.PixelDP,
        CertificateName.pixeldp_analytic: c.AnalyticPixelDP,
        CertificateName.kl: lambda: c.FDivergence(c.KullbackLeibler()),
        CertificateName.chi_squared: lambda: c.FDivergence(c.ChiSquared()),
        CertificateName.hellinger: lambda: c.FDivergence(c.Hellinger()),
        CertificateName.total_variation: lambda: c.FDivergence(c.TotalVariation()),
    }
    return builders[name]()


def noise(name: NoiseName, scale: float) -> "Noise":
    """Build a noise with its one parameter."""
    from noiseproof.noises import Gaussian, Laplace, Uniform

    builders: dict[NoiseName, Callable[[float], Noise]] = {
        NoiseName.gaussian: Gaussian,
        NoiseName.laplace: Laplace,
        NoiseName.uniform: Uniform,
    }
    return builders[name](scale)


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
    import torch

    from noiseproof.errors import InvalidInputError

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(name)
        torch.empty(1, device=chosen)
    except (RuntimeError, AssertionError) as error:
        raise InvalidInputError(
            "--device", required="auto, cpu, cuda or cuda:N on this machine", got=repr(name), remedy="Use --device cpu."
        ) from error
    return chosen
