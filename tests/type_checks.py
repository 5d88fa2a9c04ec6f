"""Types and shapes in signatures, checked at every call of the package while its tests run.

jaxtyping's own import hook checks the same, but looks at every array of every call three times over: that took longer
than everything else that the tests do. Here beartype checks calls by type, and shapes once for each combination of
types and shapes that a function is given and returns: those checks depend on nothing else.
"""

import ast
import dataclasses
import functools
import importlib.machinery
import inspect
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from types import CodeType, FunctionType, ModuleType
from typing import Any, get_args, get_type_hints

import jaxtyping
import torch
from beartype import BeartypeConf, beartype

__all__ = ["checked", "install"]

_CONF = BeartypeConf(
    violation_type=jaxtyping.TypeCheckError
)  # a TypeError, as Python itself raises for other arguments
_DECORATOR = "__import__('type_checks').checked"


def install(package: str) -> None:
    """Check all functions and dataclasses of a package that is imported from now on."""
    sys.meta_path.insert(0, _Finder(package))


def checked(defined: Any) -> Any:
    """Return a function that checks its arguments and result, or the class, whose fields are checked if it has some."""
    if not isinstance(defined, type):
        return _checked(defined)
    if dataclasses.is_dataclass(defined) and not hasattr(defined.__init__, "__wrapped__"):
        defined.__init__ = _checked(defined.__init__)
    return defined


def _checked(function: FunctionType) -> Callable[..., Any]:
    signature = _signature(function)
    if signature.mentions_values:
        return jaxtyping.jaxtyped(function, typechecker=beartype)  # a shape by the value of an argument: `{count}`
    if signature.mentions_shapes or "<locals>" in function.__qualname__:
        return _with_shapes(function, signature)
    told = function.__annotations__
    function.__annotations__ = signature.hints
    try:
        return beartype(function, conf=_CONF)
    finally:
        function.__annotations__ = told


# ---- what a signature says -------------------------------------------------------------------------------------------


class _Signature:
    """What is checked of a function, the same for all copies of one that is defined within another."""

    def __init__(self, function: FunctionType) -> None:
        self.hints = _resolved(function)
        shapes = [shape for hint in self.hints.values() for shape in _shapes(hint)]
        self.mentions_shapes = bool(shapes)
        self.mentions_values = any("{" in shape.dim_str for shape in shapes)
        self.accepted: set[Any] = set()
        self._function = function
        self._checks: dict[bool, Callable[..., Any]] = {}

    def check(self, *, returned: bool) -> Callable[..., Any]:
        """Return a function of the same parameters and of `_result`, which it returns; checks them all, or not that."""
        if returned not in self._checks:
            hints = {name: hint for name, hint in self.hints.items() if returned or name != "return"}
            self._checks[returned] = _check(self._function, hints)
        return self._checks[returned]


_SIGNATURES: dict[Any, _Signature] = {}


def _signature(function: FunctionType) -> _Signature:
    key = function.__module__, function.__qualname__, function.__code__
    if key not in _SIGNATURES:
        _SIGNATURES[key] = _Signature(function)
    return _SIGNATURES[key]


def _resolved(function: FunctionType) -> dict[str, Any]:
    """Its annotations, those in quotes as what they name; what has no name yet may be anything."""
    try:
        return get_type_hints(function, include_extras=True)
    except NameError:
        return {name: _resolved_alone(function, hint) for name, hint in function.__annotations__.items()}


def _resolved_alone(function: FunctionType, hint: Any) -> Any:
    def alone() -> None: ...

    alone.__annotations__ = {"hint": hint}
    try:
        return get_type_hints(alone, function.__globals__, include_extras=True)["hint"]
    except NameError:
        return Any


def _shapes(hint: Any) -> Iterator[Any]:
    if inspect.isclass(hint) and issubclass(hint, jaxtyping.AbstractArray):
        yield hint
    for part in hint if isinstance(hint, list) else get_args(hint):
        yield from _shapes(part)


# ---- shapes ----------------------------------------------------------------------------------------------------------


def _with_shapes(function: FunctionType, signature: _Signature) -> Callable[..., Any]:
    accepted = signature.accepted

    @functools.wraps(function)
    def with_shapes(*args: Any, **kwargs: Any) -> Any:
        if torch.compiler.is_compiling():  # torch.compile traces the function alone: it cannot follow the checker
            return function(*args, **kwargs)
        given = _kinds((args, kwargs))
        if given is None or given not in accepted:
            with jaxtyping.jaxtyped("context"):
                signature.check(returned=False)(*args, **kwargs, _result=None)
            accepted.add(given)
        result = function(*args, **kwargs)
        found = _kinds(result)
        if given is None or found is None or (given, found) not in accepted:
            with jaxtyping.jaxtyped("context"):
                signature.check(returned=True)(*args, **kwargs, _result=result)
            accepted.add((given, found))
        return result

    return with_shapes


def _check(function: FunctionType, hints: dict[str, Any]) -> Callable[..., Any]:
    parameters = list(inspect.signature(function).parameters.values())
    blank = [
        parameter.replace(
            annotation=inspect.Parameter.empty,
            default=None if parameter.default is not inspect.Parameter.empty else inspect.Parameter.empty,
        )
        for parameter in parameters
    ]
    result = inspect.Parameter("_result", inspect.Parameter.KEYWORD_ONLY)
    at = len(blank) - (bool(blank) and blank[-1].kind is inspect.Parameter.VAR_KEYWORD)
    scope: dict[str, Any] = {}
    exec(f"def check{inspect.Signature([*blank[:at], result, *blank[at:]])}: return _result", scope)
    check = scope["check"]
    check.__annotations__, check.__module__, check.__qualname__ = hints, function.__module__, function.__qualname__
    return beartype(check, conf=_CONF)


class _Unclear(Exception):  # noqa: N818
    """More than a type and a shape decides."""


def _kinds(value: Any) -> Any:
    """All that checks of a value depend on, or None if that is more than its type, and types and shapes within."""
    try:
        kind = _kind(value)
        hash(kind)
    except (_Unclear, TypeError):  # sizes that are symbols have no hash
        return None
    return kind


def _kind(value: Any) -> Any:
    kind = type(value)
    if kind is tuple or kind is list:
        if len(value) > 16:
            raise _Unclear
        return kind, *map(_kind, value)
    if kind is dict:
        if len(value) > 16:
            raise _Unclear
        return kind, *[(_kind(key), _kind(each)) for key, each in value.items()]
    if kind is str or kind is type:
        return value  # it may have to be one of a few
    shape = getattr(value, "shape", None)
    if shape is not None:
        return kind, getattr(value, "dtype", None), tuple(shape)
    if isinstance(value, Collection) and kind is not range:
        raise _Unclear
    return kind


# ---- import ----------------------------------------------------------------------------------------------------------


class _Decorating(ast.NodeTransformer):
    """The check comes next to a function, and outermost on a class: `dataclass` has then made its constructor."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        self.generic_visit(node)
        node.decorator_list.append(_decorator_at(node))
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.ClassDef:
        self.generic_visit(node)
        node.decorator_list.insert(0, _decorator_at(node))
        return node


def _decorator_at(node: ast.stmt) -> ast.expr:
    decorator = ast.parse(_DECORATOR, mode="eval").body
    for part in ast.walk(decorator):
        ast.copy_location(part, node)
    return decorator


class _Loader(importlib.machinery.SourceFileLoader):
    def get_code(self, fullname: str) -> CodeType:
        """Compile the decorated source: no bytecode is read or written that other processes could mistake for plain."""
        path = self.get_filename(fullname)
        return compile(_Decorating().visit(ast.parse(self.get_data(path), path)), path, "exec", dont_inherit=True)


class _Finder:
    def __init__(self, package: str) -> None:
        self.package = package

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name.split(".")[0] != self.package:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None and spec.origin is not None and spec.origin.endswith(".py"):
            spec.loader = _Loader(name, spec.origin)
        return spec
