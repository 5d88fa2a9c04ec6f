"""Files that are whole or absent, downloads, provenance, stopwatch."""

__all__: list[str] = []
