"""Python code in docs runs as tests, block after block in one namespace a page; `tests/test_docs.py` runs the README's."""

import pytest
from sybil import Sybil
from sybil.integration.pytest import SybilItem
from sybil.parsers.markdown import PythonCodeBlockParser

pytest_collect_file = Sybil(parsers=[PythonCodeBlockParser()], patterns=["docs/*.md"]).pytest()

_ran: dict[int, set[int]] = {}
"""Where the blocks begin that ran in this process, by the identity of their page."""


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Run the blocks on which one builds where another process of the tests took them."""
    if not isinstance(item, SybilItem):
        return
    page = item.example.document
    ran = _ran.setdefault(id(page), set())
    for earlier in page.examples():
        if earlier.start < item.example.start and earlier.start not in ran:
            earlier.evaluate()
            ran.add(earlier.start)
    ran.add(item.example.start)
