"""What is certified: a classifier, its noise, its data."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from noiseproof import data
from noiseproof.cli import names
from noiseproof.data import Dataset
from noiseproof.errors import InvalidInputError
from noiseproof.models import fetch, load_checkpoint, load_model, model_digest
from noiseproof.noises import Noise, from_spec
from noiseproof.training import CHECKPOINT

__all__ = ["DataChoice", "Subject"]

_ZOO = "zoo:"


@dataclass(frozen=True)
class DataChoice:
    """The data that a command names; what is None is as in training.

    Attributes:
        name: mnist, a file, a folder.
        classes: k of images of the user's own.
        data_dir: where the files of named sets lie.
        allow_unverified: whether files that are not the published ones will do.
        image_size: to which images of a folder are brought.
    """

    name: str | None = None
    classes: int | None = None
    data_dir: Path | None = None
    allow_unverified: bool = False
    image_size: int | None = None

    def load(self) -> Dataset:
        """Load the test split.

        Raises:
            InvalidInputError: no data are named.
        """
        if self.name is None:
            raise InvalidInputError(
                "--data",
                required="given with --model",
                got="nothing",
                remedy="A run folder knows its noise and data; a model of your own does not.",
            )
        return data.load(
            self.name,
            "test",
            self.classes,
            data_dir=self.data_dir,
            allow_unverified=self.allow_unverified,
            image_size=self.image_size or data.IMAGE_SIZE,
        )

    def load_as_trained(self, training: dict[str, Any]) -> Dataset:
        """Load the test split of the data that a network was trained on, from where they lay then, if still there."""
        if self.name is not None:
            return self.load()
        used, found = training["data"], training.get("made", {}).get("data", {})
        place = Path(found["location"]) if found.get("location") and Path(found["location"]).exists() else None
        named = used["name"] in data.names()
        return DataChoice(
            name=str(place) if place is not None and not named else used["name"],
            classes=self.classes or found.get("num_classes"),
            data_dir=self.data_dir or (place if named else None),
            allow_unverified=self.allow_unverified or used.get("verified") is False,
            image_size=self.image_size or found.get("image_shape", [None])[-1],
        ).load()


@dataclass(frozen=True)
class Subject:
    """What is certified.

    Attributes:
        classifier: a torch module, a runner or a function.
        model: what the record says of it.
        noise: with which noise.
        dataset: on which images.
        training: how it was trained, where that is known.
    """

    classifier: Any
    model: dict[str, Any]
    noise: Noise
    dataset: Dataset
    training: dict[str, Any] = field(default_factory=dict)

    @staticmethod
    def trained(run: Path, sigma: float | None, choice: DataChoice | None = None) -> "Subject":
        """The network of a run folder, with the noise and the data it was trained for unless others are named."""
        return _of_checkpoint(run / CHECKPOINT, None, None, sigma, choice or DataChoice())

    @staticmethod
    def brought(
        spec: str, weights: Path | None, choice: DataChoice, noise: names.NoiseName | None, sigma: float | None
    ) -> "Subject":
        """A classifier of the user's own, one of the zoo, or a checkpoint: these two know their noise and data."""
        if spec.startswith(_ZOO) or spec.endswith(".safetensors"):
            if weights is not None:
                raise InvalidInputError(
                    "--weights", required=f"left out: {spec} holds its own", got=weights, remedy="Leave it out."
                )
            path = fetch(spec.removeprefix(_ZOO)) if spec.startswith(_ZOO) else Path(spec)
            return _of_checkpoint(path, spec if spec.startswith(_ZOO) else None, noise, sigma, choice)
        if sigma is None:
            raise InvalidInputError(
                "--sigma",
                required="given with --model",
                got="nothing",
                remedy="A run folder knows its noise and data; a model of your own does not.",
            )
        loaded = load_model(spec, weights)
        return Subject(
            loaded.classifier, loaded.about, names.noise(noise or names.NoiseName.gaussian, sigma), choice.load()
        )


def _of_checkpoint(
    path: Path, name: str | None, noise: names.NoiseName | None, sigma: float | None, choice: DataChoice
) -> Subject:
    checkpoint = load_checkpoint(path)
    spec = dict(checkpoint.record["settings"]["noise"])
    (scale,) = (value for key, value in spec.items() if key != "name")
    chosen = (
        from_spec({key: value if key == "name" or sigma is None else sigma for key, value in spec.items()})
        if noise is None
        else names.noise(noise, scale if sigma is None else sigma)
    )
    model = {"name": name or checkpoint.model_name, "digest": model_digest(checkpoint.model)}
    return Subject(checkpoint.model, model, chosen, choice.load_as_trained(checkpoint.record), checkpoint.record)
