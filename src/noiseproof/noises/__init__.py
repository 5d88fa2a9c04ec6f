"""The noises of Algorithm 1, line 3: samples, and the divergence that a shift causes."""

from typing import TYPE_CHECKING, Any

from noiseproof.noises.registry import NOISES

if TYPE_CHECKING:
    from noiseproof.noises.base import Noise as Noise
    from noiseproof.noises.gaussian import Gaussian as Gaussian
    from noiseproof.noises.laplace import Laplace as Laplace
    from noiseproof.noises.uniform import Uniform as Uniform

__all__ = list(NOISES.exports)


if not TYPE_CHECKING:  # type checkers know the names by the imports above, and reject others

    def __getattr__(name: str) -> Any:
        return NOISES.export(name)


def __dir__() -> list[str]:
    return sorted(__all__)
