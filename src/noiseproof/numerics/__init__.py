"""Searches and logarithms: pure numbers."""

__all__: list[str] = []
