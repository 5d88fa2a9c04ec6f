"""The checks that tests lay over the package: they notice every wrong type and shape, at the first call and later."""

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import jaxtyping
import numpy as np
import pytest
import torch

import noiseproof.bounds.base
import type_checks
from noiseproof.certified import certify_votes

PACKAGE = """
import dataclasses
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Literal

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

if TYPE_CHECKING:
    from nowhere import Anything


def rows(x: Float[Tensor, "batch n"], y: Int[Tensor, " batch"]) -> Float[Tensor, " batch"]:
    return x.flatten()[: len(y) + int(x[0, 0])]


def plain(count: int, names: list[str], kind: Literal["a", "b"] = "a", *more: float, last: "Later | None" = None) -> int:
    return count if count else "none"


def shaped_kind(x: Float[np.ndarray, " n"], kind: Literal["a", "b"] = "a") -> Float[np.ndarray, " n"]:
    return x


def as_many(x: Float[np.ndarray, "..."], count: int) -> Float[np.ndarray, " {count}"]:
    return x.ravel()


def many(parts: list[Float[np.ndarray, " n"]]) -> int:
    return len(parts)


def unknown(x: "Anything") -> "Anything":
    return x


def counted(n: int) -> Iterator[int]:
    yield from range(n)


def closure(n: int) -> Callable[[np.ndarray], np.ndarray]:
    def take(x: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        return x[:n]

    return take


@dataclasses.dataclass(frozen=True)
class Point:
    at: Float[np.ndarray, " n"]
    to: Float[np.ndarray, " n"]
    name: str = ""

    @property
    def length(self) -> float:
        return self.name

    @classmethod
    def origin(cls, n: int) -> "Point":
        return cls(np.zeros(n), np.zeros(n))

    @staticmethod
    def twice(n: int) -> int:
        return 2 * n


class Later:
    pass
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    folder = tmp_path_factory.mktemp("package")
    (folder / "package_to_check.py").write_text(PACKAGE)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        patch.setattr(sys, "meta_path", [*sys.meta_path])
        patch.setattr(sys, "dont_write_bytecode", False)
        type_checks.install("package_to_check")
        yield importlib.import_module("package_to_check")
        sys.modules.pop("package_to_check")
    assert not list(folder.rglob("*.pyc")), "other processes would take it for the plain module"


def refused(call: Callable[..., Any], *args: Any, **kwargs: Any) -> bool:
    try:
        call(*args, **kwargs)
    except TypeError as error:  # what reads damaged files catches it as such
        if not isinstance(error, jaxtyping.TypeCheckError):
            raise
        return True
    return False


def test_shapes_agree_within_a_call_and_only_there(made: ModuleType) -> None:
    x, y = torch.zeros(3, 1), torch.zeros(3, dtype=torch.int64)
    for _ in range(2):
        assert made.rows(x, y).shape == (3,)
        assert made.rows(torch.zeros(5, 1), torch.zeros(5, dtype=torch.int64)).shape == (5,)
        assert refused(made.rows, x, y[:2])
        assert refused(made.rows, x, y.float())
        assert refused(made.rows, x.flatten(), y)
        assert refused(made.rows, x.numpy(), y)
        assert refused(made.rows, x, y=y[:2])


def test_a_shape_by_the_value_of_an_argument(made: ModuleType) -> None:
    for _ in range(2):
        assert made.as_many(np.zeros((2, 3)), 6).shape == (6,)
        assert refused(made.as_many, np.zeros((2, 3)), 5)


def test_a_wrong_result_is_noticed_after_any_number_of_right_ones(made: ModuleType) -> None:
    x, y = torch.zeros(3, 2), torch.zeros(3, dtype=torch.int64)
    for _ in range(3):
        made.rows(x, y)
    x[0, 0] = 1.0
    assert refused(made.rows, x, y), "the same shapes are given, and one more row is returned"
    assert refused(made.plain, 0, [])


def test_types_that_are_no_shapes(made: ModuleType) -> None:
    assert made.plain(3, ["a"], "b", 1.0, 2.0) == 3
    assert refused(made.plain, 3, ["a"], "c")
    assert refused(made.plain, 3, [1])
    assert refused(made.plain, 3.0, [])
    assert refused(made.plain, 3, [], "a", "b")
    assert made.unknown(3) == 3
    assert list(made.counted(3)) == [0, 1, 2]
    with pytest.raises(TypeError, match="missing 1 required"):
        made.plain(3)
    x = np.zeros(3)
    for _ in range(2):
        assert made.shaped_kind(x, "b") is x
        assert made.shaped_kind(x, kind="a") is x
        assert refused(made.shaped_kind, x, "c")
        assert refused(made.shaped_kind, x.astype(int))


def test_within_containers_of_any_length(made: ModuleType) -> None:
    for count in (2, 16, 17, 40):
        parts = [np.zeros(3)] * count
        for _ in range(2):
            assert made.many(parts) == count
        assert refused(made.many, [part.astype(int) for part in parts])


def test_functions_within_functions(made: ModuleType) -> None:
    for n in (3, 3, 2, 3):
        take = made.closure(n)
        assert refused(take, np.zeros((3, 1)))
        assert refused(take, np.zeros(3)) == (n < 3)


def test_dataclasses_and_methods(made: ModuleType) -> None:
    point = made.Point(np.zeros(3), to=np.ones(3))
    assert refused(made.Point, np.zeros(3), np.ones(2))
    assert refused(made.Point, np.zeros(3), np.ones(3), name=3)
    assert refused(lambda: point.length)
    assert made.Point.origin(2).at.shape == (2,)
    assert refused(made.Point.origin, 2.0)
    assert made.Point.twice(2) == 4
    assert refused(made.Point.twice, "2")


def test_the_package_is_checked() -> None:
    """Whatever else it is told, and though its own checks would let it pass."""
    assert refused(certify_votes, [1, 2], noiseproof.Gaussian(1.0))
    assert isinstance(noiseproof.bounds.base.__loader__, type_checks._Loader)
    assert Path(str(noiseproof.bounds.base.__file__)).suffix == ".py"
