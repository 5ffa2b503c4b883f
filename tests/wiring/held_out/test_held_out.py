"""The check over held-out models, whose truth was written before they were run.

By default a sample; `-m grid` is the rest of it, and two more seeds.
"""

from importlib.util import find_spec

import keras
import pytest

from tests.wiring.corpus.case import cases_of
from tests.wiring.held_out import keras_models, keras_places, step_models

KERAS = (*cases_of(keras_models), *cases_of(keras_places))
STEP = cases_of(step_models)
if find_spec("torch"):
    from tests.wiring.held_out import torch_models

    TORCH = cases_of(torch_models)
else:
    TORCH = ()


def verify(case, seed=0):
    keras.utils.set_random_seed(seed)
    case.verify(seed)


def names(case):
    return case.name


def test_there_are_as_many_models_as_are_said():
    both = [*KERAS, *STEP]
    assert len({case.name for case in both}) == len(both)
    assert sum(case.right for case in both) >= 24
    assert sum(not case.right for case in both) >= 40


@pytest.mark.sampled(25)
@pytest.mark.parametrize("case", KERAS, ids=names)
def test_keras_models(case):
    verify(case)


@pytest.mark.sampled(4)
@pytest.mark.parametrize("case", STEP, ids=names)
def test_step_functions(case):
    verify(case)


@pytest.mark.torch
@pytest.mark.sampled(6)
@pytest.mark.parametrize("case", TORCH, ids=names)
def test_models_of_pytorch(case):
    verify(case)


@pytest.mark.grid
@pytest.mark.parametrize("case", [*KERAS, *STEP, *TORCH], ids=names)
def test_every_model_with_other_seeds(case):
    for seed in (1, 2):
        verify(case, seed)
