"""Write the records and commands of docs/reproduction.md anew: `python reproduction/tables.py`. A test holds the page to it.

What a record took, and where, is what it says itself; the commands are those that the recipes have in a folder where nothing is.
"""

import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

from noiseproof.experiments import FIGURES, load_figure
from noiseproof.reports.sources import Source, sources

ROOT = Path(__file__).parents[1]
RECORDS, PAGE = ROOT / "reproduction" / "records", ROOT / "docs" / "reproduction.md"
BEGIN, END = "<!-- written by reproduction/tables.py -->\n", "<!-- end -->\n"
WIDTH = 116


def wrapped(command: str) -> str:
    """Return a command as an indented block, with lines that go on."""
    lines, line = [], "   "
    for word in shlex.split(command):
        if len(line) + len(word) + 3 > WIDTH:
            lines.append(f"{line} \\")
            line = "       "
        line += f" {word if word == '&&' else shlex.quote(word)}"
    return "\n".join([*lines, line])


def rows() -> Iterator[str]:
    """Yield a row for each record that a figure reads; the rungs of the ladder are one."""
    read: dict[str, object] = {}
    for name in FIGURES:
        if name != "all":
            read |= load_figure(name).compute(RECORDS).sources
    ladder: list[Source] = []
    for source in sources(read):
        if "ladder-l2" in source.folder:
            ladder.append(source)
        else:
            yield _row(source.folder, source.votes, source.seconds, source.machine)
    took = sum(source.seconds or 0.0 for source in ladder)
    yield _row(str(Path(ladder[0].folder).parent), ladder[0].votes, took, f"{len(ladder)} attacks, several machines")


def _row(folder: str, votes: str, seconds: float | None, machine: str) -> str:
    time = "not recorded" if seconds is None else f"{seconds:,.0f}"
    return f"| `{Path(folder).relative_to(RECORDS)}` | {votes} | {time} | {machine.removesuffix(' 80GB HBM3')} |"


def commands() -> Iterator[str]:
    """Yield what each record of Table 1 and Figure 1 is, and one of Figure 3, and the commands that make it."""
    known: set[str] = set()
    for name, count in (("table1", None), ("figure1", None), ("figure3", 1)):
        for each in load_figure(name).compute(Path("runs")).missing[:count]:
            if each.command not in known:
                known.add(each.command)
                yield f"{each.what}:\n\n{wrapped(each.command)}\n"


def section() -> str:
    """Return the lines between BEGIN and END; run it where no folder is called runs."""
    table = ["| record | votes | seconds | machine |", "|---|---|---|---|", *rows()]
    return "\n".join(["", *table, "", *commands()])


def written(text: str) -> str:
    """Return a page with its section written anew."""
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}{section()}\n{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text()))
    sys.stdout.write(f"{PAGE}\n")
