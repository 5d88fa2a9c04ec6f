"""Settings as text: NAME=VALUE, read by the type of the field."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from enum import Enum
from functools import partial
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from noiseproof.errors import InvalidInputError
from noiseproof.plugins.spec import settings_of

__all__ = ["changed", "changes_of", "finite", "in_words"]

Plugin = TypeVar("Plugin")

Form = tuple[str, Callable[[str], Any]]
"""What a text may be, in words, and the function that reads it or raises `ValueError`."""

_SIMPLE: dict[Any, Form] = {int: ("a whole number", int), float: ("a number", float), str: ("a text", str)}


def changed(plugin: Plugin, changes: Sequence[str]) -> Plugin:
    """Return a plug-in, a frozen dataclass, with settings changed: `changed(Stability(), ["weight=2"])`.

    Args:
        plugin: its other settings are kept.
        changes: NAME=VALUE each. VALUE is read by the type of the field: a number, true or false, one of the words of a
            `Literal` or an enumeration, `none` where the field may be None, or a text.

    Raises:
        InvalidInputError: one that is not NAME=VALUE with a setting of this plug-in, or a VALUE of another type.
    """
    hints = get_type_hints(type(plugin))
    known = {part.name: forms for part in settings_of(plugin) if (forms := _forms(hints[part.name]))}
    parsed: dict[str, Any] = {}
    for change in changes:
        name, sign, text = change.partition("=")
        if not sign or name not in known:
            raise InvalidInputError(
                "changes",
                required=f"NAME=VALUE with a setting of {type(plugin).__name__}",
                got=repr(change),
                remedy=f"It has {', '.join(f'{each}={_text(getattr(plugin, each))}' for each in known) or 'none'}.",
            )
        try:
            parsed[name] = _read(text, known[name])
        except ValueError as error:
            required, usual = " or ".join(form for form, _ in known[name]), _text(getattr(plugin, name))
            raise InvalidInputError(name, required=required, got=repr(text), remedy=f"Usual: {usual}.") from error
    return replace(plugin, **parsed)  # type: ignore[type-var]


def changes_of(plugin: object) -> list[str]:
    """Return the settings that differ from those of a plug-in made without arguments, in the form of `changed`."""
    usual, names = type(plugin)(), [part.name for part in settings_of(plugin)]
    pairs = [(name, getattr(plugin, name)) for name in names if getattr(plugin, name) != getattr(usual, name)]
    return [f"{name}={_text(value)}" for name, value in pairs]


def _forms(kind: Any) -> list[Form]:
    """Return the forms that a text for a field of this type may have; none for a type that is not written as text."""
    if get_origin(kind) in {Union, UnionType}:
        parts = [_forms(each) for each in get_args(kind)]
        return [form for forms in parts for form in forms] if all(parts) else []
    if words := _words(kind):
        return [(" or ".join(words), partial(_look_up, words))]
    return [_SIMPLE[kind]] if kind in _SIMPLE else []


def _words(kind: Any) -> dict[str, Any]:
    """Return the values of a type that has few of them, by the words for them."""
    if kind is bool:
        return {"true": True, "false": False}
    if kind is NoneType:
        return {"none": None}
    if get_origin(kind) is Literal:
        return {str(value): value for value in get_args(kind)}
    return {str(value): value for value in kind} if isinstance(kind, type) and issubclass(kind, Enum) else {}


def _look_up(words: Mapping[str, Any], text: str) -> Any:
    if text not in words:
        raise ValueError(text)
    return words[text]


def _read(text: str, forms: Sequence[Form]) -> Any:
    """Read a text in the first form that it has, or raise `ValueError`."""
    for _, read in forms:
        try:
            return read(text)
        except ValueError:
            continue
    raise ValueError(text)


def _text(value: object) -> str:
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)


def finite(value: Any) -> Any:
    """Return plain data with None for numbers that are not finite, since JSON has none."""
    if isinstance(value, Mapping):
        return {key: finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def in_words(value: Any) -> str:
    """Return plain data as readable text: settings separated by commas, nested ones in parentheses, None left out."""
    if isinstance(value, Mapping):
        parts = (f"{key} {_within(each)}".strip() for key, each in value.items() if each is not None)
        return ", ".join(parts)
    if isinstance(value, list | tuple):
        numbers = all(isinstance(each, int) for each in value)
        return (" x " if numbers else ", ").join(map(_within, value))
    return "nothing" if value is None else str(value)


def _within(value: Any) -> str:
    return f"({in_words(value)})" if isinstance(value, Mapping) else in_words(value)
