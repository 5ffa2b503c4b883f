"""The duties of every rule: a code, a name, a severity, a page with all of its parts."""

import re

import pytest

from rnneval.lint.rules import RULES, UNREADABLE
from rnneval.pages import page
from rnneval.wiring.faults import FAULTS

PARTS = ("What it finds", "Why it is wrong", "Example", "What to write instead", "Known problems", "References")
STABLE = {
    "RNN001": "shared-state",
    "RNN002": "crossed-state",
    "RNN003": "swapped-slots",
    "RNN004": "stale-state",
    "RNN005": "ignored-state",
    "RNN006": "dropped-state",
    "RNN007": "shared-layer",
    "RNN008": "mutable-default",
    "RNN010": "stateful-shuffle",
}
EVERY = [UNREADABLE, *RULES]


def test_codes_and_names_stay_what_they_are() -> None:
    assert {rule.code: rule.name for rule in RULES} == STABLE
    assert [rule.code for rule in RULES] == sorted(STABLE)


@pytest.mark.parametrize("rule", EVERY, ids=lambda rule: rule.name)
def test_every_rule_has_its_page(rule) -> None:
    own = page(rule.name)
    assert (own.name, own.code) == (rule.name, rule.code)
    assert tuple(re.findall(r"^## (?!In PyTorch$)(.*)$", own.text, re.MULTILINE)) == PARTS
    assert own.text.count("```") == 4
    assert rule.code in own.section("Example")
    assert own.kind == ("rule" if rule.name in FAULTS else "lint rule")
