"""A sample of planted faults: the module and the array are named."""

import itertools

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from tests.wiring.torch.planted import KINDS, faults_of, locate, plant
from tests.wiring.torch.tiny import made

pytestmark = pytest.mark.torch
MODELS = ("Gated", "LSTM", "Bamba")


@pytest.mark.parametrize("name", MODELS)
def test_nothing_is_found_without_a_fault(name):
    assert locate(made(name)) is None


@pytest.mark.sampled(4)
@pytest.mark.parametrize(("kind", "name"), list(itertools.product(KINDS, MODELS)))
def test_a_planted_fault_is_named(kind, name):
    faults = [fault for fault in faults_of(name) if fault.kind == kind]
    if not faults:
        assert (kind, name) in {("padding", "Gated"), ("padding", "LSTM")}
        pytest.skip("this model takes no mask")
    fault = faults[len(faults) // 2]
    assert fault.result(locate(plant(fault))) == "right", fault
