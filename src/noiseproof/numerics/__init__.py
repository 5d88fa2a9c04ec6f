"""Searches and logarithms, elementwise on arrays."""

__all__: list[str] = []
