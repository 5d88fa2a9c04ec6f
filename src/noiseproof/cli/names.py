"""Names on the command line -> objects. The names are plain, so that help texts need no torch."""

from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from noiseproof.bounds import Bound
    from noiseproof.certificates import Certificate
    from noiseproof.objectives import Objective

__all__ = [
    "BoundName",
    "CertificateName",
    "DataName",
    "ModelName",
    "ObjectiveName",
    "bound",
    "certificate",
    "device",
    "objective",
]


class DataName(StrEnum):
    """Data sets."""

    digits = "digits"


class ModelName(StrEnum):
    """Networks."""

    digits_cnn = "digits-cnn"
    paper_mnist = "paper-mnist"


class ObjectiveName(StrEnum):
    """Training objectives."""

    stability = "stability"
    gaussian = "gaussian"
    natural = "natural"


class BoundName(StrEnum):
    """Confidence statements."""

    two_phase = "two-phase"
    bonferroni = "bonferroni"


class CertificateName(StrEnum):
    """Certificates."""

    neyman_pearson = "neyman-pearson"
    renyi = "renyi"


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
    from noiseproof.bounds import Bonferroni, TwoPhase

    return TwoPhase(selection_samples=selection_samples) if name is BoundName.two_phase else Bonferroni()


def certificate(name: CertificateName) -> "Certificate":
    """Build a certificate."""
    from noiseproof.certificates import NeymanPearson, Renyi

    return NeymanPearson() if name is CertificateName.neyman_pearson else Renyi()


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
