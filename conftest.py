"""Python code in docs runs as tests, block after block in one namespace a page; `tests/test_docs.py` runs the README's."""

from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser

pytest_collect_file = Sybil(parsers=[PythonCodeBlockParser()], patterns=["docs/*.md"]).pytest()
