"""Every bound and certificate names its proof; proofs beside the code have one form, and their tests exist."""

import re
from pathlib import Path
from typing import Any

import pytest

from noiseproof.bounds.registry import BOUNDS
from noiseproof.certificates import Divergence, FDivergence
from noiseproof.certificates.registry import CERTIFICATES
from test_package import SOURCE

HEADINGS = ["Precondition", "Claim", "Proof", "What the code returns", "The test that would fail"]
PROOFS = sorted(SOURCE.rglob("*.md"))
STATEMENTS = {
    kind.__name__: kind
    for made in (*(BOUNDS.make(name) for name in BOUNDS), *(CERTIFICATES.make(name) for name in CERTIFICATES))
    for kind in [type(made)]
}


@pytest.mark.parametrize("kind", STATEMENTS.values(), ids=STATEMENTS)
def test_every_statement_names_its_proof(kind: type[Any]) -> None:
    assert re.search(r"\bProof\b", kind.__doc__ or ""), f"{kind.__name__} has no proof in its docstring"


def test_statements_are_all_of_the_registries() -> None:
    assert len(STATEMENTS) == len(BOUNDS) + len(CERTIFICATES) - 3, "four names are FDivergence of one divergence each"
    assert issubclass(type(CERTIFICATES.make("kl").divergence), Divergence)  # type: ignore[attr-defined]
    assert STATEMENTS["FDivergence"] is FDivergence


@pytest.mark.parametrize("page", PROOFS, ids=lambda page: page.stem)
def test_a_proof_has_the_form_of_all(page: Path) -> None:
    text = page.read_text()
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == HEADINGS
    assert all(len(line) <= 120 for line in text.splitlines())
    assert f"`{page.name}`" in page.with_suffix(".py").read_text(), "the code names its proof"
    for link in re.findall(r"\]\(([^)]+)\)", text):
        assert (page.parent / link).exists()


@pytest.mark.parametrize("page", PROOFS, ids=lambda page: page.stem)
def test_the_tests_of_a_proof_exist(page: Path) -> None:
    named = re.findall(r"`([\w/]+\.py)::(\w+)`", page.read_text().partition("## The test that would fail")[2])
    assert named
    for file, test in named:
        assert f"def {test}(" in (Path(__file__).parent / file).read_text(), f"{page.name} names {file}::{test}"
