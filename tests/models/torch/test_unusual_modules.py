"""Modules whose states or calls are unusual: each public call answers, or says in one line why it does not."""

import io
import os
import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import rnneval  # noqa: E402
from rnneval.errors import CheckpointError  # noqa: E402
from tests.models.torch.short_text import IDS, KNOWN, LETTERS  # noqa: E402

pytestmark = pytest.mark.torch


class Gru(torch.nn.Module):
    """One layer."""

    def __init__(self):
        super().__init__()
        self.embedding, self.out = torch.nn.Embedding(len(LETTERS), 8), torch.nn.Linear(8, len(LETTERS))
        self.gru = torch.nn.GRU(8, 8, batch_first=True)

    def forward(self, ids, state: torch.Tensor | None = None):
        outputs, state = self.gru(self.embedding(ids), state)
        return self.out(outputs), state


class Counting(Gru):
    """A counter without axes beside the state; if `used`, it changes the logits."""

    used = False

    def forward(self, ids, state=None):
        h, count = (None, torch.tensor(0)) if state is None else state
        logits, h = super().forward(ids, h)
        places = count + torch.arange(1, ids.shape[1] + 1)
        if self.used:
            logits = logits + torch.sin(places)[:, None] * torch.arange(len(LETTERS))
        return logits, (h, places[-1])


class Placed(Counting):
    used = True


class Rotating(torch.nn.Module):
    """s ← a s + b x with complex numbers: ∂s_T/∂s_{T−k} has the size |a|^k. If `beside`, a GRU runs beside it."""

    def __init__(self, beside):
        super().__init__()
        self.embedding = torch.nn.Embedding(len(LETTERS), 4)
        self.gru = torch.nn.GRU(4, 4, batch_first=True) if beside else None
        self.turn = torch.nn.Parameter(torch.tensor(0.8 * np.exp(0.7j), dtype=torch.complex64))
        self.out = torch.nn.Linear(4, len(LETTERS))

    def forward(self, ids, state=None):
        x, seen = self.embedding(ids), []
        s, h = state if isinstance(state, tuple) else (state, None)
        s = torch.zeros(len(ids), 4, dtype=torch.complex64) if s is None else s
        for token in x.unbind(1):
            s = self.turn * s + token
            seen.append(s.real)
        y = torch.stack(seen, dim=1)
        if self.gru is None:
            return self.out(y), s
        more, h = self.gru(x, h)
        return self.out(y + more), (s, h)


class OverTheBatch(Gru):
    """Wrong: a mean over the rows, which PyTorch refuses to take of one."""

    def forward(self, ids, state=None):
        outputs, state = self.gru(self.embedding(ids), state)
        normed = [torch.nn.functional.batch_norm(y, None, None, training=True) for y in outputs.unbind(1)]
        return self.out(torch.stack(normed, dim=1)), state


def made(kind, *given):
    torch.manual_seed(0)
    return kind(*given).eval()


@torch.no_grad()
def nats_of(module):
    logits, _ = module(IDS[:, :-1])
    return torch.nn.functional.cross_entropy(logits[0], IDS[0, 1:]).item()


def scripted():
    return torch.jit.script(made(Gru))


def loaded(module=None):
    """Return a module as a file of TorchScript gives it: without a function of Python."""
    file = io.BytesIO()
    torch.jit.save(scripted() if module is None else torch.jit.script(module), file)
    file.seek(0)
    return torch.jit.load(file)


class Forgets(Gru):
    """Hands half of its state on."""

    def forward(self, ids, state: torch.Tensor | None = None):
        outputs, state = self.gru(self.embedding(ids), state)
        return self.out(outputs), 0.5 * state


RIGHT = {
    "counter": lambda: made(Counting),
    "place": lambda: made(Placed),
    "complex": lambda: made(Rotating, False),
    "complex beside a GRU": lambda: made(Rotating, True),
    "scripted": scripted,
    "loaded": loaded,
    "frozen": lambda: torch.jit.freeze(scripted()),
}


@pytest.mark.filterwarnings("ignore:`torch.jit")
@pytest.mark.parametrize("make", RIGHT.values(), ids=RIGHT)
def test_every_public_call_answers(make):
    module = make()
    assert rnneval.check(module).verdict == "pass"
    run = rnneval.evaluate(module, check=False, **KNOWN)
    assert run.valid
    assert run.scores["cross_entropy"].value == pytest.approx(nats_of(module), abs=1e-6)
    assert rnneval.trace(module, check=False, **KNOWN).valid
    found = rnneval.gradients(module, check=False, **KNOWN, lags=4, anchors=4)
    assert found.through_time


@pytest.mark.filterwarnings("ignore:`torch.jit.script")
def test_a_scripted_module_says_what_is_not_tested():
    wiring = rnneval.check(scripted())
    assert wiring.reason.endswith("torch.jit lets no call of a module be watched")


@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_a_scripted_module_that_is_in_training_drops_nothing():
    torch.manual_seed(0)
    module = Gru()
    module.gru = torch.nn.GRU(8, 8, num_layers=2, dropout=0.9, batch_first=True)
    run = rnneval.evaluate(torch.jit.script(module), check=False, **KNOWN)
    assert run.scores["cross_entropy"].value == pytest.approx(nats_of(module.eval()), abs=1e-6)


@pytest.mark.filterwarnings("ignore")
def test_dynamic_int8_is_seen_in_a_scripted_module():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = torch.ao.quantization.quantize_dynamic(made(Gru), {torch.nn.GRU}, torch.qint8)
    scales = [rnneval.wrap(each).function.step.scales_calls for each in (module, torch.jit.script(module), scripted())]
    assert scales == [True, True, False]


@pytest.mark.filterwarnings("ignore:`torch.jit")
@pytest.mark.parametrize("form", [torch.jit.script, loaded])
def test_a_scripted_module_that_loses_state_fails(form):
    (finding,) = rnneval.check(form(made(Forgets))).findings
    assert (finding.rule, finding.file) == ("chunk-variance", None)


@pytest.mark.parametrize("beside", [False, True])
def test_gradients_of_complex_states_are_powers(beside):
    found = rnneval.gradients(made(Rotating, beside), check=False, **KNOWN, lags=5, anchors=4)
    (key,) = (key for key in found.through_time if not key.startswith(("gru", "state.1")))
    # The loss sees the real part of the state that was turned: the number by which it does shrinks by |a| a token.
    assert found.through_time[key].decay == pytest.approx(0.8, abs=0.02)
    assert "turn" in found.variables


def test_rows_that_cannot_be_read_alone():
    module = made(OverTheBatch)
    wiring = rnneval.check(module)
    assert {finding.rule for finding in wiring.findings} == {"batch-leak"}
    for call in (rnneval.evaluate, rnneval.trace, rnneval.gradients):
        with pytest.raises(CheckpointError, match="Expected more than 1 value per channel"):
            call(module, check=False, **KNOWN)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
def test_a_named_pipe_is_no_checkpoint(tmp_path):
    os.mkfifo(tmp_path / "weights")

    def step(ids, state):
        return np.eye(3)[ids] + state[:, None], state

    with pytest.raises(CheckpointError, match="it is a named pipe"):
        rnneval.from_step(step, lambda rows: np.zeros((rows, 3)), vocab_size=3, checkpoint=tmp_path / "weights")


def test_no_two_states_share_a_name():
    def step(ids, state):
        seen = np.cumsum(np.eye(3)[ids], axis=1)
        logits = 0.1 * seen + state["a.b"][:, None] + 2 * state["a"]["b"][:, None]
        return logits, {"a.b": state["a.b"] + 0.1 * seen[:, -1], "a": {"b": state["a"]["b"] * 0.5 + seen[:, -1]}}

    def begin(rows):
        return {"a.b": np.zeros((rows, 3)), "a": {"b": np.zeros((rows, 3))}}

    lm = rnneval.from_step(step, begin, vocabulary=list("abc"))
    states = rnneval.trace(lm, string="abcab" * 60, check=False).states
    assert {*states} == {"state.['a.b']", "state.a.b"}
    assert states["state.['a.b']"].norm_max != states["state.a.b"].norm_max
