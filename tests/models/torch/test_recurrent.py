"""States and gates of PyTorch's recurrent modules, seen in calls of many tokens, against loops over their cells."""

import sys

import numpy as np
import pytest

import rnneval

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

LETTERS = "abcdefg "
TEXT = "".join(np.random.default_rng(0).choice(list(LETTERS), 300))
UNITS = 6


class Model(torch.nn.Module):
    def __init__(self, kind, layers=1, batch_first=True, **settings):
        super().__init__()
        torch.manual_seed(0)
        self.embed = torch.nn.Embedding(len(LETTERS), 5)
        self.rnn = kind(5, UNITS, layers, batch_first=batch_first, **settings)
        self.out = torch.nn.Linear(UNITS * (2 if settings.get("bidirectional") else 1), len(LETTERS))

    def forward(self, ids, state=None):
        across = (lambda tensor: tensor) if self.rnn.batch_first else (lambda tensor: tensor.transpose(0, 1))
        hidden, state = self.rnn(across(self.embed(ids)), state)
        return self.out(across(hidden)), state


class TokenByToken(Model):
    def forward(self, ids, state=None):
        logits = []
        for at in range(ids.shape[1]):
            made, state = super().forward(ids[:, at : at + 1], state)
            logits.append(made)
        return torch.cat(logits, dim=1), state


def by_cells(model):
    """States and gates after every input token, each `(time, units)`, by name: a loop over cells, in float64."""
    rnn, found = model.rnn.double(), {}
    given = [row.double() for row in model.embed(torch.tensor([LETTERS.index(letter) for letter in TEXT[:-1]]))]
    for layer in range(rnn.num_layers):
        ending = "" if rnn.num_layers == 1 else f"[{layer}]"
        w, u, b, d = (getattr(rnn, f"{role}_l{layer}") for role in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
        h = c = torch.zeros(UNITS, dtype=torch.float64)
        after = []
        for x in given:
            own, back = w @ x + b, u @ h + d
            if rnn.mode == "GRU":
                (r, z, n), (rh, zh, nh) = own.chunk(3), back.chunk(3)
                r, z = torch.sigmoid(r + rh), torch.sigmoid(z + zh)
                h = (1 - z) * torch.tanh(n + r * nh) + z * h
                seen = {"h": h, "update": z, "reset": r}
            elif rnn.mode == "LSTM":
                i, f, g, o = (own + back).chunk(4)
                i, f, o = torch.sigmoid(i), torch.sigmoid(f), torch.sigmoid(o)
                c = f * c + i * torch.tanh(g)
                h = o * torch.tanh(c)
                seen = {"h": h, "c": c, "input": i, "forget": f, "output": o}
            else:
                h = torch.tanh(own + back)
                seen = {"h": h}
            after.append(seen)
        found |= {f"rnn.{key}{ending}": torch.stack([seen[key] for seen in after]).detach().numpy() for key in after[0]}
        given = [seen["h"] for seen in after]
    return found


@pytest.mark.parametrize(
    "make",
    [
        lambda: Model(torch.nn.GRU),
        lambda: Model(torch.nn.LSTM, layers=2, batch_first=False),
        lambda: Model(torch.nn.RNN, layers=2),
        lambda: TokenByToken(torch.nn.LSTM),
    ],
    ids=["gru", "lstm of two layers", "rnn of two layers", "token by token"],
)
def test_states_and_gates_are_those_of_a_loop_over_cells(make):
    model = make()
    lm = rnneval.from_torch(model, vocabulary=list(LETTERS))
    run = rnneval.trace(lm, string=TEXT, check=False)
    for name, values in by_cells(model).items():
        if name in run.states:
            assert run.states[name].rms == pytest.approx(np.sqrt((values**2).mean()), rel=1e-5)
            assert run.states[name].norm_max == pytest.approx(np.linalg.norm(values, axis=1).max(), rel=1e-5)
        else:
            assert run.gates[name].mean == pytest.approx(values[:: run.gates[name].every].mean(), rel=1e-5)
    assert {*run.states, *(run.gates or ())} == {*by_cells(model)}


@pytest.mark.parametrize(
    ("make", "call"),
    [
        (lambda: Model(torch.nn.GRU), None),
        (lambda: Model(torch.nn.GRU, batch_first=False), None),
        (lambda: Model(torch.nn.GRU, layers=2), 10),
        (lambda: Model(torch.nn.LSTM, layers=2, batch_first=False), 10),
        (lambda: TokenByToken(torch.nn.LSTM), 10),
    ],
    ids=["gru", "gru, time first", "gru of two layers", "lstm of two layers", "token by token"],
)
def test_a_summary_is_of_the_states_that_calls_return(make, call):
    model = make()
    lm = rnneval.from_torch(model, vocabulary=list(LETTERS))
    run = rnneval.evaluate(lm, string=TEXT, check=False, streams=1, segment=10)
    by_hand = {name: values for name, values in by_cells(model).items() if name.split(".")[1][0] in "hc"}
    assert {*run.states} == {*by_hand}
    for name, values in by_hand.items():
        ends = values[(call or 1) - 1 :: call or 1]
        assert run.states[name].call == call
        assert run.states[name].rms == pytest.approx(np.sqrt((ends**2).mean()), rel=1e-5)
        assert run.states[name].norm_max == pytest.approx(np.linalg.norm(ends, axis=1).max(), rel=1e-5)
    assert lm.memory_cells == isinstance(model.rnn, torch.nn.LSTM)


def test_a_compiled_model_is_read_as_it_is_called_and_looked_into_uncompiled():
    if "tensorflow" in sys.modules:
        pytest.skip("PyTorch's compiler ends a process that has TensorFlow")
    model = Model(torch.nn.GRU)
    lm = rnneval.from_torch(torch.compile(model, backend="eager"), vocabulary=list(LETTERS))
    wiring = rnneval.check(lm)
    assert (wiring.verdict, [layer.name for layer in wiring.layers]) == ("pass", ["rnn"])
    assert {*rnneval.evaluate(lm, string=TEXT).states} == {"rnn.h"}


class WithMore(Model):
    """A model that carries a count beside the state of its LSTM."""

    def forward(self, ids, state=None):
        inner, sums = (None, torch.zeros(len(ids), 2)) if state is None else state
        logits, inner = super().forward(ids, inner)
        return logits + sums.sum(), (inner, sums + 0.01 * ids.shape[1])


@pytest.mark.parametrize(
    "make",
    [lambda: WithMore(torch.nn.LSTM), lambda: Model(torch.nn.LSTM, bidirectional=True)],
    ids=["more state", "bidirectional"],
)
def test_other_models_are_called_token_by_token(make):
    assert rnneval.from_torch(make(), vocabulary=list(LETTERS)).observer is None


def test_large_states_are_summarised_without_comparing_their_units():
    """A covariance of 5,000 units would hold 25 million numbers; of the matrix states of RWKV-7, 18 GB."""
    rate = np.linspace(0.1, 0.9, 5000, dtype=np.float32)

    def step(ids, state):
        for token in ids.T:
            state = rate * state + token[:, None].astype(np.float32)
        return np.zeros((*ids.shape, len(LETTERS))), state

    lm = rnneval.from_step(
        step, lambda rows: np.zeros((rows, 5000), np.float32), vocabulary=list(LETTERS), every_token=True
    )
    run = rnneval.evaluate(lm, string=TEXT, check=False)
    (state,) = run.states.values()
    assert (state.duplicated, state.participation_ratio) == (None, None)
    assert state.norm_mean > 0
    assert any("at most 4,096 could be compared" in warning.message for warning in run.warnings)
