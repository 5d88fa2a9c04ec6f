"""Statements over a data set: certified accuracy, accuracy under attack, audits."""

__all__: list[str] = []
