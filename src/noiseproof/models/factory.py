"""Classifiers from Python code, named as "package.module:name"."""

import hashlib
import importlib
import inspect
import sys
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from torch import nn

from noiseproof.errors import InvalidInputError, MissingExtraError
from noiseproof.storage.provenance import is_own

__all__ = ["build_from", "module_file", "source_digest"]


def build_from(spec: str, folder: Path | None = None) -> Any:
    """Import `package.module` of "package.module:name" and return the result of calling `name` without arguments.

    If `name` is a torch module or an estimator, it is returned itself. The folder is added to `sys.path`.

    Args:
        spec: "package.module:name".
        folder: the folder that is searched first for the module; None: the working directory.

    Raises:
        InvalidInputError: the module cannot be imported or has no such name, or the call failed; it states the reason.
        MissingExtraError: the function needs an optional package that is not installed.
    """
    module_name, _, name = spec.partition(":")
    if folder is not None and str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    elif "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        raise InvalidInputError(
            "model",
            required="a module that can be imported from here",
            got=f"{type(error).__name__} in {module_name}: {error}",
            remedy="Run the command in the folder that holds the package, or install the package.",
        ) from error
    found = getattr(module, name, None)
    if found is None:
        public = ", ".join(other for other in vars(module) if not other.startswith("_"))
        raise InvalidInputError(
            "model", required=f"a name in {module_name}", got=repr(name), remedy=f"It has: {public or 'none'}."
        )
    if isinstance(found, nn.Module) or (hasattr(found, "predict") and not isinstance(found, type)):
        return found
    if not callable(found):
        raise InvalidInputError(spec, required="callable", got=type(found).__name__, remedy="Name a function.")
    try:
        return found()
    except MissingExtraError:
        raise
    except Exception as error:
        raise _failed(spec, found, error) from error


def _failed(spec: str, function: Any, error: Exception) -> InvalidInputError:
    required, remedy = "able to build the classifier", "That is an error of its own code."
    if isinstance(error, ImportError):
        required, remedy = "able to import what it needs", "Install that package."
    elif _wants_arguments(function):
        required, remedy = "callable without arguments", "Write a function that fills the arguments in, and name that."
    return InvalidInputError(spec, required=required, got=f"{type(error).__name__}: {error}", remedy=remedy)


def _wants_arguments(function: Any) -> bool:
    """Whether a call without arguments cannot succeed; False if its signature is unknown."""
    try:
        inspect.signature(function).bind()
    except TypeError:
        return True
    except ValueError:
        return False
    return False


def module_file(spec: str, folder: Path | None = None, *, only: bool = False) -> Path | None:
    """Return the file of the module of "package.module:name" without running its code; None if there is none.

    Args:
        spec: "package.module:name".
        folder: the folder that is searched first; None: the working directory.
        only: whether no other folder is searched.
    """
    places = [str(folder or Path.cwd()), *([] if only else sys.path)]
    found, names = None, spec.partition(":")[0].split(".")
    for depth in range(1, len(names) + 1):
        found = PathFinder.find_spec(".".join(names[:depth]), places)
        if found is None:
            return None
        places = list(found.submodule_search_locations or [])
    return None if found is None or found.origin is None else Path(found.origin).resolve()


def source_digest(spec: str) -> str | None:
    """Return the SHA-256 of the source file of an imported module; None if it has no file or belongs to this package.

    Networks of this package are identified by their weights, as those of checkpoints and of the zoo are. Its files may
    change with every version, and records state the version.

    Args:
        spec: "package.module:name".
    """
    module = spec.partition(":")[0]
    file = None if is_own(module) else getattr(sys.modules[module], "__file__", None)
    return None if file is None else hashlib.sha256(Path(file).read_bytes()).hexdigest()
