"""What decides the results of a record."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any, TypeVar

from noiseproof.data import random_subset
from noiseproof.runs.keys import plain_seed
from noiseproof.sampling import sampler_of

__all__ = ["ShardSettings", "chosen_indices", "how_chosen", "which_images"]

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
        subset: how many images were drawn at random, of how many and by which seed: start, stop and step then count these.
            None: none were drawn.
    """

    data: Mapping[str, Any]
    model: Mapping[str, Any]
    num_classes: int
    start: int
    stop: int
    step: int
    shard_size: int
    engine: Mapping[str, Any] | None = None
    subset: Mapping[str, Any] | None = None

    @cached_property
    def indices(self) -> Sequence[int]:
        """The images of the record, by their index in the data set."""
        return chosen_indices(vars(self))

    @property
    def precision(self) -> str | None:
        """The arithmetic of the classifier; None in records of votes of format 1."""
        return (self.engine or {}).get("precision")

    @property
    def sampler(self) -> str:
        """How noise was added: one of `sampling.SAMPLERS`."""
        return sampler_of(self.engine or {})

    @property
    def drawn_from(self) -> int | None:
        """The number of images of the data set where these are a random subset of it, whole; else None."""
        drawn = self.subset
        return int(drawn["of"]) if drawn is not None and len(self.indices) == drawn["images"] else None

    def under(self: SettingsT, engine: Mapping[str, Any]) -> SettingsT:  # noqa: PYI019 - beartype knows no Self
        """Return the settings for a classifier that runs like that: `Running.engine`."""
        return replace(self, engine=dict(engine))

    def plain(self) -> dict[str, Any]:
        """Return the settings as JSON-compatible data."""
        found = {name: value for name, value in asdict(self).items() if value is not None}
        return found | ({"seed": plain_seed(found["seed"])} if "seed" in found else {})


def chosen_indices(settings: Mapping[str, Any]) -> Sequence[int]:
    """Return the indices of images in their data set, by the settings start, stop, step and subset."""
    positions, drawn = range(settings["start"], settings["stop"], settings["step"]), settings.get("subset")
    if drawn is None:
        return positions
    found = random_subset(drawn["of"], drawn["images"], drawn["seed"])
    return tuple(found[position] for position in positions)


def how_chosen(step: int, subset: Mapping[str, Any] | None, images: int) -> str:
    """Say how so many images of a record were chosen, by its settings."""
    if subset is None:
        return f"every {step}"
    drawn = f"drawn at random from {subset['of']} by seed {subset['seed']}"
    if images == subset["images"]:
        return drawn
    part = f"the first {images}" if step == 1 else f"every {step}"
    return f"{part} of {subset['images']} {drawn}: no random sample"


def which_images(settings: Mapping[str, Any]) -> str:
    """Say which images a record has, by its settings start, stop, step and subset."""
    positions, drawn = range(settings["start"], settings["stop"], settings["step"]), settings.get("subset")
    how = how_chosen(positions.step, drawn, len(positions))
    return f"{positions.start} to {positions.stop - 1}, {how}" if drawn is None else f"{len(positions)}, {how}"
