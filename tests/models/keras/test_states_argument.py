"""A states argument: a `call` that takes and returns its states, under every usual name and in every usual nest."""

import pytest
import tensorflow as tf

import rnneval
from rnneval.models.keras.recognition import signature_of
from tests.models.keras.driving import assert_driven_as
from tests.models.keras.zoo import CONTAINERS, SINGLE, WIDTH, Body, dialect, oracle_of, settled, start_of

NAMES = (
    "states", "state", "initial_states", "initial_state", "hidden_states", "hidden_state", "hiddens", "hidden",
    "rnn_states", "rnn_state", "prev_states", "prev_state", "memory", "carry", "cache", "h", "hx", "h0",
    "lstm_state", "decoder_hidden",
)  # fmt: skip
FLAGS = ("return_state", "return_states", "return_hidden", "return_hidden_state", None)
KINDS = {
    "GRU": {},
    "GRU before": {"reset_after": False},
    "LSTM": {},
    "SimpleRNN": {},
}


def made(kind="GRU", units=(4, 3), container="tuple", argument="states", flag="return_state", **options):
    options = {**KINDS.get(kind, {}), **options}
    shape = CONTAINERS[container] if isinstance(container, str) else container
    return settled(dialect(argument, flag)(kind.split()[0], units, shape, **options))


def assert_right(model):
    lm = rnneval.wrap(model)
    assert lm.contract == 1
    assert lm.width == WIDTH
    assert_driven_as(lm, oracle_of(model), start_of(model))
    return lm


@pytest.mark.parametrize("argument", NAMES)
@pytest.mark.parametrize("flag", FLAGS)
def test_the_argument_and_the_flag_have_any_usual_name(argument, flag):
    found = signature_of(dialect(argument, flag))
    assert (found.state_names, found.flags, found.takes_training) == ((argument,), (flag,) if flag else (), True)


def test_other_arguments_are_no_states():
    found = signature_of(dialect("states", "return_state=False, mask=None, memory_size=3, return_sequences"))
    assert (found.state_names, found.flags) == (("states",), ("return_state",))


@pytest.mark.sampled(5)
@pytest.mark.parametrize("container", CONTAINERS)
def test_the_state_comes_in_any_container(container):
    assert_right(made("LSTM", (3, 3), container))


@pytest.mark.sampled(4)
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_layer_in_a_stack_of_different_widths_with_a_learned_start(kind):
    lm = assert_right(made(kind, (4, 2, 3), "nested", learned=True))
    assert [layer.units for layer in lm.layers] == [4, 2, 3]


def test_slots_name_the_layer_and_the_part_that_each_leaf_goes_into():
    lm = rnneval.wrap(made("LSTM", (4, 3), "nested", names=("lower", "upper")))
    assert [(slot.layer, slot.slot) for slot in lm.slots] == [
        ("lower", "h"), ("lower", "c"), ("upper", "h"), ("upper", "c"),
    ]  # fmt: skip
    assert lm.batch_axes == (0, 0, 0, 0)
    assert [(layer.name, layer.kind, layer.units, layer.slots) for layer in lm.layers] == [
        ("lower", "LSTM", 4, ("h", "c")),
        ("upper", "LSTM", 3, ("h", "c")),
    ]


class SeveralArguments(Body):
    """`call(ids, h=None, c=None)`, the state given back in the way that a subclass says."""

    def call(self, ids, h=None, c=None, training=False):
        logits, ((h, c),) = self.body(ids, None if h is None else [h, c])
        return self.given_back[0](logits, h, c)


@pytest.mark.sampled(5)
@pytest.mark.parametrize(
    "given_back",
    [
        lambda x, h, c: (x, h, c),
        lambda x, h, c: (x, [h, c]),
        lambda x, h, c: (x, {"h": h, "c": c}),
        lambda x, h, c: {"logits": x, "h": h, "c": c},
        lambda x, h, c: {"logits": x, "states": (h, c)},
    ],
    ids=["x, h, c", "x, [h, c]", "x, dict", "flat dict", "dict with states"],
)
def test_several_state_arguments(given_back):
    spoken = type("Several", (SeveralArguments,), {"given_back": (given_back,)})
    lm = assert_right(settled(spoken("LSTM", (3,), CONTAINERS["tuple"], learned=True)))
    assert {slot.slot for slot in lm.slots} == {"h", "c"}


@pytest.mark.sampled(4)
@pytest.mark.parametrize(
    "given_back",
    [
        lambda x, flat: (x, *flat),
        lambda x, flat: [x, *flat],
        lambda x, flat: {"logits": x, "states": flat},
        lambda x, flat: {"states": flat, "outputs": x, "attention": None},
    ],
    ids=["x, *states", "[x, *states]", "dict", "dict, state first, more in it"],
)
def test_one_state_argument_and_what_is_returned_is_flat_or_a_dict(given_back):
    class Spoken(Body):
        def call(self, ids, states=None, return_state=False):
            logits, after = self.body(ids, states)
            return given_back(logits, [part for parts in after for part in parts]) if return_state else logits

    assert_right(settled(Spoken("LSTM", (3, 4), CONTAINERS["list"])))


@pytest.mark.parametrize(("given_back", "place"), [(lambda x, v, s: (x, v, s), 2), (lambda x, v, s: (s, x, v), 1)])
def test_a_value_beside_the_state_is_not_given_back(given_back, place):
    class Critic(Body):
        crossed = False

        def call(self, ids, states=None):
            logits, after = self.body(ids, states)
            return given_back(logits, logits[..., :1], [part for (part,) in after][:: -1 if self.crossed else 1])

    model = settled(Critic("GRU", (3, 3), CONTAINERS["list"]))
    assert assert_right(model).adapter.sentence.endswith(f"; value {place} beside the logits is the state")
    assert rnneval.check(model).verdict == "pass"
    model.crossed = True
    assert {finding.rule for finding in rnneval.check(model).findings} == {"crossed-state", "chunk-variance"}


def test_a_state_argument_without_a_default_is_given_none():
    class Spoken(Body):
        def call(self, ids, hidden, training=False):
            return self.answer(ids, hidden)

    model = Spoken("GRU", (3,), SINGLE)
    model(tf.ones((1, 1), tf.int32), None)
    assert_right(settled(model))


def test_layers_run_in_another_order_than_they_were_made():
    class Turned(Body):
        def body(self, ids, state):
            states = self.begin(ids) if state is None else self.container.unpack(state, self.counts)
            x, high = self.recurrent[1](self.embedding(ids), initial_state=states[1])
            x, low = self.recurrent[0](x, initial_state=states[0])
            return self.dense(x), [[low], [high]]

    lm = rnneval.wrap(settled(dialect(base=Turned)("GRU", (4, 3))))
    assert [layer.units for layer in lm.layers] == [3, 4]  # as they run
    assert [slot.layer for slot in lm.slots] == ["recurrent[0]", "recurrent[1]"]  # as they are returned


def test_a_call_that_takes_a_state_and_gives_none_back_is_refused():
    class Silent(Body):
        def call(self, ids, states=None):
            return self.body(ids, states)[0]

    with pytest.raises(
        rnneval.errors.CheckpointError,
        match=r"Silent.call takes states but does not return a state \(.*\): return \(logits, states\)",
    ):
        rnneval.wrap(settled(Silent("GRU", (3,), SINGLE)))
