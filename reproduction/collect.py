"""Copy finished records into reproduction/records: `python reproduction/collect.py runs` takes all below runs/.

What is copied are votes, and what verified.json says. Left out are pictures of the data set's images and where the data
lay: neither decides anything.
"""

import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from noiseproof.experiments.verified import FILE
from noiseproof.records import Record
from noiseproof.stopped_records import StoppedRecord

RECORDS = Path(__file__).parent / "records"


def collect(runs: Path) -> None:
    """Copy every record below a folder; one that is there already is made anew."""
    for kind in (Record, StoppedRecord):
        for path in sorted(runs.rglob(kind.configuration)):
            record, place = kind.open(path.parent), RECORDS / path.parent.relative_to(runs)
            left, faults = record.missing()
            if left:
                sys.stdout.write(
                    f"{path.parent}: {len(left)} shards are missing, left out {'; '.join(map(str, faults))}\n"
                )
                continue
            for old in (place / kind.configuration, *(place / "votes").glob("*")):
                old.unlink(missing_ok=True)
            copy = kind.create(place, record.settings, _without_places(record.about))
            for shard, table in zip(record.shards, record.tables(), strict=True):
                bare = replace(table, thumbnails=[b""] * len(table.index))
                copy.write_shard(shard, bare, record.shard_about(shard))
            answers = path.parent / "votes" / "answers.json"
            if answers.exists():
                shutil.copyfile(answers, place / "votes" / answers.name)
            sys.stdout.write(f"{place}\n")
    for path in sorted(runs.rglob(FILE)):
        place = RECORDS / path.relative_to(runs)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, place)
        sys.stdout.write(f"{place}\n")


def _without_places(about: Any) -> Any:
    """Leave out of a record's `about` where files lay on the machine that made it."""
    if isinstance(about, dict):
        return {key: _without_places(value) for key, value in about.items() if key not in {"location", "source"}}
    return about


if __name__ == "__main__":
    collect(Path(sys.argv[1]))
