"""Confidence bounds: from votes to (prediction, p1_lower, p2_upper), Algorithm 1 line 5."""

from typing import TYPE_CHECKING, Any

from noiseproof.bounds.registry import BOUNDS

if TYPE_CHECKING:
    from noiseproof.bounds.base import Bound as Bound
    from noiseproof.bounds.base import Interval as Interval
    from noiseproof.bounds.base import clopper_pearson_lower as clopper_pearson_lower
    from noiseproof.bounds.base import clopper_pearson_upper as clopper_pearson_upper
    from noiseproof.bounds.base import rank_p_value as rank_p_value
    from noiseproof.bounds.bonferroni import Bonferroni as Bonferroni
    from noiseproof.bounds.rank_test import rank_verified as rank_verified
    from noiseproof.bounds.rank_test import votes_to_verify as votes_to_verify
    from noiseproof.bounds.single_phase import SinglePhase as SinglePhase
    from noiseproof.bounds.two_phase import TwoPhase as TwoPhase
    from noiseproof.bounds.winner_runner_up import WinnerRunnerUp as WinnerRunnerUp

__all__ = list(BOUNDS.exports)


if not TYPE_CHECKING:  # type checkers know the names by the imports above, and reject others

    def __getattr__(name: str) -> Any:
        return BOUNDS.export(name)


def __dir__() -> list[str]:
    return sorted(__all__)
