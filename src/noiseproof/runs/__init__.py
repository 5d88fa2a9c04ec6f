"""Jobs over a whole data set, and their records: folders that can be resumed, and shared by processes."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from noiseproof.runs.attack import AttackImages
    from noiseproof.runs.attack_records import AttackRecord
    from noiseproof.runs.audit import Audit
    from noiseproof.runs.counts import CountVotes
    from noiseproof.runs.data_choice import DataChoice
    from noiseproof.runs.job import Job, Selection, execute
    from noiseproof.runs.listener import Listener
    from noiseproof.runs.records import Record
    from noiseproof.runs.rejudge import Rejudge
    from noiseproof.runs.running import Engine
    from noiseproof.runs.sequential import SequentialVotes
    from noiseproof.runs.sequential_records import SequentialRecord
    from noiseproof.runs.subject import Subject
    from noiseproof.runs.verification import Verify
    from noiseproof.runs.verification_records import VerificationRecord

__all__ = [
    "AttackImages",
    "AttackRecord",
    "Audit",
    "CountVotes",
    "DataChoice",
    "Engine",
    "Job",
    "Listener",
    "Record",
    "Rejudge",
    "Selection",
    "SequentialRecord",
    "SequentialVotes",
    "Subject",
    "VerificationRecord",
    "Verify",
    "execute",
]

# Names are loaded when first used, so that reading a record imports neither attacks nor training.
_HOMES = {
    "AttackImages": "attack",
    "AttackRecord": "attack_records",
    "Audit": "audit",
    "CountVotes": "counts",
    "DataChoice": "data_choice",
    "Engine": "running",
    "Job": "job",
    "Listener": "listener",
    "Record": "records",
    "Rejudge": "rejudge",
    "Selection": "job",
    "SequentialRecord": "sequential_records",
    "SequentialVotes": "sequential",
    "Subject": "subject",
    "VerificationRecord": "verification_records",
    "Verify": "verification",
    "execute": "job",
}


if not TYPE_CHECKING:  # type checkers know the names by the imports above, and reject others

    def __getattr__(name: str) -> Any:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
