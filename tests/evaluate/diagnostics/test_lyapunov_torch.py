"""Lyapunov exponents of modules of PyTorch: closed forms, and a reason in one line where there is none."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import rnneval  # noqa: E402 - found by the line above
from rnneval.errors import UsageError  # noqa: E402
from rnneval.evaluate.diagnostics.probes import exponents  # noqa: E402
from rnneval.models.protocol import Place  # noqa: E402

pytestmark = pytest.mark.torch
LETTERS = "abcdefg\n"
STEPS = 600


class Ids:
    def ids(self, start, stop):
        return np.random.default_rng(0).integers(0, len(LETTERS), 20_000).astype("i4")[start:stop]


class Loop(torch.nn.Module):
    """s ← next(s) + x at every token; what it carries is `kept(s)`, and it begins with zeros."""

    size, dtype = 4, torch.float32

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.embedding = torch.nn.Embedding(len(LETTERS), self.size)
        self.out = torch.nn.Linear(self.size, len(LETTERS))

    def next(self, s):
        raise NotImplementedError

    def forward(self, ids, state=None):
        s = torch.zeros(len(ids), self.size, dtype=self.dtype) if state is None else state
        outputs = []
        for x in self.embedding(ids).unbind(1):
            s = self.next(s) + x
            outputs.append(self.out(s.real))
        return torch.stack(outputs, 1), s


class Linear(Loop):
    """One real eigenvalue is the largest; the matrix is far from normal."""

    matrix = torch.tensor([[0.9, 3, 0, 0], [0, 0.5, 2, 0], [0, 0, -0.3, 0], [0, 0, 0, 0.1]])

    def next(self, s):
        return s @ self.matrix.T


class Turning(Loop):
    """A diagonal complex recurrence, which turns."""

    dtype = torch.complex64
    factors = torch.tensor(0.95 * np.exp(0.7j), dtype=torch.complex64) ** torch.arange(1, 5)

    def next(self, s):
        return self.factors * s


class Pair(torch.nn.Module):
    """(a, b) ← (0.5 a + 0.4 b, 0.4 a + 0.5 b), beside a counter: of each array ln 0.5, of both ln 0.9: not a stack."""

    def __init__(self):
        super().__init__()
        self.embedding, self.out = torch.nn.Embedding(len(LETTERS), 3), torch.nn.Linear(3, len(LETTERS))

    def forward(self, ids, state=None):
        zeros, outputs = {"h": torch.zeros(len(ids), 3)}, []
        state = state or {"a": zeros, "b": zeros, "count": 0}
        a, b = state["a"]["h"], state["b"]["h"]
        for x in self.embedding(ids).unbind(1):
            a, b = 0.5 * a + 0.4 * b + x, 0.4 * a + 0.5 * b
            outputs.append(self.out(a + b))
        return torch.stack(outputs, 1), {"a": {"h": a}, "b": {"h": b}, "count": state["count"] + ids.shape[1]}


class Lstm(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.embedding, self.out = torch.nn.Embedding(len(LETTERS), 5), torch.nn.Linear(6, len(LETTERS))
        self.rnn = torch.nn.LSTM(5, 6, 2, batch_first=True)

    def forward(self, ids, state=None):
        outputs, state = self.rnn(self.embedding(ids), state)
        return self.out(outputs), state


class OneRow(Turning):
    """Goes on with one row alone, as RWKV of transformers does: of several its logits have another shape."""

    def forward(self, ids, state=None):
        logits, after = super().forward(ids, state)
        return (logits if state is None or len(ids) == 1 else logits.repeat(1, 2, 1)), after


class Detached(Linear):
    def next(self, s):
        return super().next(s.detach())


class HalfDetached(Linear):
    def next(self, s):
        return 0.1 * super().next(s) + 0.9 * super().next(s.detach())


class NoForwardMode(Linear):
    class Twice(torch.autograd.Function):
        @staticmethod
        def forward(ctx, s):
            return 2 * s

        @staticmethod
        def backward(ctx, grad):
            return 2 * grad

    def next(self, s):
        return super().next(self.Twice.apply(s) / 2)


def measured(model, rows=2, steps=STEPS):
    lm = rnneval.wrap(model)
    rng = np.random.default_rng(1)
    starts = [lm.carrier.pack(lm.step(np.full((1, k % 2 + 1), 1, "i4"), None)[1], 1)[0] for k in range(rows)]
    for start in starts:
        numbers = start["numbers"] if start.dtype.names else start
        numbers += rng.normal(0, 0.05, numbers.shape)
    return exponents(lm, Ids(), [Place(at=1_000 * k, state=start) for k, start in enumerate(starts)], steps)


@pytest.mark.parametrize(("model", "value"), [(Linear, np.log(0.9)), (Turning, np.log(0.95)), (OneRow, np.log(0.95))])
def test_a_linear_recurrence_has_the_log_of_its_largest_factor(model, value):
    found, warnings = measured(model())
    assert not warnings
    assert found["stack"] == found["state"]
    assert found["stack"].value == pytest.approx(value, abs=1e-5)
    assert (found["stack"].settling, found["stack"].steps) == (100, 1_000)


def test_what_is_no_stack_is_measured_as_a_whole():
    found, warnings = measured(Pair())
    assert not warnings
    values = {name: exponent.value for name, exponent in found.items()}
    half = np.log(0.5)
    assert values == pytest.approx({"state.a": half, "state.b": half, "stack": np.log(0.9)}, abs=1e-5)


def test_a_module_agrees_with_its_jacobian_in_float64():
    model = Lstm()
    found, _ = measured(model, rows=1)
    lm = rnneval.wrap(model)
    state = lm.carrier.pack(lm.step(np.full((1, 1), 1, "i4"), None)[1], 1)[0]
    state = state + np.random.default_rng(1).normal(0, 0.05, state.shape)
    columns = [(each.path, lm.carrier.columns[each]) for each in lm.leaves]
    wide, flat = Lstm().double(), torch.tensor(np.concatenate([state[part] for _, part in columns]))

    def step(flat, token):
        h, c = flat.reshape(2, 2, 1, 6)
        h, c = wide.rnn(wide.embedding(torch.tensor([[int(token)]])), (h.contiguous(), c.contiguous()))[1]
        return torch.cat([h.flatten(), c.flatten()])

    v, logs = torch.ones(24, dtype=torch.float64) / 24**0.5, []
    for token in Ids().ids(0, STEPS):
        moved = torch.autograd.functional.jacobian(lambda s, token=token: step(s, token), flat) @ v
        flat = step(flat, token).detach()
        logs.append(moved.norm().log().item())
        v = moved / moved.norm()
    assert found["rnn"].value == pytest.approx(np.mean(logs[100:]), rel=2e-3)  # from another tangent


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (Detached, "acts otherwise than its derivative says, as after detach"),
        (HalfDetached, "acts otherwise than its derivative says, as after detach"),
        (NoForwardMode, "PyTorch cannot carry tangents through this model: "),
    ],
)
def test_where_there_is_no_tangent_one_line_says_why(model, reason):
    found, (warning,) = measured(model())
    assert (found, warning.code) == ({}, "no-lyapunov")
    assert reason in warning.message
    assert "\n" not in warning.message


class Remembering(torch.nn.Module):
    """Its state is all that it has read."""

    def __init__(self):
        super().__init__()
        self.embedding = torch.nn.Embedding(len(LETTERS), len(LETTERS))

    def forward(self, ids, state=None):
        before = self.embedding(ids) if state is None else torch.cat([state, self.embedding(ids)], 1)
        return before.cumsum(1)[:, -ids.shape[1] :], before


def test_a_memory_that_grows_has_no_exponent():
    text = "".join(np.random.default_rng(0).choice(list(LETTERS), 300))
    run = rnneval.trace(Remembering(), vocabulary=list(LETTERS), string=text, check=False, lyapunov=True)
    (warning,) = (each for each in run.warnings if each.code == "no-lyapunov")
    assert "its state grows with the text" in warning.message


def test_a_model_that_reads_one_row_at_a_time_has_exponents():
    text = "".join(np.random.default_rng(0).choice(list(LETTERS), 700))
    run = rnneval.trace(OneRow(), vocabulary=list(LETTERS), string=text, check=False, lyapunov=True)
    assert run.lyapunov["state"].value == pytest.approx(np.log(0.95), abs=1e-5)


def test_trace_writes_and_refuses():
    text = "".join(np.random.default_rng(0).choice(list(LETTERS), 700))
    known = {"vocabulary": list(LETTERS), "string": text, "check": False, "lyapunov": True}
    run = rnneval.trace(Turning(), **known)
    assert run.lyapunov["state"].value == pytest.approx(np.log(0.95), abs=1e-5)
    plain = rnneval.from_step(lambda ids, _: (np.zeros((*ids.shape, len(LETTERS))), ids[:, -1:]), vocab_size=8)
    with pytest.raises(UsageError, match="tangents are carried by Keras and by PyTorch"):
        rnneval.trace(plain, **known)
