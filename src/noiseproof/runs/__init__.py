"""Jobs over a whole data set, and their records: folders that can be resumed, and shared by processes."""

from typing import TYPE_CHECKING, Any

from noiseproof.runs.registry import RECORDS

if TYPE_CHECKING:
    from noiseproof.runs.attack import AttackImages as AttackImages
    from noiseproof.runs.attack_records import AttackRecord as AttackRecord
    from noiseproof.runs.audit import Audit as Audit
    from noiseproof.runs.counts import CountVotes as CountVotes
    from noiseproof.runs.job import Job as Job
    from noiseproof.runs.job import Selection as Selection
    from noiseproof.runs.job import execute as execute
    from noiseproof.runs.listener import Listener as Listener
    from noiseproof.runs.origin import DataChoice as DataChoice
    from noiseproof.runs.records import Record as Record
    from noiseproof.runs.rejudge import Rejudge as Rejudge
    from noiseproof.runs.running import Engine as Engine
    from noiseproof.runs.sequential import SequentialVotes as SequentialVotes
    from noiseproof.runs.sequential_records import SequentialRecord as SequentialRecord
    from noiseproof.runs.subject import Subject as Subject
    from noiseproof.runs.verification import Verify as Verify
    from noiseproof.runs.verification_records import VerificationRecord as VerificationRecord

__all__ = list(RECORDS.exports)


if not TYPE_CHECKING:  # type checkers know the names by the imports above, and reject others

    def __getattr__(name: str) -> Any:
        return RECORDS.export(name)


def __dir__() -> list[str]:
    return sorted(__all__)
