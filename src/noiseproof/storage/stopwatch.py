"""The time of a run by stages."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["Stopwatch"]


class Stopwatch:
    """Adds up the seconds of named stages; all other time is the rest.

    Work on a GPU is only queued by the call that starts it. To charge it to its own stage, pass a function that waits
    for the device: exact, and slower, since the queue runs empty after every stage.

    Args:
        wait: called at the end of every stage; None does not wait.
    """

    def __init__(self, wait: Callable[[], None] | None = None) -> None:
        self.seconds: dict[str, float] = {}
        self._wait = wait
        self._started = time.perf_counter()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Charge the time of the block to a stage. Stages must not be nested."""
        begun = time.perf_counter()
        try:
            yield
        finally:
            if self._wait is not None:
                self._wait()
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - begun

    def restart(self) -> None:
        """Start again from zero."""
        self.seconds.clear()
        self._started = time.perf_counter()

    def shares(self) -> dict[str, float]:
        """Return each stage's share of the time since the start, in order, and the remaining share as "rest"."""
        total = time.perf_counter() - self._started
        shares = {name: seconds / total for name, seconds in self.seconds.items()}
        return shares | {"rest": max(0.0, 1.0 - sum(shares.values()))}
