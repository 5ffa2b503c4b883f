"""The check over its corpus: right models pass, wrong ones fail and are named by their rule.

By default 61 models and one seed; `-m grid` is the rest of it, with two more seeds (hours), whose table is in docs,
wiring (made by benchmarks/wiring_corpus.py).
"""

import pytest

from tests.wiring.corpus.case import by_hand
from tests.wiring.corpus.generator import case_of, recipes
from tests.wiring.keras.agreement import compare

pytestmark = pytest.mark.filterwarnings("ignore:.*(build|unbuilt):UserWarning")  # users' layers make others late
CASES = by_hand()
RECIPES = tuple(recipes())
COMPARED = ("zoneout_between_calls", "question", "list_loop")


def name(case):
    return case.name


def test_the_corpus_is_as_large_as_it_is_said_to_be():
    right, wrong = [c for c in CASES if c.right], [c for c in CASES if not c.right]
    assert len({c.name for c in CASES}) == len(CASES)
    assert (len(right), len(wrong)) == (61, 84)
    assert [c.name for c in right if c.verdict == "inconclusive"] == ["recurrence_by_hand"]


@pytest.mark.sampled(3)
@pytest.mark.parametrize("case", CASES, ids=name)
def test_models_by_hand(case):
    case.verify()


@pytest.mark.sampled(40)
@pytest.mark.parametrize("recipe", RECIPES, ids=name)
def test_models_made_by_rule(recipe, tmp_path):
    case_of(recipe, tmp_path).verify()


@pytest.mark.grid
@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("case", [*CASES, *RECIPES], ids=name)
def test_every_model_with_other_seeds(case, seed, tmp_path):
    (case if case in CASES else case_of(case, tmp_path)).verify(seed)


@pytest.mark.parametrize("case", [case for case in CASES if case.name in COMPARED], ids=name)
def test_intervention_finds_the_same_sources_as_the_tape(case):
    found = compare(case)
    assert found["differ"] == []
    assert found["slots"] or found["why"]


@pytest.mark.grid
@pytest.mark.parametrize("case", CASES, ids=name)
def test_intervention_agrees_everywhere(case):
    assert compare(case)["differ"] == []
