"""Certificates side by side: each turns (noise, p1, p2) into a radius, Algorithm 1 line 6."""

from noiseproof.certificates.base import Certificate, clip_runner_up, separated
from noiseproof.certificates.neyman_pearson import NeymanPearson
from noiseproof.certificates.renyi import Renyi, lemma1

__all__ = ["Certificate", "NeymanPearson", "Renyi", "clip_runner_up", "lemma1", "separated"]
