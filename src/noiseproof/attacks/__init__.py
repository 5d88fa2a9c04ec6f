"""Attacks on smoothed classifiers, by expectation over noise (the paper, section 6.2 and appendix D)."""

from noiseproof.attacks.auto_pgd import AutoPGD, RandomisedAutoAttack
from noiseproof.attacks.base import Attack, Batch, Finder, Target
from noiseproof.attacks.boundary import BoundaryAttack
from noiseproof.attacks.carlini_wagner import CarliniWagner
from noiseproof.attacks.expectation import AttackLoss, Expectation, View, attack_loss
from noiseproof.attacks.hop_skip_jump import HopSkipJump
from noiseproof.attacks.nearest import NearestAttack
from noiseproof.attacks.pgd import PGD
from noiseproof.attacks.random_search import RandomSearch
from noiseproof.attacks.transfer import Transfer
from noiseproof.attacks.votes import Votes

__all__ = [
    "PGD",
    "Attack",
    "AttackLoss",
    "AutoPGD",
    "Batch",
    "BoundaryAttack",
    "CarliniWagner",
    "Expectation",
    "Finder",
    "HopSkipJump",
    "NearestAttack",
    "RandomSearch",
    "RandomisedAutoAttack",
    "Target",
    "Transfer",
    "View",
    "Votes",
    "attack_loss",
]
