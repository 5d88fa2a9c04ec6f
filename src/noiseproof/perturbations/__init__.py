"""Perturbations of an image: norms, their balls, and steps inside of them."""

__all__: list[str] = []
