"""Files that are whole or absent, downloads, provenance, time."""

__all__: list[str] = []
