"""Parsing of values, and error messages in which options take the place of the parameters that they set."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, get_args

from cyclopts import App, CycloptsError, Token, convert
from cyclopts.exceptions import CoercionError, MissingArgumentError, RepeatArgumentError, UnusedCliTokensError

from noiseproof.errors import InvalidInputError, NoiseproofError

__all__ = ["RENAMED", "in_options", "parse", "parse_numbers", "parse_part", "said"]

RENAMED = {
    "certify": {"--within": "--rtol"},
    "attack": {"--votes": "--samples", "--sizes": "--epsilons"},
    "rejudge": {"--votes": "--samples"},
    "audit": {"--votes": "--samples"},
    "ladder": {"--votes": "--samples", "--size": "--epsilon"},
}
"""Options that had another name before, by command: the old name and the new."""

_ALSO = {
    "max_samples": "samples",
    "num_classes": "classes",
    "part": "shard",
    "stages": "after",
    "p1_lower": "p1",
    "p2_upper": "p2",
}
"""Parameters of the library whose options have another name: parameter and option."""


def said(error: CycloptsError) -> NoiseproofError | None:
    """Return a parser's error in the form of all other errors; None where its own message suffices."""
    if isinstance(error.__cause__, NoiseproofError):
        return error.__cause__
    command = (error.command_chain or ("",))[0]
    help_page = f"See: noiseproof {command} --help"
    for old in (token.partition("=")[0] for token in error.root_input_tokens or ()):
        new = RENAMED.get(command, {}).get(old)
        if new is not None:
            return InvalidInputError(old, required=f"written {new}", got="its old name", remedy=help_page)
    if isinstance(error, MissingArgumentError) and error.argument is not None:
        typed = next((each for each in error.argument.names if each in (error.root_input_tokens or ())), None)
        name, got = typed or error.argument.name, "nothing"
        required = "given" if typed is None else "followed by a value"
    elif isinstance(error, RepeatArgumentError):
        name, required, got = str(error.token.keyword), "given once", "it again"
    elif isinstance(error, CoercionError) and error.target_type is bool and error.token is not None:
        name, required, got = str(error.token.keyword), "given without a value", repr(error.token.value)
    elif isinstance(error, UnusedCliTokensError):
        name, required, got = "the arguments", f"those of {command}", f"also {' '.join(error.unused_tokens or ())}"
    else:
        return None
    return InvalidInputError(name, required=required, got=got, remedy=help_page)


def in_options(error: NoiseproofError, app: App, typed: Sequence[str]) -> str:
    """Return the message of an error with the options of the typed command instead of the parameters that they set."""
    options, values = _options(app, typed), _values(typed)
    settings = {value.partition("=")[0] for option, value in values if option == "--set"}
    if error.what in settings:
        what = f"--set {error.what}"
    else:
        given = next((option for option, value in values if value == error.what), "")
        what = options.get(error.what, f"{given} {error.what}".lstrip())
    return error.in_options(what, options)


def _options(app: App, typed: Sequence[str]) -> dict[str, str]:
    """Return the option that sets each parameter: of the typed command, or else of any other."""
    commands = [name for name in app if not name.startswith("-")]
    own = next((token for token in typed if token in commands), None)
    found: dict[str, str] = {}
    for command in (each for each in (own, *commands) if each is not None):
        arguments = [each for each in app[command].assemble_argument_collection() if each.parse]
        named = {
            each.field_info.name: next((name for name in each.names if name in typed), each.name) for each in arguments
        }
        named |= {name: named[other] for name, other in _ALSO.items() if name not in named and other in named}
        found = {name: option for name, option in named.items() if option.startswith("--")} | found
    return found


def _values(typed: Sequence[str]) -> list[tuple[str, str]]:
    """Return each option that was typed with its value."""
    words = [part for token in typed for part in (token.split("=", 1) if token.startswith("--") else [token])]
    return [(option, value) for option, value in pairwise(words) if option.startswith("--")]


def parse(kind: Any, tokens: Sequence[Token]) -> Any:
    """Parse a value of any type; a number is never rounded to a whole one, as cyclopts does.

    Raises:
        InvalidInputError: a word where a number belongs, or a fraction where a whole one does.
    """
    number = next((each for each in (kind, *get_args(kind)) if each in (int, float)), None)
    if number is None or len(tokens) != 1:
        return convert(kind, tokens)
    try:
        return number(tokens[0].value)
    except ValueError as error:
        option, whole = str(tokens[0].keyword).split()[-1], number is int
        raise InvalidInputError(
            option,
            required="a whole number" if whole else "a number",
            got=repr(tokens[0].value),
            remedy=f"Example: {option} {10 if whole else 0.5}",
        ) from error


def parse_numbers(_: object, tokens: Sequence[Token]) -> tuple[float, ...]:
    """Parse numbers >= 0 with commas between, such as 0.5,1,1.5.

    Raises:
        InvalidInputError: something else.
    """
    token = _only(tokens, "0.5,1,1.5")
    try:
        numbers = tuple(float(part) for part in token.value.split(","))
    except ValueError:
        numbers = (-1.0,)
    if not all(0.0 <= number < float("inf") for number in numbers):
        raise InvalidInputError(
            str(token.keyword),
            required="numbers >= 0 with commas between",
            got=repr(token.value),
            remedy=f"Example: {token.keyword} 0.5,1,1.5",
        )
    return numbers


def _only(tokens: Sequence[Token], example: str) -> Token:
    """Return the value of an option that is given once."""
    if len(tokens) != 1:
        option = str(tokens[0].keyword)
        got = " and ".join(token.value for token in tokens)
        raise InvalidInputError(option, required="given once", got=got, remedy=f"Example: {option} {example}")
    return tokens[0]


def parse_part(_: object, tokens: Sequence[Token]) -> tuple[int, int]:
    """Parse I/N with 1 <= I <= N.

    Raises:
        InvalidInputError: something else.
    """
    token = _only(tokens, "3/16")
    part, slash, parts = token.value.partition("/")
    if not (slash and part.isdecimal() and parts.isdecimal() and 1 <= int(part) <= int(parts)):
        raise InvalidInputError(
            "--shard", required="I/N with I from 1 to N", got=repr(token.value), remedy="Example: --shard 3/16."
        )
    return int(part), int(parts)
