"""Names on the command line -> objects. The names are plain, so that help texts need no torch."""

from collections.abc import Callable
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from noiseproof.bounds import Bound
    from noiseproof.certificates import Certificate
    from noiseproof.noises import Noise
    from noiseproof.objectives import Objective

__all__ = [
    "BoundName",
    "CertificateName",
    "DataName",
    "ModelName",
    "NoiseName",
    "ObjectiveName",
    "bound",
    "certificate",
    "device",
    "noise",
    "objective",
]


class DataName(StrEnum):
    """Data sets."""

    digits = "digits"


class ModelName(StrEnum):
    """Networks."""

    digits_cnn = "digits-cnn"
    paper_mnist = "paper-mnist"
    paper_cifar = "paper-cifar"


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


class BoundName(StrEnum):
    """Confidence statements."""

    two_phase = "two-phase"
    single_phase = "single-phase"
    winner_runner_up = "winner-runner-up"
    bonferroni = "bonferroni"
    sison_glaz = "sison-glaz"


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


def objective(name: ObjectiveName, weight: float) -> "Objective":
    """Build a training objective."""
    from noiseproof.objectives import GaussianAugmentation, Natural, Stability

    builders = {
        ObjectiveName.stability: lambda: Stability(weight=weight),
        ObjectiveName.gaussian: GaussianAugmentation,
        ObjectiveName.natural: Natural,
    }
    return builders[name]()


def bound(name: BoundName, selection_samples: int) -> "Bound":
    """Build a bound; only two-phase has selection samples."""
    from noiseproof.bounds import Bonferroni, SinglePhase, SisonGlaz, TwoPhase, WinnerRunnerUp

    builders: dict[BoundName, Callable[[], Bound]] = {
        BoundName.two_phase: lambda: TwoPhase(selection_samples=selection_samples),
        BoundName.single_phase: SinglePhase,
        BoundName.winner_runner_up: WinnerRunnerUp,
        BoundName.bonferroni: Bonferroni,
        BoundName.sison_glaz: SisonGlaz,
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
