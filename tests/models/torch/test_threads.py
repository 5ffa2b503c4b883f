"""Check, trace, evaluate and gradients compute in one thread, and leave as many as there were."""

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

torch = pytest.importorskip("torch")

import rnneval  # noqa: E402

pytestmark = pytest.mark.torch

LETTERS = "abcd\n"


class Watched(torch.nn.Module):
    """A GRU that notes how many threads there are when it is called; one with a fault raises in the end."""

    def __init__(self):
        super().__init__()
        self.embedding, self.out = torch.nn.Embedding(len(LETTERS), 8), torch.nn.Linear(8, len(LETTERS))
        self.gru = torch.nn.GRU(8, 8, batch_first=True)

    def forward(self, ids, state=None):
        THREADS.add((torch.get_num_threads(), max(found["num_threads"] for found in blas())))
        if len(THREADS) > 1:
            raise AssertionError
        outputs, state = self.gru(self.embedding(ids), state)
        return self.out(outputs), state


THREADS = set()


def blas():
    return [found for found in threadpool_info() if found["user_api"] == "blas"]


@pytest.mark.parametrize("call", [rnneval.check, rnneval.trace, rnneval.evaluate, rnneval.gradients])
def test_one_thread_while_a_model_runs(call):
    torch.manual_seed(0)
    lm = rnneval.from_torch(Watched(), vocabulary=list(LETTERS))
    text = "".join(np.random.default_rng(0).choice(list(LETTERS), 400))
    before = torch.get_num_threads()
    try:
        with threadpool_limits(2, user_api="blas"):
            torch.set_num_threads(3)
            THREADS.clear()
            call(lm) if call is rnneval.check else call(lm, string=text, check=False)
            assert {(1, 1)} == THREADS
            assert torch.get_num_threads() == 3
            with pytest.raises(rnneval.errors.UsageError):
                rnneval.check("model.keras")
            assert torch.get_num_threads() == 3
            assert {found["num_threads"] for found in blas()} == {2}
    finally:
        torch.set_num_threads(before)
