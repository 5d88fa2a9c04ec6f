"""Errors that take the place of foreign ones."""

import pytest

from noiseproof.errors import IncompleteError, RunError


def test_a_foreign_error_is_named_and_kept_as_the_cause() -> None:
    with (
        pytest.raises(RunError, match=r"^runs/x must be whole; got KeyError: 'sigma'\. Make it again\.$") as caught,
        RunError.instead_of((KeyError, TypeError), "runs/x", required="whole", remedy="Make it again."),
    ):
        raise KeyError("sigma")
    assert isinstance(caught.value.__cause__, KeyError)


def test_other_errors_and_those_of_the_package_pass() -> None:
    own = IncompleteError("a shard", required="there", got="missing", remedy="Wait.")
    for error in (own, OSError("disk")):
        with (
            pytest.raises(type(error)) as caught,
            RunError.instead_of((KeyError, RuntimeError), "runs/x", required="whole", remedy="Make it again."),
        ):
            raise error
        assert caught.value is error
