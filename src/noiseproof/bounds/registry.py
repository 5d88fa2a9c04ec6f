"""Every bound by name."""

from typing import TYPE_CHECKING

from noiseproof.plugins import Registry

if TYPE_CHECKING:
    from noiseproof.bounds.base import Bound

__all__ = ["BOUNDS"]

BOUNDS: "Registry[Bound]" = Registry(
    "bound",
    "noiseproof.bounds",
    {
        "two-phase": "two_phase:TwoPhase",
        "single-phase": "single_phase:SinglePhase",
        "winner-runner-up": "winner_runner_up:WinnerRunnerUp",
        "bonferroni": "bonferroni:Bonferroni",
    },
    base="base:Bound",
    exports=(
        "base:Interval",
        "base:clopper_pearson_lower",
        "base:clopper_pearson_upper",
        "base:rank_p_value",
        "rank_test:rank_verified",
        "rank_test:votes_to_verify",
    ),
)
