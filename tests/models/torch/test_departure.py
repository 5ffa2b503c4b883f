"""The first part of a model of PyTorch that departs from another, where the two show their states in other arrays."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import rnneval  # noqa: E402

pytestmark = pytest.mark.torch

LETTERS = "abcdefg\n"
TEXT = "".join(np.random.default_rng(0).choice(list(LETTERS), 5_000))


class Lstm(torch.nn.Module):
    """Two layers, whose states a module shows by layer, and a step around it in one array of h and one of c."""

    def __init__(self):
        super().__init__()
        self.embedding, self.out = torch.nn.Embedding(len(LETTERS), 8), torch.nn.Linear(16, len(LETTERS))
        self.lstm = torch.nn.LSTM(8, 16, num_layers=2, batch_first=True)

    def forward(self, ids, state=None):
        outputs, state = self.lstm(self.embedding(ids), state)
        return self.out(outputs), state


def handing_in_half(module):
    """Return a step that hands the state on in float16, as a cache that saves memory does."""

    def step(ids, state):
        with torch.no_grad():
            logits, after = module(torch.as_tensor(ids).long(), state)
        return logits, tuple(each.half().float() for each in after)

    return rnneval.from_step(step, vocabulary=[*LETTERS])


@pytest.mark.parametrize("seed", [0, 1])
def test_states_of_a_step_around_a_module_pair_with_those_of_the_module(seed):
    torch.manual_seed(seed)
    module = Lstm()
    reference = rnneval.from_torch(module, vocabulary=[*LETTERS])
    assert reference.observer is not None
    departure = rnneval.parity(reference, handing_in_half(module.eval()), string=TEXT, check=False).departure
    assert departure is not None
    assert departure.part in {"state.0", "state.1"}
    assert departure.token <= 64
    assert 1e-5 < departure.difference < 1e-3  # half a unit in the last place of float16, against the largest number
