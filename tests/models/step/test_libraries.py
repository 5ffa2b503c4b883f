"""Arrays of other libraries: a step function gets the arrays of its own library back, with their types."""

import numpy as np
import pytest

import rnneval
from rnneval.evaluate.check import check
from rnneval.models.step import from_step
from tests.models.step.models import V, gru_stack, gru_weights
from tests.models.step.reading import read

IDS = np.random.default_rng(0).integers(0, V, (3, 20), dtype=np.int32)
STEP, BEGIN = gru_stack(gru_weights())


def require_same(make, kind, read_back=np.asarray):
    """Run the GRU stack with its states in arrays of another library, and compare with NumPy."""
    seen = set()

    def step(ids, state):
        seen.update(type(h) for h in state.values())
        logits, after = STEP(ids, (read_back(state["a"]), read_back(state["b"])))
        return make(logits), dict(zip("ab", map(make, after), strict=True))

    lm = from_step(step, lambda batch: dict(zip("ab", map(make, BEGIN(batch)), strict=True)), vocab_size=V)
    wanted, states, _ = read(from_step(STEP, BEGIN, vocab_size=V), IDS, segment=6)
    nats, others, _ = read(lm, IDS, segment=6)
    assert np.array_equal(nats, wanted)
    assert np.array_equal(states, others)
    assert seen == {kind}
    assert check(lm).verdict == "pass"


def test_tensorflow():
    tf = pytest.importorskip("tensorflow")
    require_same(tf.convert_to_tensor, type(tf.zeros(1)))


@pytest.mark.torch
def test_pytorch_also_with_gradients():
    torch = pytest.importorskip("torch")
    with_gradient = lambda a: torch.tensor(a).requires_grad_()  # noqa: E731
    require_same(with_gradient, torch.Tensor, read_back=lambda h: h.detach().numpy())


@pytest.mark.torch
@pytest.mark.parametrize("name", ["bfloat16", "float16", "int64"])
def test_types_of_pytorch_in_a_cache_object(name):
    torch = pytest.importorskip("torch")
    dtype = getattr(torch, name)

    class Cache:
        def __init__(self, h, seen):
            self.h, self.seen, self.dtype = h, seen, dtype

    def step(ids, cache):
        assert cache.h.dtype == cache.dtype == dtype
        total = (cache.h.double() + torch.from_numpy(ids).sum(dim=1, keepdim=True)) % 5
        after = total / (3 if dtype.is_floating_point else 1)
        return torch.ones(*ids.shape, V) * after.float()[:, :1, None], Cache(after.to(dtype), cache.seen + ids.shape[1])

    lm = from_step(step, lambda batch: Cache(torch.zeros(batch, 2, dtype=dtype), 0), vocab_size=V)
    assert [(leaf.path, leaf.kind) for leaf in lm.carrier.leaves] == [("state.h", "state"), ("state.seen", "counter")]
    _, after = step(IDS, Cache(torch.zeros(3, 2, dtype=dtype), 0))
    back = lm.carrier.unpack(lm.carrier.pack(after, 3))
    assert torch.equal(back.h, after.h)
    assert (back.h.dtype, back.seen) == (dtype, 20)


@pytest.mark.torch
@pytest.mark.parametrize(("name", "size"), [("bfloat16", 2), ("float16", 2), ("float32", 4), ("float64", 8)])
def test_bytes_of_a_memory_are_those_of_its_own_type(name, size):
    torch = pytest.importorskip("torch")
    table = torch.rand(V, 3, generator=torch.Generator().manual_seed(0)).to(getattr(torch, name))

    def step(ids, memory):
        longer = torch.cat([memory, table[torch.as_tensor(ids)]], dim=1)
        return torch.ones(*ids.shape, V) * longer.float().mean(), longer

    letters = "abcdefghijklmnopqrstuvwxyz"[:V]
    lm = from_step(step, lambda rows: torch.zeros(rows, 0, 3, dtype=table.dtype), vocabulary=list(letters))
    assert f"an attention memory of {3 * size} bytes a token" in lm.assumptions[0]
    run = rnneval.evaluate(lm, string=letters * 8, segment=8, check=False)
    largest = max(filter(None, run.states["state.value"].bytes))
    assert largest == 72 * 3 * size  # 72: the last end of a call of 8 that holds a multiple of 16
