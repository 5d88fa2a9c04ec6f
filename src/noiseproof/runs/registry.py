"""Every kind of record by the file with its settings, and what the package exports. Nothing heavy is loaded here."""

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from noiseproof.plugins import Registry

if TYPE_CHECKING:
    from noiseproof.runs.store import ShardedRecord

__all__ = ["CERTIFICATIONS", "NETWORK", "RECORDS", "SEQUENTIAL", "kinds_in", "record_in", "sequential_within"]

_VOTES, SEQUENTIAL, _ATTACK, _VERIFICATION = "record.json", "sequential.json", "attack.json", "verification.json"

CERTIFICATIONS = (_VOTES, SEQUENTIAL)
"""The kinds of record that `noiseproof certify` makes."""

NETWORK = "checkpoint.safetensors"
"""The network that was trained in a folder, `training.CHECKPOINT`."""

RECORDS: "Registry[ShardedRecord[Any, Any]]" = Registry(
    "record",
    "noiseproof.runs",
    {
        _VOTES: "records:Record",
        SEQUENTIAL: "sequential_records:SequentialRecord",
        _ATTACK: "attack_records:AttackRecord",
        _VERIFICATION: "verification_records:VerificationRecord",
    },
    exports=(
        "attack:AttackImages",
        "audit:Audit",
        "counts:CountVotes",
        "job:Job",
        "job:Selection",
        "job:execute",
        "listener:Listener",
        "origin:DataChoice",
        "rejudge:Rejudge",
        "running:Engine",
        "sequential:SequentialVotes",
        "subject:Subject",
        "verification:Verify",
    ),
)


def kinds_in(folder: Path) -> list[str]:
    """Return the kinds of record in a folder. It holds at most one: shards of all kinds have the same names."""
    return [kind for kind in RECORDS if (folder / kind).is_file()]


def record_in(folder: Path, kinds: Collection[str] = tuple(RECORDS)) -> Any:
    """Open the record of one of these kinds that lies in a folder; None without one.

    Raises:
        RunError: it is damaged, or a newer version wrote it.
    """
    for kind in kinds_in(folder):
        if kind in kinds:
            found: Any = RECORDS[kind]
            return found.open(folder)
    return None


def sequential_within(run: Path) -> list[Path]:
    """Return the folders of the sequential certifications that lie in a run folder, as RUN/radius-0.5 does.

    A folder in which a network was trained stands for that network: there are none for it.
    """
    return [] if (run / NETWORK).exists() else sorted(path.parent for path in run.glob(f"*/{SEQUENTIAL}"))
