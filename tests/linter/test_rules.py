"""What every rule owes: a code, a name, a severity, a text with all of its parts."""

import re
from pathlib import Path

import pytest

from rnneval.linter import rules as lint_rules
from rnneval.linter.rules import all_rules, codes
from rnneval.wiring import rules as dynamic

PARTS = ("What it finds", "Why it is wrong", "Example", "What to write instead", "When it is silent", "References")
STABLE = {
    "RNN001": "shared-state",
    "RNN002": "crossed-state",
    "RNN003": "swapped-slots",
    "RNN004": "stale-state",
    "RNN005": "ignored-state",
    "RNN006": "dropped-state",
    "RNN007": "shared-layer",
    "RNN008": "mutable-default",
    "RNN009": "state-unpacking",
    "RNN010": "stateful-shuffle",
    "RNN011": "stateful-never-reset",
    "RNN012": "stateful-partly-reset",
}


def test_codes_and_names_stay_what_they_are() -> None:
    assert {rule.CODE: rule.NAME for rule in all_rules()} == STABLE


@pytest.mark.parametrize("rule", all_rules(), ids=lambda rule: rule.NAME)
def test_text_has_all_parts(rule) -> None:
    headings = re.findall(r"^## (.*)$", rule.__doc__, re.MULTILINE)
    assert tuple(headings) == PARTS
    assert rule.__doc__.count("```") == 4
    assert rule.SEVERITY in ("error", "warning")
    assert Path(rule.__file__).stem.replace("_", "-") == rule.NAME


def test_warnings_are_those_on_resetting_and_shuffling() -> None:
    assert {rule.NAME for rule in all_rules() if rule.SEVERITY == "warning"} == {
        "stateful-shuffle",
        "stateful-never-reset",
        "stateful-partly-reset",
    }


def test_faults_that_both_checkers_know_have_one_name() -> None:
    known = {path.stem for path in Path(dynamic.__path__[0]).glob("[a-z]*.py")}
    own = {path.stem for path in Path(lint_rules.__path__[0]).glob("[a-z]*.py")}
    assert {"shared_state", "crossed_state", "swapped_slots", "stale_state"} <= own & known
    assert {"ignored_state", "dropped_state", "shared_layer"} <= own & known


def test_rules_are_found_by_code_and_by_name() -> None:
    assert codes()["shared-state"] == codes()["RNN001"] == "RNN001"


@pytest.mark.parametrize("rule", all_rules(), ids=lambda rule: rule.NAME)
def test_example_of_the_text_names_the_code(rule) -> None:
    example = rule.__doc__.split("## Example")[1].split("##")[0]
    assert rule.CODE in example
