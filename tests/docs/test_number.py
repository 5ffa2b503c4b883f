"""The example of the page on the number: it runs, and its numbers are those of the closed form."""

import doctest
import math
import re
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "evidence" / "streams.md"


def test_the_example_runs():
    found = doctest.testfile(str(PAGE), module_relative=False)
    assert found.attempted >= 8
    assert found.failed == 0


def test_its_numbers_are_those_of_the_closed_form():
    """40,000 letters: of 39,999 losses, 1 or 4,000 come after a start."""
    said = PAGE.read_text(encoding="utf-8")
    reset, carried = (math.exp((n * math.log(2) + (39_999 - n) * math.log(10 / 9)) / 39_999) for n in (4_000, 1))
    assert f"reset {reset:.4f}, carried {carried:.4f}" in said
    change = math.log(carried / reset)
    assert re.search(rf"^{change:.4f} nats/token", said, re.MULTILINE)
    assert f"{100 * (carried / reset - 1):.2f} % of the perplexity" in said
