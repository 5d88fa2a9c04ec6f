"""What the rows of a data set say together: certified accuracy, robust accuracy, audits."""

__all__: list[str] = []
