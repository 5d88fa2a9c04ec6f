"""What decides the results of a record."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, TypeVar

from noiseproof.runs.keys import plain_seed

__all__ = ["ShardSettings"]

SettingsT = TypeVar("SettingsT", bound="ShardSettings")


@dataclass(frozen=True, kw_only=True)
class ShardSettings:
    """What decides the results of a record, as plain data. Equal settings, equal results.

    Attributes:
        data: name, split, digest, image shape of the data set.
        model: name and digest of the classifier.
        num_classes: k.
        start: index of the first image.
        stop: index after the last.
        step: every how many images one is taken.
        shard_size: images per file.
        engine: how the classifier ran and noise was drawn, `VoteCounter.settings()`; None in records of votes of format 1,
            which can be read and not continued.
    """

    data: Mapping[str, Any]
    model: Mapping[str, Any]
    num_classes: int
    start: int
    stop: int
    step: int
    shard_size: int
    engine: Mapping[str, Any] | None = None

    @property
    def indices(self) -> range:
        """The images of the record, by their index in the data set."""
        return range(self.start, self.stop, self.step)

    def under(self: SettingsT, engine: Mapping[str, Any]) -> SettingsT:  # noqa: PYI019 - beartype knows no Self
        """Return the settings for a classifier that runs like that: `Running.engine`."""
        return replace(self, engine=dict(engine))

    def plain(self) -> dict[str, Any]:
        """Return the settings as JSON-compatible data."""
        found = {name: value for name, value in asdict(self).items() if value is not None}
        return found | ({"seed": plain_seed(found["seed"])} if "seed" in found else {})
