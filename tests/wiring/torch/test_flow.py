"""The flow matrix of PyTorch models: right ones, and ones whose fault is written down here."""

from functools import partial, wraps

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

import rnneval  # noqa: E402
from rnneval.models.torch.module import TorchStep  # noqa: E402
from rnneval.records.wiring import Slot  # noqa: E402
from rnneval.wiring.torch.flow import flow_of  # noqa: E402
from rnneval.wiring.torch.fresh import awake  # noqa: E402
from tests.wiring.torch.tiny import Gated, Stack, V, made  # noqa: E402

pytestmark = pytest.mark.torch


def lstm(width):
    return torch.nn.LSTM(width, width, batch_first=True)


def opened(module):
    step = TorchStep(module.eval())
    step.find_held(np.ones((2, 3), np.int32))
    return step


def kinds(flow):
    return {(row.into.layer, row.into.slot): row.kind for row in flow.flow}


def test_every_layer_of_a_right_stack_reads_and_writes_its_own_arrays():
    flow = flow_of(made("LSTM"), V)
    assert [layer.name for layer in flow.layers] == ["layers.0", "layers.1", "layers.2"]
    assert all(layer.kind == "LSTM" and layer.slots == ("h", "c") for layer in flow.layers)
    assert {row.kind for row in flow.flow} == {"carried"}
    assert all(row.into == row.source and row.calls == (2, 3) for row in flow.flow)
    assert flow.findings == flow.untested == ()


@pytest.mark.parametrize("name", ["Mamba2", "Zamba2"])
def test_right_models_with_caches_that_are_objects(name):
    flow = flow_of(made(name), V)
    assert {row.kind for row in flow.flow} == {"carried"}
    assert flow.findings == flow.untested == ()
    assert all(row.into == row.source for row in flow.flow)


def test_states_returned_in_another_order():
    class Reversed(Stack):
        def forward(self, ids, states=None):
            logits, states = super().forward(ids, states)
            return logits, states[::-1]

    flow = flow_of(opened(Reversed(lstm)), V)
    assert [(f.rule, f.layer) for f in flow.findings] == [("crossed-state", "layers.0")]
    assert "layers.0 reads state[0][0], which layers.2 wrote; likewise in layers.2" in flow.findings[0].message
    assert kinds(flow)["layers.1", "h"] == "carried"
    crossed = next(row for row in flow.flow if row.into.layer == "layers.2")
    assert (crossed.kind, crossed.source) == ("crossed", Slot(layer="layers.0", slot="h"))


class Shared(Stack):
    right = False

    def forward(self, ids, states=None):
        x, new = self.embedding(ids), []
        for number, layer in enumerate(self.layers):
            own = None if states is None else states[number]
            x, state = layer(x, own if self.right or not new else new[-1])
            new.append(state)
        return self.out(x), new


def test_a_state_made_in_the_same_call():
    flow = flow_of(opened(Shared(lstm, layers=2)), V)
    (finding,) = flow.findings
    assert (finding.rule, finding.layer, finding.source_layer) == ("shared-state", "layers.1", "layers.0")
    assert finding.message.startswith(
        "layers.1 starts from the state that layers.0 made in the same call (state[0][0])"
    )
    sources = {row.into.slot: (row.kind, row.source) for row in flow.flow if row.into.layer == "layers.1"}
    assert sources == {f"state[1][{part}]": ("crossed", Slot(layer="layers.0", slot="hc"[part])) for part in (0, 1)}
    right = Shared(lstm, layers=2)
    right.right = True
    assert flow_of(opened(right), V).findings == ()


def test_findings_of_modules_of_pytorch_point_to_the_code_of_the_user():
    wiring = rnneval.check(rnneval.from_torch(Shared(lstm, layers=2, width=8)))
    shared, *others = wiring.findings
    assert (shared.rule, shared.layer) == ("shared-state", "layers.1")
    assert {each.rule: each.layer for each in others}["chunk-variance"] == "layers.1"
    assert {(each.file, each.line) for each in wiring.findings} == {(__file__, Shared.forward.__code__.co_firstlineno)}
    assert "out, h1 = self.gru1(x, h1)" in shared.help


def decorated(forward):
    @wraps(forward)
    def wrapper(*args, **kwargs):
        return forward(*args, **kwargs)

    return wrapper


def test_an_array_that_is_never_read_points_to_the_forward_and_not_to_its_decorator():
    class Spare(Stack):
        @decorated
        def forward(self, ids, states=None):
            logits, new = super().forward(ids, None if states is None else states[0])
            return logits, (new, logits[:, -1].clone())

    (finding,) = rnneval.check(rnneval.from_torch(Spare(lstm, layers=1, width=8))).findings
    assert (finding.rule, finding.file) == ("unused-part", __file__)
    assert finding.line == Spare.forward.__wrapped__.__code__.co_firstlineno + 1  # the first is the decorator's
    assert finding.help.startswith("Give each module its part of the state")


def test_one_state_that_each_layer_hands_to_the_next():
    class Handed(Stack):
        def forward(self, ids, state=None):
            x = self.embedding(ids)
            for layer in self.layers:
                x, state = layer(x, state)
            return self.out(x), state

    module = opened(Handed(lstm))
    flow = flow_of(module, V)
    (finding,) = flow.findings
    assert (finding.rule, finding.layer, finding.source_layer) == ("shared-state", "layers.2", "layers.1")
    assert {(row.into.layer, row.source, row.kind) for row in flow.flow} == {("layers.0", "layers.2", "crossed")}
    assert flow_of(module, V, cut_matters=False).findings == ()


def test_an_input_of_one_token_is_no_state_of_another_layer():
    class Ignored(Stack):
        def forward(self, ids, states=None):
            logits, new = super().forward(ids, None if states is None else [states[0], None])
            return logits, new

    flow = flow_of(opened(Ignored(lambda width: torch.nn.GRU(width, width, batch_first=True), layers=2)), V)
    assert [(finding.rule, finding.layer) for finding in flow.findings] == [("ignored-state", "layers.1")]


def test_parts_of_one_state_exchanged():
    class Swapped(torch.nn.LSTM):
        def forward(self, x, state=None):
            outputs, (h, c) = super().forward(x, state)
            return outputs, (c, h)

    class Careless(Stack):
        def forward(self, ids, states=None):
            logits, states = super().forward(ids, states)
            return logits, [(c, h) for h, c in states]

    flow = flow_of(opened(Careless(lstm, layers=1)), V)
    assert {f.rule for f in flow.findings} == {"swapped-slots"}
    assert "state[0][0] holds what was written as state[0][1]" in flow.findings[0].message
    # Inside of the module it is another recurrence, whose arrays go in as they came out.
    assert flow_of(opened(Stack(lambda width: Swapped(width, width, batch_first=True))), V).findings == ()


def test_an_array_that_calls_of_several_tokens_ignore_and_one_that_they_leave():
    class Forgetful(Gated):
        def forward(self, x, state=None):
            given = None if state is None else {key: value.clone() for key, value in state.items()}
            if state is not None and x.shape[1] > 1:
                state = state | {"sum": torch.zeros_like(state["sum"])}
            outputs, state = super().forward(x, state)
            return outputs, state if given is None or x.shape[1] == 1 else state | {"weight": given["weight"]}

    flow = flow_of(opened(Stack(Forgetful, layers=2)), V)
    messages = {f.rule: f.message for f in flow.findings}
    assert set(messages) == {"ignored-state", "stale-state"}
    words = "state[0]['sum']: no module reacts in calls of 3 tokens (layers.0 reads it in calls of 1 token)"
    assert messages["ignored-state"].startswith(f"{words}; likewise in layers.1.")
    assert messages["stale-state"].startswith(
        "layers.0 reads state[0]['weight'], which stays as it is in calls of 3 tokens"
    )
    finding = next(f for f in flow.findings if f.rule == "ignored-state")
    assert finding.file.endswith("test_flow.py")
    assert finding.line == Forgetful.forward.__code__.co_firstlineno
    rows = [(row.kind, row.calls) for row in flow.flow if row.into.slot == "sum" and row.into.layer == "layers.1"]
    assert rows == [("carried", (2,)), ("fresh", (3,))]


def test_one_array_that_holds_the_states_of_all_layers():
    class Packed(torch.nn.Module):
        def __init__(self, order):
            super().__init__()
            self.embedding, self.out = torch.nn.Embedding(V, 12), torch.nn.Linear(12, V)
            self.layers = torch.nn.ModuleList(torch.nn.GRU(12, 12, batch_first=True) for _ in range(3))
            self.order = order

        def forward(self, ids, state=None):
            x, new = self.embedding(ids), []
            state = x.new_zeros(len(ids), 3, 12) if state is None else state
            for number, layer in enumerate(self.layers):
                x, h = layer(x, state[:, number][None].contiguous())
                new.append(h)
            return self.out(x), torch.stack([new[k][0] for k in self.order], dim=1)

    flow = flow_of(opened(Packed([0, 1, 2])), V)
    assert flow.findings == ()
    flow = flow_of(opened(Packed([0, 2, 1])), V)
    assert [f.rule for f in flow.findings] == ["crossed-state"]
    assert "state[:, 1], which layers.2 wrote" in flow.findings[0].message


class Deep(torch.nn.Module):
    """Layers within one module of PyTorch; `change` is made to its states before they are returned."""

    def __init__(self, make, change):
        super().__init__()
        self.embedding, self.out = torch.nn.Embedding(V, 12), torch.nn.Linear(12, V)
        self.rnn, self.change = make(12, 6, num_layers=2, batch_first=True), change

    def forward(self, ids, state=None):
        outputs, state = self.rnn(self.embedding(ids), state)
        return self.out(outputs[..., :6].repeat(1, 1, 2)), self.change(state)


def ends(flow):
    return {f"{row.into.layer}.{row.into.slot} ← {row.source.layer}.{row.source.slot}" for row in flow.flow}


@pytest.mark.parametrize(
    ("make", "slots"),
    [
        (torch.nn.LSTM, ("h[0]", "h[1]", "c[0]", "c[1]")),
        (torch.nn.GRU, ("h[0]", "h[1]")),
        (partial(torch.nn.RNN, bidirectional=True), ("h[0]", "h[1]", "h[2]", "h[3]")),
    ],
)
def test_layers_within_a_module_of_pytorch_are_told_apart(make, slots):
    flow = flow_of(opened(Deep(make, lambda state: state)), V)
    assert [layer.slots for layer in flow.layers] == [slots]
    assert ends(flow) == {f"rnn.{slot} ← rnn.{slot}" for slot in slots}
    assert {row.kind for row in flow.flow} == {"carried"}
    assert flow.findings == flow.untested == ()


def test_a_layer_within_a_module_whose_units_are_all_off_is_no_finding_and_one_that_is_lost_is():
    module = Deep(partial(torch.nn.RNN, nonlinearity="relu"), lambda state: state)
    torch.nn.init.constant_(module.rnn.bias_ih_l0, -9.0)
    assert flow_of(opened(module), V).findings == ()
    module = Deep(torch.nn.GRU, lambda state: torch.stack([torch.zeros_like(state[0]), state[1]]))
    (finding,) = flow_of(opened(module), V).findings
    assert finding.message.startswith("rnn reads state[0], which stays as it is in calls of 1 token and of 3 tokens.")


def test_layers_within_a_module_of_pytorch_exchanged():
    flow = flow_of(opened(Deep(torch.nn.LSTM, lambda states: tuple(state.flip(0) for state in states))), V)
    assert ends(flow) == {f"rnn.{slot}[{k}] ← rnn.{slot}[{1 - k}]" for slot in "hc" for k in (0, 1)}
    (finding,) = flow.findings
    assert (finding.rule, finding.layer) == ("crossed-state", "rnn")
    words = "rnn.h[0] reads state[0][0], which rnn.h[1] wrote; likewise in rnn.h[1], rnn.c[0], rnn.c[1]."
    assert finding.message.startswith(words)


def test_constants_and_arrays_without_effect_are_no_findings():
    class More(Stack):
        def forward(self, ids, states=None):
            given = None if states is None else states["layers"]
            logits, new = super().forward(ids, given)
            offset = torch.full((len(ids), 1), 0.5) if states is None else states["offset"]
            idle = torch.ones(len(ids), 3) if states is None else states["idle"]
            return logits * offset[:, :, None], {"layers": new, "offset": offset, "idle": idle}

    flow = flow_of(opened(More(lstm, layers=1)), V)
    assert flow.findings == ()
    assert flow.untested == ("state['idle']: no module reads it",)
    assert kinds(flow)["step", "idle"] == "unknown"
    assert kinds(flow)["More", "offset"] == "initial"


def test_a_model_that_draws_numbers_is_not_judged():
    class Noisy(Stack):
        def forward(self, ids, states=None):
            logits, states = super().forward(ids, states)
            return logits + torch.rand_like(logits), states

    flow = flow_of(opened(Noisy(lstm)), V)
    assert flow.flow == ()
    assert "different numbers for the same calls" in flow.untested[0]


def test_weights_that_are_zero_are_filled_for_the_while_and_put_back_bit_by_bit():
    model = Stack(Gated, layers=2).eval()
    model.embedding = torch.nn.Embedding(V, 24, padding_idx=0)
    with torch.no_grad():
        model.out.weight.fill_(-0.0)
        model.layers[0].out.weight.zero_()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with awake(model):
        assert model.out.weight.any()
        assert model.embedding.weight[0].any()
    assert all(value.numpy().tobytes() == before[name].numpy().tobytes() for name, value in model.state_dict().items())
    assert {row.kind for row in flow_of(opened(model), V).flow} == {"carried"}
