"""The secret key of a record's noise: kept beside it for its owner alone, and revealed when every vote is counted.

    RUN/key.secret     while votes are counted: readable by its owner alone; whoever has it can predict the noise
    RUN/key.revealed   afterwards: with it anyone can draw the same noise, and count the same votes, again

Both hold the key in hexadecimal. The record has its commitment, the SHA-256 digest of the key, from the beginning.
"""

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from noiseproof.errors import DamagedRecordError, InvalidInputError, RunError
from noiseproof.randomness import SecretKey, Seed
from noiseproof.storage.files import write_atomically

__all__ = ["REVEALED", "keep_key", "kept_key", "key_state", "named_seed", "plain_seed", "reveal_key", "seed_in"]

SECRET, REVEALED = "key.secret", "key.revealed"

_CIPHER, _COMMITMENT = "cipher", "sha256 of the key"


def plain_seed(seed: Seed) -> Any:
    """Return a seed as records write it: a number, or the commitment to a secret key."""
    return {_CIPHER: "chacha20", _COMMITMENT: seed.commitment} if isinstance(seed, SecretKey) else int(seed)


def seed_in(record: Path, plain: Any) -> Any:
    """Return the seed of a record from its configuration; without its file, of a secret key only the commitment is known.

    Raises:
        DamagedRecordError: the file holds another key, or none.
        KeyError: the configuration names no commitment.
    """
    if not isinstance(plain, Mapping):
        return plain
    committed = SecretKey(commitment=str(plain[_COMMITMENT]))
    kept = kept_key(record)
    if kept is not None and kept != committed:
        raise DamagedRecordError(
            str(record),
            required=f"the key whose SHA-256 digest is {committed.commitment}",
            got=f"one of digest {kept.commitment}",
            remedy=f"Restore the record's own {SECRET} or {REVEALED}.",
        )
    return kept or committed


def kept_key(record: Path) -> SecretKey | None:
    """Return the key that is kept in a folder, or None.

    Raises:
        DamagedRecordError: the file cannot be read, or holds no key.
    """
    for name in (REVEALED, SECRET):
        file = record / name
        if not file.is_file():
            continue
        try:
            key = bytes.fromhex(file.read_text(encoding="ascii"))
            if len(key) == SecretKey.BYTES:
                return SecretKey(key)
            got: object = f"{len(key)} bytes"
        except (OSError, ValueError) as error:
            got = error
        raise DamagedRecordError(
            str(file), required=f"{2 * SecretKey.BYTES} hexadecimal digits", got=got, remedy="Restore the file."
        )
    return None


def named_seed(record: Path, seed: int | None, randomness: str | None) -> Seed | None:
    """Return the seed that is named for a folder; None where neither a seed nor a generator is named.

    Args:
        record: the folder: a secret key that is kept there is taken.
        seed: for Philox.
        randomness: "philox" or "chacha20".

    Raises:
        InvalidInputError: a seed for ChaCha20, whose key is secret.
    """
    if randomness == "chacha20" and seed is not None:
        raise InvalidInputError(
            "seed", required='left out with randomness="chacha20"', got=seed, remedy="Its secret key is drawn."
        )
    if randomness == "chacha20":
        return kept_key(record) or SecretKey.draw()
    return 0 if seed is None and randomness is not None and kept_key(record) else seed


def keep_key(record: Path, key: SecretKey) -> None:
    """Keep a key in the folder of its record, readable by its owner alone.

    Raises:
        RunError: the folder has another key already, or cannot be written.
    """
    file = record / SECRET
    if not write_atomically(file, key.reveal().hex().encode(), replace=False, private=True) and kept_key(record) != key:
        raise RunError(
            str(file),
            required="no key, or that of this certification",
            got="another one",
            remedy="Take the key that lies there, or choose another folder: out=.",
        )


def key_state(record: Path) -> str:
    """Return in words whether the secret key of a record is revealed, still secret, or absent."""
    if (record / REVEALED).is_file():
        return f"revealed in {REVEALED}"
    return f"secret, in {SECRET}, until all votes are counted" if (record / SECRET).is_file() else "not here"


def reveal_key(record: Path) -> None:
    """Make the key of a record readable for all, once every vote is counted."""
    file = record / SECRET
    with contextlib.suppress(FileNotFoundError):  # done before, or by another process in this moment
        file.chmod(0o644)
        file.rename(record / REVEALED)
