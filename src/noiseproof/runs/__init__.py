"""Resumable jobs over a data set, and the records they write."""

__all__: list[str] = []
