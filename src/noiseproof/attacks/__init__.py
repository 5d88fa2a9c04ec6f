"""Attacks on smoothed classifiers, by expectation over noise (the paper, section 6.2 and appendix D)."""

from typing import TYPE_CHECKING, Any

from noiseproof.attacks.registry import ATTACKS

if TYPE_CHECKING:
    from noiseproof.attacks.auto_pgd import AutoPGD as AutoPGD
    from noiseproof.attacks.auto_pgd import RandomisedAutoAttack as RandomisedAutoAttack
    from noiseproof.attacks.base import Attack as Attack
    from noiseproof.attacks.batch import Batch as Batch
    from noiseproof.attacks.batch import Finder as Finder
    from noiseproof.attacks.boundary import BoundaryAttack as BoundaryAttack
    from noiseproof.attacks.carlini_wagner import CarliniWagner as CarliniWagner
    from noiseproof.attacks.defence import Defence as Defence
    from noiseproof.attacks.escalation import AttackResult as AttackResult
    from noiseproof.attacks.expectation import AttackLoss as AttackLoss
    from noiseproof.attacks.expectation import Expectation as Expectation
    from noiseproof.attacks.expectation import View as View
    from noiseproof.attacks.expectation import attack_loss as attack_loss
    from noiseproof.attacks.hop_skip_jump import HopSkipJump as HopSkipJump
    from noiseproof.attacks.nearest import NearestAttack as NearestAttack
    from noiseproof.attacks.pgd import PGD as PGD
    from noiseproof.attacks.random_search import RandomSearch as RandomSearch
    from noiseproof.attacks.transfer import Transfer as Transfer
    from noiseproof.attacks.votes import Votes as Votes

__all__ = list(ATTACKS.exports)


if not TYPE_CHECKING:  # type checkers know the names by the imports above, and reject others

    def __getattr__(name: str) -> Any:
        return ATTACKS.export(name)


def __dir__() -> list[str]:
    return sorted(__all__)
