"""Errors that say what is wrong, what is required, what came, and the remedy."""

import operator
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import ClassVar, SupportsIndex

__all__ = [
    "ClassifierError",
    "DamagedRecordError",
    "IncompleteError",
    "InvalidInputError",
    "MissingExtraError",
    "NoiseproofError",
    "OutOfMemoryError",
    "RunError",
    "Terminated",
    "require_count",
]

_PARAMETER = re.compile(r'(?<!\w\()\b([a-z]\w*)=(?:"([^"]*)"|\[([^]]*)\]|(\w[\w.]*\b))?')
"""A parameter in a message: `data=`, `data="digits"`, `epsilons=[0.5, 1.0]`, `allow_unverified=True`; not that of a call such
as `Gaussian(sigma=1)`."""


class NoiseproofError(Exception):
    """Base of every error that noiseproof raises on purpose.

    Args:
        what: the argument, file or object that is wrong.
        required: what it has to be.
        got: what it is.
        remedy: one sentence that says what to do.
    """

    exit_code: ClassVar[int] = 2
    """The exit status of a command that raises it."""

    def __init__(self, what: str, *, required: str, got: object, remedy: str) -> None:
        super().__init__(f"{what} must be {required}; got {got}. {remedy}")
        self.what, self.required, self.got, self.remedy = what, required, got, remedy

    @classmethod
    @contextmanager
    def instead_of(
        cls, causes: type[Exception] | tuple[type[Exception], ...], what: str, *, required: str, remedy: str
    ) -> Iterator[None]:
        """Replace foreign exceptions raised inside by this error, which quotes them; errors of noiseproof pass."""
        try:
            yield
        except NoiseproofError:
            raise
        except causes as error:
            raise cls(what, required=required, got=f"{type(error).__name__}: {error}", remedy=remedy) from error

    def in_options(self, what: str, options: Mapping[str, str]) -> str:
        """Return the message for a command line: with `what` named in its words, and options in place of parameters.

        Args:
            what: what is wrong, in the words of the command line.
            options: the option that sets each parameter: `{"data": "--data"}` writes `--data digits` for `data="digits"`.
        """

        def option(found: re.Match[str]) -> str:
            name, value = options.get(found[1], found[0]), found[2] or (found[3] or "").replace(" ", "") or found[4]
            return name if found[1] not in options or value in {None, "True"} else f"{name} {value}"

        named, required, remedy = (_PARAMETER.sub(option, text) for text in (what, self.required, self.remedy))
        return f"{named} must be {required}; got {self.got}. {remedy}"


class InvalidInputError(NoiseproofError, ValueError):
    """An argument outside its domain, found before any time is spent."""


class ClassifierError(NoiseproofError, RuntimeError):
    """The base classifier raised, or returned something that is not a vote."""


class OutOfMemoryError(ClassifierError):
    """A batch does not fit the memory of its device."""


class MissingExtraError(NoiseproofError, ImportError):
    """An optional part of noiseproof is not installed."""

    def __init__(self, package: str, *, extra: str, needed_for: str) -> None:
        super().__init__(
            package,
            required=f"installed for {needed_for}",
            got="no such package",
            remedy=f"Install the extra: pip install 'noiseproof[{extra}]'",
        )


class RunError(NoiseproofError, RuntimeError):
    """A run folder, checkpoint or record is missing, damaged, or belongs to something else."""


class DamagedRecordError(RunError):
    """A file of a record is damaged: its content fails a check. The command itself is not at fault."""

    exit_code = 1


class IncompleteError(RunError):
    """A record is sound but incomplete, where all of it is needed."""

    exit_code = 3


class Terminated(KeyboardInterrupt):
    """Raised on SIGTERM by a program that handles it like Ctrl-C, as the command line does."""


def require_count(name: str, value: object, least: int, remedy: str) -> None:
    """Raise `InvalidInputError` unless `value` is an integer >= `least`."""
    if isinstance(value, bool) or not isinstance(value, SupportsIndex) or operator.index(value) < least:
        raise InvalidInputError(name, required=f"an integer >= {least}", got=repr(value), remedy=remedy)
