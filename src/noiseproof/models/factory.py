"""Classifiers made by Python code that the user names."""

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
    """Import `package.module` and return what `name` of "package.module:name" gives when called.

    A torch module or an estimator that has the name is returned as it is.

    Args:
        spec: what to build.
        folder: where the module is looked for first; None looks in the working directory.

    Raises:
        InvalidInputError: the module cannot be imported, has no such name, or the call failed; says why.
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
    """Whether a call without arguments cannot succeed; False where it has no signature to tell."""
    try:
        inspect.signature(function).bind()
    except TypeError:
        return True
    except ValueError:
        return False
    return False


def module_file(spec: str, folder: Path | None = None, *, only: bool = False) -> Path | None:
    """Return the file of the module of "package.module:name", and run none of its code; None where there is none.

    Args:
        spec: whose module.
        folder: where it is looked for first; None looks in the working directory.
        only: whether it is looked for nowhere else.
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
    """Return the SHA-256 of the file of the factory's module; None where there is no such file, or it is of this package.

    The package's own networks are identified by their weights, as those of checkpoints and of the zoo are: a file of the package
    changes with every version, which records name.
    """
    module = spec.partition(":")[0]
    file = None if is_own(module) else getattr(sys.modules[module], "__file__", None)
    return None if file is None else hashlib.sha256(Path(file).read_bytes()).hexdigest()
