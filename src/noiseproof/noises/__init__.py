"""The noises of Algorithm 1, line 3: each samples, and knows how far a shift moves its distribution."""

from collections.abc import Mapping

from noiseproof.errors import InvalidInputError
from noiseproof.noises.base import Noise
from noiseproof.noises.gaussian import Gaussian
from noiseproof.noises.laplace import Laplace
from noiseproof.noises.uniform import Uniform

__all__ = ["Gaussian", "Laplace", "Noise", "Uniform", "from_spec"]

_BY_NAME: dict[str, type[Noise]] = {noise.__name__.lower(): noise for noise in (Gaussian, Laplace, Uniform)}


def from_spec(spec: Mapping[str, object]) -> Noise:
    """Rebuild a noise from `Noise.spec()`.

    Raises:
        InvalidInputError: the name or its parameters are not those of a noise of this version.
    """
    name, parameters = spec.get("name"), {key: value for key, value in spec.items() if key != "name"}
    try:
        return _BY_NAME[str(name)](**parameters)
    except (KeyError, TypeError) as error:
        raise InvalidInputError(
            "noise",
            required=f"one of {', '.join(_BY_NAME)} with its own parameters",
            got=dict(spec),
            remedy="A newer noiseproof may have written it.",
        ) from error
