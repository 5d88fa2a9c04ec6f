"""Copy finished records into reproduction/records: `python reproduction/collect.py runs` takes all below runs/.

What is copied are votes, and what verified.json says. Left out are pictures of the data set's images, the points that
attacks found, since these are such pictures too, and where the data lay. None of it decides anything that is drawn; to
judge an attack again by other votes, its points are needed, and its command makes them.
"""

import shutil
import sys
from dataclasses import replace
from pathlib import Path

from noiseproof.runs.attack_records import AttackRecord
from noiseproof.runs.records import Record
from noiseproof.runs.sequential_records import SequentialRecord
from noiseproof.runs.verification_records import Verified
from noiseproof.storage.provenance import without_places
from noiseproof.training.state import LOG

RECORDS = Path(__file__).parent / "records"


def collect(runs: Path) -> None:
    """Copy every record below a folder; one that is there already is made anew."""
    for kind in (Record, SequentialRecord, AttackRecord):
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
            copy = kind.create(place, record.settings, without_places(record.about))
            if isinstance(record, AttackRecord):  # its votes hold no pictures
                _copy_votes(path.parent, place, "*.parquet")
            else:
                for shard, table in zip(record.shards, record.tables(), strict=True):
                    bare = replace(table, thumbnails=[b""] * len(table.index))
                    copy.write_shard(shard, bare, record.shard_about(shard))
            _copy_votes(path.parent, place, "answers*.json")
            if (log := path.parent / LOG).exists():
                shutil.copyfile(log, place / LOG)
            sys.stdout.write(f"{place}\n")
    for path in sorted(runs.rglob(Verified.configuration)):
        place = RECORDS / path.relative_to(runs)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, place)
        sys.stdout.write(f"{place}\n")


def _copy_votes(run: Path, place: Path, pattern: str) -> None:
    (place / "votes").mkdir(exist_ok=True)
    for file in (run / "votes").glob(pattern):
        shutil.copyfile(file, place / "votes" / file.name)


if __name__ == "__main__":
    collect(Path(sys.argv[1]))
