"""Models of PyTorch modules: losses against loops of their own, and states wherever a module keeps them."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import rnneval  # noqa: E402
from rnneval.errors import CheckpointError, VocabularyError  # noqa: E402

pytestmark = pytest.mark.torch

LETTERS = "abcdefg\n"
TEXT = "".join(np.random.default_rng(0).choice(list(LETTERS), 700))
IDS = torch.tensor([[LETTERS.index(letter) for letter in TEXT]])


class Gru(torch.nn.Module):
    """Two layers, as people write them."""

    def __init__(self):
        super().__init__()
        self.embedding = torch.nn.Embedding(len(LETTERS), 8)
        self.gru = torch.nn.GRU(8, 16, num_layers=2, batch_first=True, dropout=0.5)
        self.out = torch.nn.Linear(16, len(LETTERS))

    def forward(self, ids, state=None):
        outputs, state = self.gru(self.embedding(ids), state)
        return self.out(outputs), state


class Held(Gru):
    """The state is an attribute of the module, and no result of a call."""

    def __init__(self):
        super().__init__()
        self.state = None

    def forward(self, ids, state=None):
        logits, self.state = super().forward(ids, self.state)
        return logits, None


class InPlace(Gru):
    """The state is written into the one that was given."""

    def forward(self, ids, state=None):
        logits, after = super().forward(ids, state)
        if state is None:
            return logits, after
        state.copy_(after)
        return logits, state


class Forgets(Gru):
    """The state is returned, and another one is used."""

    def forward(self, ids, state=None):
        logits, after = super().forward(ids, None)
        return logits, after


class Exchanged(torch.nn.Module):
    """Each of two layers gets the state of the other."""

    def __init__(self):
        super().__init__()
        self.embedding = torch.nn.Embedding(len(LETTERS), 16)
        self.one, self.two = (torch.nn.GRU(16, 16, batch_first=True) for _ in range(2))
        self.out = torch.nn.Linear(16, len(LETTERS))

    def forward(self, ids, state=None):
        one, two = state or (None, None)
        x, one = self.one(self.embedding(ids), two)
        x, two = self.two(x, one if state is None else state[0])
        return self.out(x), (one, two)


def model(kind, **options):
    torch.manual_seed(0)
    return rnneval.from_torch(kind(), vocabulary=list(LETTERS), **options)


def nats(module):
    """Add up the losses of one call over the whole text, in float64."""
    with torch.no_grad():
        logits, _ = module.double().eval()(IDS[:, :-1])
    return float(torch.nn.functional.cross_entropy(logits[0], IDS[0, 1:], reduction="sum"))


@pytest.mark.parametrize("kind", [Gru, Held, InPlace])
def test_losses_are_those_of_one_call_in_float64(kind):
    lm = model(kind)
    run = rnneval.evaluate(lm, string=TEXT, check=False)
    torch.manual_seed(0)
    assert run.total_nats / run.tokens.scored == pytest.approx(nats(Gru()) / run.tokens.scored, abs=1e-6)
    assert run.checkpoint.parameters == sum(each.numel() for each in Gru().parameters())
    assert (run.title, run.checkpoint.path) == (kind.__name__, "")


def test_a_module_stays_as_it_was():
    torch.manual_seed(0)
    module = Held()
    module.gru.eval()
    lm = rnneval.from_torch(module, vocabulary=list(LETTERS))
    rnneval.evaluate(lm, string=TEXT[:50], check=False)
    assert (module.training, module.gru.training, module.state) == (True, False, None)


@pytest.mark.parametrize(("kind", "rule"), [(Forgets, "ignored-state"), (Exchanged, "crossed-state")])
def test_a_wrong_state_is_named_with_module_and_line(kind, rule):
    wiring = rnneval.check(model(kind))
    found = {finding.rule: finding for finding in wiring.findings}
    assert wiring.verdict == "fail"
    assert rule in found
    assert found[rule].layer in {"gru", "one", "two"}


@pytest.mark.parametrize("kind", [Gru, Held])
def test_a_right_state_passes_and_its_flow_is_shown(kind):
    wiring = rnneval.check(model(kind))
    assert wiring.verdict == "pass", wiring
    assert {layer.name for layer in wiring.layers} == {"gru"}
    assert {flow.kind for flow in wiring.flow} == {"carried"}


def test_a_step_of_ones_own():
    torch.manual_seed(0)
    lm = rnneval.from_torch(Gru(), lambda module, ids, state: module(ids, state), vocabulary=list(LETTERS))
    assert lm.width == len(LETTERS)


def test_states_are_traced(tmp_path):
    path = tmp_path / "states.parquet"
    run = rnneval.trace(model(Gru), string=TEXT[:120], out=path, check=False)
    assert set(run.states) == {"gru.h[0]", "gru.h[1]"}
    assert path.is_file()


def test_gradients_are_those_of_one_backward_pass():
    """By parameter: one segment; back through time: the state by hand, one token at a time, in float64."""
    torch.manual_seed(0)
    module = Gru()
    lm = rnneval.from_torch(module, vocabulary=list(LETTERS))
    found = rnneval.gradients(lm, string=TEXT, truncation=20, segments=1, lags=5, anchors=1, check=False)
    assert {"gru.weight_hh_l0", "embedding.weight", "out.bias"} <= set(found.variables)
    assert list(found.through_time) == ["gru.h[0]", "gru.h[1]"]
    course = found.through_time["gru.h[1]"]
    assert course.base == 1
    assert course.median[1] == 1
    assert 0 < course.median[5] < course.median[2] < 1
    assert all(not parameter.requires_grad or parameter.grad is None for parameter in module.parameters())


class Cells(Gru):
    """An LSTM's cell and a GRU's, called token by token; the states are handed on in a dict, c before h."""

    def __init__(self):
        super().__init__()
        self.gru, self.lower, self.upper = None, torch.nn.LSTMCell(8, 6), torch.nn.GRUCell(6, 16)

    def forward(self, ids, state=None):
        zeros = torch.zeros(len(ids), 6)
        (c, h), top = (state["lower"], state["upper.h"]) if state else ((zeros, zeros), torch.zeros(len(ids), 16))
        seen = []
        for x in self.embedding(ids).unbind(1):
            h, c = self.lower(x, (h, c))
            top = self.upper(h, top)
            seen.append(top)
        return self.out(torch.stack(seen, dim=1)), {"lower": (c, h), "upper.h": top}


@pytest.mark.parametrize(
    ("kind", "names"),
    [(Gru, {"gru.h[0]", "gru.h[1]"}), (Cells, {"lower.h", "lower.c", "upper.h"})],
)
def test_a_state_has_one_name_in_check_trace_and_gradients(kind, names):
    torch.manual_seed(0)
    lm = rnneval.from_torch(kind(), vocabulary=list(LETTERS))
    wiring = rnneval.check(lm)
    assert {f"{layer.name}.{slot}" for layer in wiring.layers for slot in layer.slots} == names
    assert {f"{row.into.layer}.{row.into.slot}" for row in wiring.flow} == names
    assert set(rnneval.trace(lm, string=TEXT, check=False).states) == names
    assert set(rnneval.gradients(lm, string=TEXT, lags=4, anchors=2, segments=2, check=False).through_time) == names


def test_gradients_of_a_linear_state_are_a_power():
    """For s → ρ·s + e, the gradient of a later loss falls by ρ a token."""

    class Linear(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding, self.out = torch.nn.Embedding(len(LETTERS), 4), torch.nn.Linear(4, len(LETTERS))

        def forward(self, ids, state=None):
            state, outputs = torch.zeros(len(ids), 4) if state is None else state, []
            for inputs in self.embedding(ids).unbind(1):
                state = 0.7 * state + inputs
                outputs.append(state)
            return self.out(torch.stack(outputs, 1)), state

    found = rnneval.gradients(model(Linear), string=TEXT, lags=8, anchors=4, segments=2, check=False)
    course = found.through_time["state.value"]
    assert course.median[1:] == pytest.approx([0.7**k for k in range(8)], rel=1e-5)


def test_what_is_no_pair_is_named():
    class Logits(torch.nn.Module):
        def __init__(self, shape):
            super().__init__()
            self.shape = shape

        def forward(self, ids, state=None):
            return torch.zeros(self.shape)

    with pytest.raises(CheckpointError, match=r"^Logits returned a Tensor of shape \(2, 3, 5\) for ids of .*a pair is"):
        rnneval.wrap(Logits((2, 3, 5)))  # as many rows as a pair has parts


def test_what_cannot_be_read_is_one_line():
    with pytest.raises(CheckpointError, match=r"Linear\.forward takes no state: give step="):
        rnneval.from_torch(torch.nn.Linear(3, 3))
    with pytest.raises(CheckpointError, match="GRU failed on ids of shape"):
        rnneval.from_torch(torch.nn.GRU(3, 3))
    with pytest.raises(VocabularyError, match="vocabulary"):
        rnneval.evaluate(rnneval.from_torch(Gru()), string=TEXT)


def test_a_module_is_taken_as_it_is():
    model = Gru()
    run = rnneval.evaluate(model, string=TEXT, vocabulary=list(LETTERS))
    assert (
        run.total_nats == rnneval.evaluate(rnneval.from_torch(model, vocabulary=list(LETTERS)), string=TEXT).total_nats
    )
    assert rnneval.check(model).verdict == "pass"


def test_a_transformer_is_called_one():
    class Encoder(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.TransformerEncoderLayer(8, 2)

        def forward(self, ids, mask=None):
            return self.layer(torch.nn.functional.one_hot(ids, 8).float(), mask)

    for module in (Encoder(), torch.nn.TransformerEncoderLayer(8, 2)):
        with pytest.raises(CheckpointError, match=r"is a Transformer \(attention in .*self_attn\)"):
            rnneval.wrap(module)


class Stacked(torch.nn.Module):
    """Two layers of GRU; `written` changes the states that are returned."""

    def __init__(self, written=list):
        super().__init__()
        self.embedding, self.out = torch.nn.Embedding(len(LETTERS), 8), torch.nn.Linear(8, len(LETTERS))
        self.layers = torch.nn.ModuleList(torch.nn.GRU(8, 8, batch_first=True) for _ in range(2))
        self.written = written

    def read(self, ids, *states):
        x, new = self.embedding(ids), []
        for layer, state in zip(self.layers, states or (None, None), strict=True):
            x, after = layer(x, state)
            new.append(after)
        return self.out(x), self.written(new)


class TwoArguments(Stacked):
    def forward(self, ids, first=None, second=None):
        logits, states = self.read(ids) if first is None else self.read(ids, first, second)
        return logits, *states


class AfterTargets(Stacked):
    def forward(self, ids, targets=None, states=()):
        logits, states = self.read(ids, *states)
        return logits, None if targets is None else logits.sum(), states


class InAMapping(Stacked):
    def forward(self, ids, *, hidden=()):
        logits, states = self.read(ids, *hidden)
        return {"loss": None, "logits": logits, "hidden": states}


class InAttributes(Stacked):
    hidden = ()

    def forward(self, ids, lengths=None):
        goes_on = self.hidden and self.hidden[0].shape[1] == len(ids)
        logits, self.hidden = self.read(ids, *(self.hidden if goes_on else ()))
        return logits


@pytest.mark.parametrize("form", [TwoArguments, AfterTargets, InAMapping, InAttributes])
def test_states_are_found_in_what_forward_returns(form):
    right, wrong = (
        rnneval.from_torch(form(written), vocabulary=[*LETTERS]) for written in (list, lambda new: new[::-1])
    )
    assert rnneval.check(right).verdict == "pass"
    assert "crossed-state" in {finding.rule for finding in rnneval.check(wrong).findings}


def test_a_module_that_returns_none_as_its_state_is_evaluated():
    class Bigram(Stacked):
        def forward(self, ids, state=None):
            return self.out(self.embedding(ids)), None

    assert rnneval.evaluate(Bigram(), string=TEXT, vocabulary=list(LETTERS), check=False).tokens.scored == len(TEXT) - 1
