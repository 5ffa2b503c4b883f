"""The duties of every rule: a code, a name, a severity, a page with all of its parts."""

import re
from pathlib import Path

import pytest

from rnneval.linter.finding import all_rules, codes
from rnneval.wiring.judging import all_faults

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
    "RNN013": "mean-of-perplexities",
    "RNN014": "mean-of-batch-means",
    "RNN015": "log2-for-ln",
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


def test_warnings_are_those_on_resetting_shuffling_and_averaging() -> None:
    assert {rule.NAME for rule in all_rules() if rule.SEVERITY == "warning"} == {
        "stateful-shuffle",
        "stateful-never-reset",
        "stateful-partly-reset",
        "mean-of-perplexities",
        "mean-of-batch-means",
        "log2-for-ln",
    }


def test_faults_that_both_checkers_know_have_one_name() -> None:
    both = {Path(str(rule.__file__)).stem for rule in set(all_rules()) & set(all_faults())}
    assert {"shared_state", "crossed_state", "swapped_slots", "stale_state"} <= both
    assert {"ignored_state", "dropped_state", "shared_layer"} <= both


def test_rules_are_found_by_code_and_by_name() -> None:
    assert codes()["shared-state"] == codes()["RNN001"] == "RNN001"


@pytest.mark.parametrize("rule", all_rules(), ids=lambda rule: rule.NAME)
def test_example_of_the_text_names_the_code(rule) -> None:
    example = rule.__doc__.split("## Example")[1].split("##")[0]
    assert rule.CODE in example
