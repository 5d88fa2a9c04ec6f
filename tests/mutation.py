"""Faults made on purpose: a function with one piece of its source replaced."""

import inspect
import textwrap
from collections.abc import Callable
from typing import Any

Function = Callable[..., Any]


def mutated(function: Function, old: str, new: str) -> Function:
    """Return the function with `old`, which its source has once, replaced, and without its decorators."""
    plain = inspect.unwrap(function)
    source = textwrap.dedent(inspect.getsource(plain))
    source = source[source.index("def ") :]
    assert source.count(old) == 1, f"{source.count(old)} times in {plain.__name__}: {old}"
    scope: dict[str, Function] = {}
    exec(compile(source.replace(old, new), f"<mutant of {plain.__name__}>", "exec"), plain.__globals__, scope)
    return scope[plain.__name__]


def fails(test: Function, *arguments: Any) -> bool:
    """Whether a test fails."""
    try:
        test(*arguments)
    except AssertionError:
        return True
    return False
