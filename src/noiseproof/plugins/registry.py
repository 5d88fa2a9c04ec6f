"""The plug-ins of a folder by name."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import is_dataclass
from importlib import import_module
from typing import Any, Generic, TypeVar, cast

from noiseproof.errors import InvalidInputError
from noiseproof.plugins.settings import in_words
from noiseproof.plugins.spec import key_of, settings_before, settings_of, spec_of

__all__ = ["Registry"]

Plugin = TypeVar("Plugin")


class Registry(Mapping[str, Callable[..., Plugin]], Generic[Plugin]):
    """The table of the plug-ins of a folder: name -> "module:attribute", loaded when it is first used.

    The command line's choices, the names that the package exports, the reading of records, and the tables of the
    documentation follow from it. The attribute is a class or a function; called without arguments it makes the plug-in
    with its published settings.

    Args:
        kind: the word for one of them in messages, such as "noise".
        package: the folder, such as "noiseproof.noises".
        places: name -> "module:attribute".
        base: "module:attribute" of the class that `from_spec` makes instances of; None where records keep only a name.
        exports: "module:attribute" of further exports of the package.

    Example:
        >>> from noiseproof.noises.registry import NOISES
        >>> list(NOISES), NOISES.make("laplace", scale=0.5)
        (['gaussian', 'laplace', 'uniform'], Laplace(scale=0.5))
    """

    def __init__(
        self,
        kind: str,
        package: str,
        places: Mapping[str, str],
        *,
        base: str | None = None,
        exports: Iterable[str] = (),
    ) -> None:
        self.kind, self.package = kind, package
        self._places: dict[str, str | Callable[..., Plugin]] = dict(places)
        self._base = base and base.partition(":")[2]
        listed = (place.partition(":") for place in (*places.values(), *exports, *filter(None, [base])))
        self._modules = {attribute: module for module, _, attribute in listed}

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, name: str) -> Callable[..., Plugin]:
        place = self._places[name]
        return cast("Callable[..., Plugin]", self.export(place.partition(":")[2])) if isinstance(place, str) else place

    @property
    def exports(self) -> list[str]:
        """Names that the package exports: every plug-in, their base, and the further exports."""
        return sorted(self._modules)

    def export(self, name: str) -> Any:
        """Return what the package exports under this name: the `__getattr__` of the package.

        Raises:
            AttributeError: it exports no such name.
        """
        if name not in self._modules:
            raise AttributeError(f"module {self.package!r} has no attribute {name!r}")
        return getattr(import_module(f"{self.package}.{self._modules[name]}"), name)

    def make(self, name: str, /, **settings: Any) -> Plugin:
        """Make the plug-in of this name.

        Args:
            name: a name in the table.
            settings: its keyword arguments; the others keep their published values.

        Raises:
            InvalidInputError: no such name, or settings outside their domain.
        """
        if name not in self._places:
            raise InvalidInputError(
                self.kind, required=f"one of {', '.join(self)}", got=repr(name), remedy="Choose one of them."
            )
        return self[name](**settings)

    def name_of(self, plugin: Plugin) -> str:
        """Return the registered name of a plug-in, whatever its settings; that of its class if it is not registered."""
        alike = [name for name in self if type(self.make(name)) is type(plugin)]
        return next((name for name in alike if self.make(name) == plugin), [*alike, type(plugin).__name__][0])

    def told(self, spec: Mapping[str, Any]) -> str:
        """Return a recorded plug-in as text: its name in this table, and its settings by their names in Python."""
        name = str(spec["name"])
        kind = self[name] if name in self._places else self.export(name) if name in self._modules else None
        names = {key_of(part): part.name for part in settings_of(kind)} if is_dataclass(kind) else {}
        settings = {
            names.get(key, key): self.told(value) if isinstance(value, Mapping) and "name" in value else value
            for key, value in spec.items()
            if key != "name"
        }
        try:
            name = self.name_of(self.from_spec(spec))
        except InvalidInputError:  # of another version, or an attack on another network
            return f"{name} ({in_words(settings)})"
        return f"{name} ({in_words(settings)})" if settings else name

    def spec(self, plugin: Plugin) -> dict[str, Any]:
        """Return a plug-in as plain data from which `from_spec` makes an equal one.

        Raises:
            InvalidInputError: it is not one of this folder, so that a record of it could not be read back.
        """
        spec = spec_of(plugin)
        try:
            known = self.from_spec(spec) == plugin
        except InvalidInputError:
            known = False
        if not known:
            raise InvalidInputError(
                self.kind,
                required=f"one of {self.package}, for a record",
                got=repr(plugin),
                remedy="A record must name what it was made with: add yours to the registry of that folder.",
            )
        return spec

    def from_spec(self, spec: object) -> Plugin:
        """Make the plug-in that a record describes: its name, or the name of its class, with its settings.

        Raises:
            InvalidInputError: `spec` is not a mapping with the name and settings of a plug-in of this version.
        """
        try:
            made = self._made(spec)
        except (AttributeError, KeyError, TypeError) as error:
            raise self._unreadable(spec) from error
        if self._base is not None and not isinstance(made, self.export(self._base)):
            raise self._unreadable(spec)
        return cast("Plugin", made)

    def _made(self, value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        settings = dict(value)
        name = settings.pop("name")
        kind = self[name] if name in self._places else self.export(name)
        names = {key_of(part): part.name for part in settings_of(kind)}
        return kind(**settings_before(kind) | {names[key]: self._made(setting) for key, setting in settings.items()})

    def _unreadable(self, spec: object) -> InvalidInputError:
        return InvalidInputError(
            self.kind,
            required=f"one of {', '.join(self)} with its own parameters",
            got=spec,
            remedy="A newer noiseproof may have written it.",
        )
