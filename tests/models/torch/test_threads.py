"""Check, and the other calls with a small model, compute in one thread; all leave as many as there were."""

from functools import partial

import numpy as np
import pytest
from threadpoolctl import ThreadpoolController, threadpool_limits

torch = pytest.importorskip("torch")

import rnneval  # noqa: E402

pytestmark = pytest.mark.torch

LETTERS = "abcd\n"


class Watched(torch.nn.Module):
    """A GRU that notes how many threads there are when it is called; one with a fault raises in the end."""

    def __init__(self, parameters=0):
        super().__init__()
        self.embedding, self.out = torch.nn.Embedding(len(LETTERS), 8), torch.nn.Linear(8, len(LETTERS))
        self.gru = torch.nn.GRU(8, 8, batch_first=True)
        self.unused = torch.nn.Parameter(
            torch.zeros(max(0, parameters - sum(each.numel() for each in self.parameters())))
        )

    def forward(self, ids, state=None):
        THREADS.add((torch.get_num_threads(), max(found["num_threads"] for found in BLAS.info())))
        if len(THREADS) > 1:
            raise AssertionError
        outputs, state = self.gru(self.embedding(ids), state)
        return self.out(outputs), state


THREADS = set()
BLAS = ThreadpoolController().select(user_api="blas")  # to look for the libraries at every call takes most of the time
SMALL = partial(rnneval.gradients, segments=2, truncation=5, anchors=2, lags=5)


@pytest.fixture
def three_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    torch.manual_seed(0)
    THREADS.clear()
    with threadpool_limits(2, user_api="blas"):
        yield
    torch.set_num_threads(before)


def model(parameters=0):
    return rnneval.from_torch(Watched(parameters), vocabulary=list(LETTERS))


TEXT = "".join(np.random.default_rng(0).choice(list(LETTERS), 400))


@pytest.mark.parametrize("call", [rnneval.check, rnneval.trace, rnneval.evaluate, SMALL])
def test_one_thread_while_a_small_model_runs(call, three_threads):
    lm = model()
    THREADS.clear()
    call(lm) if call is rnneval.check else call(lm, string=TEXT, check=False)
    assert {(1, 1)} == THREADS
    assert torch.get_num_threads() == 3
    with pytest.raises(rnneval.errors.UsageError):
        rnneval.check("model.keras")
    assert torch.get_num_threads() == 3
    assert {found["num_threads"] for found in BLAS.info()} == {2}


@pytest.mark.parametrize(("parameters", "threads"), [(2**19 - 1, 1), (2**19, 3)])
@pytest.mark.parametrize("call", [rnneval.trace, rnneval.evaluate])
def test_a_large_model_runs_in_as_many_threads_as_pytorch_has(call, parameters, threads, three_threads):
    lm = model(parameters)
    assert lm.checkpoint.parameters == parameters
    THREADS.clear()
    assert call(lm, string=TEXT, check=False).timing.threads == threads
    assert {(threads, 1)} == THREADS
    assert torch.get_num_threads() == 3


def test_the_check_of_a_large_model_takes_one_thread(three_threads):
    lm = model(2**19)
    THREADS.clear()
    rnneval.check(lm)
    assert {(1, 1)} == THREADS
