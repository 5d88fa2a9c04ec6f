"""Networks trained by this project, by name: from the checkout or downloaded, and checked by SHA-256."""

import json
import os
from functools import cache
from importlib.metadata import metadata
from importlib.resources import files
from pathlib import Path

from noiseproof.errors import InvalidInputError, RunError
from noiseproof.models.weights import file_digest
from noiseproof.storage.downloads import cache as downloads
from noiseproof.storage.downloads import download

__all__ = ["fetch", "shipped"]

_VARIABLE = "NOISEPROOF_ZOO"


@cache
def shipped() -> dict[str, str]:
    """Return the SHA-256 (hexadecimal) of the checkpoint file of each network, by its name."""
    found: dict[str, str] = json.loads(files("noiseproof.models").joinpath("zoo.json").read_text())
    return found


def fetch(name: str) -> Path:
    """Return the path of the checkpoint of a network of the zoo.

    If the environment variable NOISEPROOF_ZOO is a folder, the file must be there. Otherwise it is the file in `zoo/` of
    the checkout of this package, or it is downloaded once, from the URL in NOISEPROOF_ZOO or in the project's metadata.

    Args:
        name: one of `shipped()`.

    Raises:
        InvalidInputError: there is no such network in the zoo.
        RunError: the file cannot be found or downloaded, or has another SHA-256.
    """
    if name not in shipped():
        raise InvalidInputError(
            f"zoo:{name}",
            required=f"a network of the zoo: {', '.join(shipped())}",
            got="no such network",
            remedy=f"Name one of them: zoo:{next(iter(shipped()))}.",
        )
    place, file = os.environ.get(_VARIABLE) or _address(), f"{name}.safetensors"
    remote = place.startswith(("http://", "https://"))
    folder = Path(place) if place and not remote else _of_checkout()
    path = None if folder is None else folder / file
    if path is None or not path.is_file():
        if remote:
            return _download(f"{place.rstrip('/')}/{file}", name)
        unset = f"no such folder: {_VARIABLE} is not set, and this installation has no checkout"
        raise RunError(
            f"the weights of zoo:{name}",
            required=f"in the folder, or at the address, that the environment variable {_VARIABLE} names",
            got=unset if path is None else f"no file {path}",
            remedy=f"The weights are in the folder zoo/ of the project's repository: clone it, and set {_VARIABLE} to that "
            "folder.",
        )
    if file_digest(path) != shipped()[name]:
        raise RunError(
            str(path),
            required=f"the file that was shipped, SHA-256 {shipped()[name]}",
            got=file_digest(path),
            remedy="It is damaged, or of another version: restore it.",
        )
    return path


def _of_checkout() -> Path | None:
    """Return the folder `zoo/` of the checkout of this package; None if it was installed from a wheel."""
    root = Path(__file__).parents[3]
    return root / "zoo" if (root / "pyproject.toml").is_file() else None


def _address() -> str:
    """Return the URL of the zoo in the package's metadata; empty if there is none."""
    for entry in metadata("noiseproof").get_all("Project-URL") or []:
        label, _, address = entry.partition(",")
        if label.strip().lower() == "zoo":
            return str(address).strip()
    return ""


def _download(address: str, name: str) -> Path:
    required, place = f"the weights of zoo:{name}", f"{name}.safetensors"
    remedy = f"Try again: a download goes on where it stopped. Or set {_VARIABLE} to a folder that holds {place}."
    # of requests and of pooch: a wrong checksum
    with RunError.instead_of((OSError, ValueError), address, required=required, remedy=remedy):
        return download(address, downloads() / "zoo" / place, f"sha256:{shipped()[name]}")
