"""The paper's figures and tables, a file each: settings in, records and pictures out."""

__all__: list[str] = []
