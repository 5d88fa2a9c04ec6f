"""The command line: `noiseproof`, also `python -m noiseproof`."""

from noiseproof.cli.app import app, main, run

__all__ = ["app", "main", "run"]
