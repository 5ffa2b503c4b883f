"""The check over its corpus: right models pass, wrong ones fail and are named by their rule.

By default every ninth model and one seed; `-m grid` is the whole of it with three seeds (an hour and more), whose table
is in docs, wiring (made by benchmarks/wiring_corpus.py).
"""
# ruff: noqa: S311 - a draw, not a secret

import random

import pytest

from rnneval.evaluate.check import check
from tests.wiring.corpus.case import by_hand
from tests.wiring.corpus.generator import case_of, recipes
from tests.wiring.keras.agreement import compare

pytestmark = pytest.mark.filterwarnings("ignore:.*(build|unbuilt):UserWarning")  # users' layers make others late
CASES = by_hand()
RECIPES = tuple(recipes())
PARTS = 3  # tests over which the sample is spread
SAMPLE = CASES[::9]
MADE = random.Random(20251125).sample(RECIPES, 2 * PARTS)
COMPARED = [case for case in CASES if case.name in ("zoneout_between_calls", "question", "list_loop")]


def problem(case, seed=0):
    """What the check says wrongly of a model; empty if it is right."""
    wiring = check(case.build(), declare=case.declare, seed=seed)
    named = case.right or case.rule in {finding.rule for finding in wiring.findings if finding.severity == "error"}
    return "" if wiring.verdict == case.verdict and named else f"{case.name}, seed {seed}:\n{wiring}"


def test_the_corpus_is_as_large_as_it_is_said_to_be():
    right, wrong = [c for c in CASES if c.right], [c for c in CASES if not c.right]
    assert len({c.name for c in CASES}) == len(CASES)
    assert (len(right), len(wrong)) == (120, 148)
    assert len(SAMPLE) + len(MADE) >= 36
    assert [c.name for c in right if c.verdict == "inconclusive"] == ["recurrence_by_hand"]


@pytest.mark.parametrize("part", range(PARTS))
def test_a_sample(part, tmp_path):
    made = [case_of(recipe, tmp_path) for recipe in MADE[part::PARTS]]
    assert [*filter(None, map(problem, [*SAMPLE[part::PARTS], *made]))] == []


@pytest.mark.parametrize("case", COMPARED, ids=lambda case: case.name)
def test_intervention_finds_the_same_sources_as_the_tape(case):
    found = compare(case)
    assert found["differ"] == []
    assert found["slots"] or found["why"]


@pytest.mark.grid
@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_model(case, seed):
    assert problem(case, seed) == ""


@pytest.mark.grid
@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_every_model_made_by_rule(recipe, seed, tmp_path):
    assert problem(case_of(recipe, tmp_path), seed) == ""


@pytest.mark.grid
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_intervention_agrees_everywhere(case):
    assert compare(case)["differ"] == []
