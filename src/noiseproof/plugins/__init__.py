"""Plug-ins by name: the table of a folder, plug-ins as plain data, settings as text.

A room of its own, below every folder of plug-ins: noises, bounds, certificates, objectives, attacks, networks and data
sets are named in the same way, and none of them may import another. It imports the standard library alone, so that the
command line can list every choice without loading torch.
"""

from noiseproof.plugins.registry import Registry
from noiseproof.plugins.settings import changed, changes_of, finite, in_words
from noiseproof.plugins.spec import meant_before, recorded_as, spec_of

__all__ = ["Registry", "changed", "changes_of", "finite", "in_words", "meant_before", "recorded_as", "spec_of"]
