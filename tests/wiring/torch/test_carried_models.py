"""The check over models whose truth is known beside them: right ones pass, and the fault of wrong ones is named."""

import pytest

from tests.wiring import carried_models
from tests.wiring.corpus.case import cases_of

CASES = cases_of(carried_models)
pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("ignore:std")]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_models(case):
    case.verify()


@pytest.mark.grid
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_models_with_other_seeds(case):
    for seed in (1, 2):
        case.verify(seed)


def test_there_are_as_many_right_ones_as_wrong_ones():
    assert sum(case.right for case in CASES) >= 15
    assert sum(not case.right for case in CASES) >= 15
