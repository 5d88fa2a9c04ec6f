"""`python -m noiseproof` is the command `noiseproof`."""

from noiseproof.cli import main

__all__: list[str] = []

if __name__ == "__main__":
    main()
