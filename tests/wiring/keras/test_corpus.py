"""The check over its corpus: right models pass, wrong ones fail and are named by their rule.

By default a few drawn models and one seed; `-m grid` is the whole of it with three seeds (an hour and more), whose
table is in docs, wiring (made by benchmarks/wiring_corpus.py).
"""
# ruff: noqa: S311 - a draw, not a secret

import random

import pytest

from rnneval.evaluate.check import check
from tests.wiring.corpus import right_transforms
from tests.wiring.corpus.case import by_hand
from tests.wiring.corpus.generator import case_of, recipes
from tests.wiring.keras.agreement import compare

CASES = by_hand()
RECIPES = tuple(recipes())
DRAW = random.Random(20251125)
# One wrong model of each rule would take too long in every run; these are drawn once, and stay the same.
SAMPLE = DRAW.sample([c for c in CASES if c.right], 3) + DRAW.sample([c for c in CASES if not c.right], 4)
MADE = DRAW.sample(RECIPES, 2)
COMPARED = DRAW.sample([c for c in CASES if "hand" not in c.name], 3)


def verify(case, seed=0):
    wiring = check(case.build(), declare=case.declare, seed=seed)
    assert wiring.verdict == case.verdict, f"\n{wiring}"
    if not case.right:
        assert case.rule in {f.rule for f in wiring.findings if f.severity == "error"}, f"\n{wiring}"


def test_the_corpus_is_as_large_as_it_is_said_to_be():
    right, wrong = [c for c in CASES if c.right], [c for c in CASES if not c.right]
    assert len({c.name for c in CASES}) == len(CASES)
    assert len(right) >= 40
    assert len(wrong) >= 60
    assert [c.name for c in right if c.verdict == "inconclusive"] == ["recurrence_by_hand"]


@pytest.mark.sampled(3)
@pytest.mark.parametrize("case", SAMPLE, ids=lambda case: case.name)
def test_drawn_models(case):
    verify(case)


@pytest.mark.sampled(2)
@pytest.mark.parametrize("recipe", MADE, ids=lambda recipe: recipe.name)
def test_drawn_models_made_by_rule(recipe, tmp_path):
    verify(case_of(recipe, tmp_path))


@pytest.mark.sampled(4)
@pytest.mark.parametrize("case", [*COMPARED, right_transforms.zoneout_between_calls.case], ids=lambda case: case.name)
def test_intervention_finds_the_same_sources_as_the_tape(case):
    found = compare(case)
    assert found["differ"] == []
    assert found["slots"] or found["why"]


@pytest.mark.grid
@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_model(case, seed):
    verify(case, seed)


@pytest.mark.grid
@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_every_model_made_by_rule(recipe, seed, tmp_path):
    verify(case_of(recipe, tmp_path), seed)


@pytest.mark.grid
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_intervention_agrees_everywhere(case):
    assert compare(case)["differ"] == []
