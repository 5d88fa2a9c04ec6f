"""docs/plug-ins.md lists what the registries list. `python tests/plugins/test_page.py` writes it."""

import inspect
from functools import partial
from pathlib import Path
from typing import Any

from noiseproof.attacks.registry import ATTACKS
from noiseproof.bounds.registry import BOUNDS
from noiseproof.certificates.registry import CERTIFICATES
from noiseproof.data.registry import DATASETS
from noiseproof.models.registry import MODELS
from noiseproof.noises.registry import NOISES
from noiseproof.objectives.registry import OBJECTIVES
from noiseproof.plugins import Registry

PAGE = Path(__file__).parents[2] / "docs" / "plug-ins.md"
TITLES: dict[str, Registry[Any]] = {
    "Noises": NOISES,
    "Bounds": BOUNDS,
    "Certificates": CERTIFICATES,
    "Training objectives": OBJECTIVES,
    "Attacks": ATTACKS,
    "Networks": MODELS,
    "Data sets": DATASETS,
}
HEAD = """# Plug-ins by name

The names are those of the command line; the second column is the name in Python, in the package of the heading. This
page is generated from the registries, one in each folder, and a test keeps it equal to them.
[CONTRIBUTING](../CONTRIBUTING.md#add-a-plug-in) says how to add one.
"""


def page() -> str:
    parts = [HEAD]
    for title, table in TITLES.items():
        rows = [f"| `{name}` | `{made_by(table[name])}` |" for name in table]
        parts.append("\n".join([f"## {title}: `{table.package}`", "", "| name | in Python |", "|---|---|", *rows, ""]))
    return "\n".join(parts)


def made_by(make: Any) -> str:
    if isinstance(make, partial):
        return f"{make.func.__name__}({', '.join(map(repr, make.args))})"
    return make.__name__ if inspect.isclass(make) else f"{make.__name__}()"


def test_the_page_is_what_the_registries_say() -> None:
    assert PAGE.read_text() == page(), "write it again: python tests/plugins/test_page.py"


if __name__ == "__main__":
    PAGE.write_text(page())
