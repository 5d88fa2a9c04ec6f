"""Programs saved by `torch.export.save`."""

import io
import json
import pickle
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from noiseproof.classifiers.runners import Runner, device_of
from noiseproof.errors import InvalidInputError, RunError

__all__ = ["ExportedRunner"]

_EXPRESSION = re.compile(
    r"(?>Symbol|Integer|Add|Mul|Pow|Max|Min|Mod|PythonMod|FloorDiv|CeilDiv|int_oo|oo|[su]\d++|'[su]\d++'"
    r"|(?>positive|nonnegative|integer)=(?>True|False)|\d++|[\s+*/()<>,-])*+"
)
"""Expressions allowed as the size of a dimension, which torch evaluates as Python code with sympy."""

_PLAIN = re.compile(
    r"([^/]+/)?(data/weights/weight_\d+|data/constants/tensor_\d+|(\.data/)?[a-z_]*(version|format|order|_id))"
)
"""Names of entries of the archive that are raw tensors or a short text such as its version."""


class ExportedRunner(Runner):
    """A torch.export program with one input, a batch of images. If its batch size is fixed, callers pad batches to it.

    **Trust the file as you trust code**: torch generates Python source from the names and guards in a program. As far as
    possible this is restricted: files with pickled entries, libraries or expressions other than arithmetic are rejected
    before torch reads them, and guards are removed.

    Args:
        path: a file with the suffix .pt2.

    Raises:
        RunError: the file is damaged, or holds pickled objects, libraries or other code.
        InvalidInputError: the program does not have exactly one input, a tensor.
    """

    def __init__(self, path: Path) -> None:
        content = _plain_content(path)
        try:
            program = torch.export.load(content)
            self._program: Any = program.module()
        except Exception as error:
            raise _damaged(path, error) from error
        names = program.graph_signature.user_inputs
        inputs = [node.meta["val"] for node in program.graph.nodes if node.op == "placeholder" and node.name in names]
        if len(inputs) != 1 or not isinstance(inputs[0], Tensor):
            raise InvalidInputError(
                f"the input of {path.name}",
                required="one tensor of images",
                got=f"{len(names)}",
                remedy="Export it so.",
            )
        first: int | torch.SymInt = inputs[0].shape[0]
        self.batch_size = first if isinstance(first, int) else None
        self.device = device_of(self._program)

    def __call__(self, batch: Float[Tensor, "batch *shape"]) -> Any:
        """Run the program on a batch on its device."""
        return self._program(batch)


def _plain_content(path: Path) -> io.BytesIO:
    """Return a copy of the archive with the entries that were checked, so that torch cannot read any others.

    Raises:
        RunError: an entry is neither a plain tensor nor a graph in JSON, or the archive is damaged.
    """
    content = io.BytesIO()
    try:
        with zipfile.ZipFile(path) as archive, zipfile.ZipFile(content, "w") as copy:
            code = next(_code_in(archive), None)
            for name in archive.namelist():
                copy.writestr(
                    name, _without_guards(archive.read(name)) if name.endswith(".json") else archive.read(name)
                )
    except Exception as error:  # whatever a damaged or hostile archive makes of its readers
        raise _damaged(path, error) from error
    if code is not None:
        raise RunError(
            str(path),
            required="plain tensors and a graph, with nothing pickled in it",
            got=code,
            remedy='Export a network of plain tensors, or give its Python code: model="package.module:factory".',
        )
    content.seek(0)
    return content


def _without_guards(content: bytes) -> bytes:
    """Remove the conditions on the input, which torch would run as Python; `BaseClassifier` checks the input instead."""

    def dropped(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: [] if key == "guards_code" else dropped(inner) for key, inner in value.items()}
        return [dropped(inner) for inner in value] if isinstance(value, list) else value

    return json.dumps(dropped(json.loads(content))).encode()


def _code_in(archive: zipfile.ZipFile) -> Iterator[str]:
    """Yield a description of each entry that torch would run as code or that is of no known kind."""
    for name in archive.namelist():
        if name.endswith(".json"):
            content = json.loads(archive.read(name))
            yield from (f"{name}: pickled objects" for found in _values(content, "use_pickle") if found)
            texts = _values(content, "expr_str")
            yield from (f"{name}: {text!r:.80}" for text in texts if not _EXPRESSION.fullmatch(str(text)))
        elif name.endswith(".pt"):
            try:
                torch.load(io.BytesIO(archive.read(name)), weights_only=True)
            except pickle.UnpicklingError:
                yield f"{name}: pickled objects"
        elif not _PLAIN.fullmatch(name):
            yield name


def _values(content: Any, key: str) -> Iterator[Any]:
    """Yield all values of a key, at any depth."""
    if isinstance(content, dict):
        for name, inner in content.items():
            if name == key:
                yield inner
            yield from _values(inner, key)
    elif isinstance(content, list):
        for inner in content:
            yield from _values(inner, key)


def _damaged(path: Path, error: Exception) -> RunError:
    return RunError(
        str(path),
        required="a whole program written by torch.export.save",
        got=f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}",
        remedy="Export it again, with this version of torch or an older one.",
    )
