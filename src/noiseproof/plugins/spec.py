"""A plug-in as plain data, as records keep it."""

from collections.abc import Mapping
from dataclasses import Field, fields, is_dataclass
from enum import Enum
from typing import Any

__all__ = ["key_of", "meant_before", "recorded_as", "settings_before", "settings_of", "spec_of"]

_KEY, _BEFORE = "recorded as", "meant before"


def recorded_as(key: str) -> Mapping[str, str]:
    """Return the metadata of a field that has another name in records than in Python: `field(metadata=...)`."""
    return {_KEY: key}


def meant_before(value: object) -> Mapping[str, object]:
    """Return the metadata of a field that earlier records lack: the value they imply, if it is not the default."""
    return {_BEFORE: value}


def settings_before(kind: Any) -> dict[str, Any]:
    """Return the settings, by their names in Python, that earlier records of a plug-in imply."""
    return {part.name: part.metadata[_BEFORE] for part in settings_of(kind) if _BEFORE in part.metadata}


def key_of(part: "Field[Any]") -> str:
    """Return the name under which records keep a field."""
    return str(part.metadata.get(_KEY, part.name))


def settings_of(kind: Any) -> tuple["Field[Any]", ...]:
    """Return the fields of a dataclass that are its settings: those that it is made from and compared by.

    Raises:
        TypeError: `kind` is neither a dataclass nor an instance of one.
    """
    return tuple(part for part in fields(kind) if part.init and part.compare)


def spec_of(plugin: object, name: str | None = None) -> dict[str, Any]:
    """Return a plug-in, a frozen dataclass, as plain data: its name and its settings. `Registry.from_spec` is the inverse.

    Args:
        plugin: the plug-in. Dataclasses among its settings become plain data too.
        name: the name; None uses that of its class.
    """
    return {"name": name or type(plugin).__name__} | {
        key_of(part): _plain(getattr(plugin, part.name)) for part in settings_of(plugin)
    }


def _plain(value: object) -> Any:
    if is_dataclass(value):
        return spec_of(value)
    return value.value if isinstance(value, Enum) else value
