"""The page docs/files.md: every test that it names is one, and every rule of files stands on it."""

import re
from pathlib import Path

import pytest

from rnneval.pages import all_pages

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "files.md").read_text(encoding="utf-8")
SOURCES = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`(test_\w+)`", PAGE))))
def test_every_proof_is_a_test(name):
    assert f"\ndef {name}(" in SOURCES


def test_every_silent_failure_has_a_proof():
    rows = PAGE.partition("## What is silent elsewhere")[2].partition("\n## ")[0].splitlines()
    rows = [row for row in rows if row.startswith("| ")][2:]
    assert len(rows) >= 18
    assert [row for row in rows if "`test_" not in row] == []


def test_every_rule_is_on_the_page():
    families = {"zip": "zip-…", "hdf5": "hdf5-…"}
    named = {page.name for page in all_pages() if page.kind == "loading rule"}
    assert [name for name in named if f"{families.get(name.split('-')[0], name)}" not in PAGE] == []
