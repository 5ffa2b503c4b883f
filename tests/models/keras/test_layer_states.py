"""Models that take no state, stateful or stateless: each recurrent layer is given its own by the adapter."""

import re

import keras
import numpy as np
import pytest

import rnneval
from rnneval.errors import CheckpointError
from tests.models.keras.driving import assert_driven_as, carried
from tests.models.keras.zoo import WIDTH, oracle_of_sequential, sequential, settled
from tests.oracles import stack_of

L = keras.layers
KINDS = {"GRU": {}, "GRU before": {"reset_after": False}, "LSTM": {}, "SimpleRNN": {}}


@pytest.mark.sampled(3)
@pytest.mark.parametrize("kind", KINDS)
def test_a_sequential_stack(kind):
    model = sequential(kind.split()[0], **KINDS[kind])
    lm = rnneval.wrap(model)
    assert lm.contract == 4
    assert_driven_as(lm, oracle_of_sequential(model))
    slots = ("h", "c") if kind == "LSTM" else ("h",)
    assert tuple(slot.slot for slot in lm.slots) == slots * 2
    assert [layer.units for layer in lm.layers] == [4, 3]


def busy():
    """Normalisation, dropout, concatenation and a residual path between layers of every kind."""
    ids = keras.Input((None,), dtype="int32")
    x = L.Embedding(WIDTH, 4)(ids)
    a = L.LayerNormalization()(L.GRU(4, return_sequences=True, name="first")(x))
    b = L.Dropout(0.5)(L.LSTM(4, return_sequences=True, dropout=0.3, recurrent_dropout=0.2, name="second")(a))
    c = L.Concatenate()([L.Add()([a, b]), L.SimpleRNN(3, return_sequences=True, name="third")(x)])
    return settled(keras.Model(ids, L.Dense(WIDTH)(L.Activation("relu")(c))))


def test_layers_between_give_the_models_own_output():
    model = busy()
    lm = rnneval.wrap(model)
    ids = np.random.default_rng(1).integers(0, WIDTH, (2, 9))
    whole = model(ids, training=False).numpy()  # stateless, over the whole of it: what Keras itself gives
    for cuts in ([0, 9], [0, 4, 9], range(10)):
        np.testing.assert_allclose(carried(lm, ids, list(cuts)), whole, atol=1e-5)
    assert {layer.name for layer in lm.layers} == {"first", "second", "third"}


def test_masked_ids_leave_the_state_and_the_output_as_they_are():
    embedding, gru, dense = L.Embedding(WIDTH, 5, mask_zero=True), L.GRU(4, return_sequences=True), L.Dense(WIDTH)
    model = settled(keras.Sequential([embedding, gru, dense]))
    oracle = stack_of(embedding, [gru], dense)
    lm = rnneval.wrap(model)
    ids = np.array([[1, 2, 0, 3, 0, 0, 4]])
    read = oracle.logits(ids[ids > 0])[[0, 1, 1, 2, 2, 2, 3]]  # a masked position repeats what was there before
    for cuts in ([0, 7], [0, 2, 7], [0, 5, 7], range(8)):
        np.testing.assert_allclose(carried(lm, ids, list(cuts))[0], read, atol=1e-5, err_msg=str(list(cuts)))


def test_inputs_of_a_fixed_length_take_any_length():
    embedding, gru, dense = L.Embedding(WIDTH, 5), L.GRU(4, return_sequences=True), L.Dense(WIDTH)
    model = settled(keras.Sequential([keras.Input((40,), dtype="int32"), embedding, gru, dense]))
    assert_driven_as(rnneval.wrap(model), stack_of(embedding, [gru], dense))


def stateful(kind="GRU"):
    recurrent = [getattr(L, kind)(u, return_sequences=True, stateful=True) for u in (4, 3)]
    embedding, dense = L.Embedding(WIDTH, 5), L.Dense(WIDTH)
    ids = keras.Input(batch_shape=(3, None), dtype="int32")
    x = embedding(ids)
    for layer in recurrent:
        x = layer(x)
    model = settled(keras.Model(ids, dense(x)))
    return model, stack_of(embedding, recurrent, dense)


@pytest.mark.sampled(2)
@pytest.mark.parametrize("kind", ["GRU", "LSTM"])
def test_stateful_layers_are_handed_their_state_and_keep_their_own(kind):
    model, oracle = stateful(kind)
    layers = model.layers[2:4]
    model(np.full((3, 4), 2, np.int32))  # the variables hold what was read last
    before = [v.numpy() for layer in layers for v in layer.states]
    assert all(v.any() for v in before)
    lm = rnneval.wrap(model)
    assert lm.contract == 3
    assert_driven_as(lm, oracle)
    after = [v.numpy() for layer in layers for v in layer.states]
    for old, new in zip(before, after, strict=True):
        np.testing.assert_array_equal(old, new)
    assert all(layer.stateful for layer in layers)


def graph(*between, embedding=None):
    ids = keras.Input((None,), dtype="int32")
    x = (embedding or L.Embedding(WIDTH, 6))(ids)
    for layer in between:
        x = layer(x)
    return keras.Model(ids, L.Dense(WIDTH)(x))


def twice():
    gru = L.GRU(6, return_sequences=True, stateful=True, name="again")
    ids = keras.Input(batch_shape=(2, None), dtype="int32")
    return keras.Model(ids, L.Dense(WIDTH)(gru(gru(L.Embedding(WIDTH, 6)(ids)))))


def mixed_by_an_operation():
    ids = keras.Input((None,), dtype="int32")
    x = L.GRU(4, return_sequences=True)(L.Embedding(WIDTH, 4)(ids))
    return keras.Model(ids, L.Dense(WIDTH)(keras.ops.flip(x, axis=1)))


GRU = {"return_sequences": True, "name": "gru"}
REFUSED = {
    "bidirectional": (
        lambda: graph(L.Bidirectional(L.GRU(4, return_sequences=True), name="both")),
        "both.*Bidirectional",
    ),
    "convolution": (lambda: graph(L.Conv1D(4, 3, padding="same", name="conv"), L.GRU(4, **GRU)), "conv.*Conv1D"),
    "backwards": (lambda: graph(L.GRU(4, go_backwards=True, **GRU)), "gru.*more than one position"),
    "stateful and used twice": (twice, "layer again is stateful and runs twice"),
    "a window": (lambda: graph(L.GRU(4, name="last")), "layer last has return_sequences=False: a window model"),
    "one prediction a text": (
        lambda: graph(L.GRU(4, **GRU), L.Lambda(lambda x: x[:, -1])),
        r"gives outputs of shape \(2, 7\) for ids of shape \(2, 6\)",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_refused_with_its_name(what):
    make, message = REFUSED[what]
    with pytest.raises(CheckpointError, match=message):
        rnneval.wrap(make())


def test_what_looks_elsewhere_is_said_when_it_is_wrapped_and_never_gets_a_valid_number():
    said = "carrying the state of gru.*difference .*more than one position"
    lm = rnneval.wrap(mixed_by_an_operation(), vocabulary=[chr(65 + k) for k in range(WIDTH)])
    assert any(re.search(said, assumed) for assumed in lm.assumptions)
    with pytest.raises(CheckpointError, match=said):
        rnneval.evaluate(lm, string="ABBA" * 20, check=False)
    assert not rnneval.evaluate(lm, string="ABBA" * 20).valid


def test_a_subclassed_model_without_states_is_rewired():
    class Plain(keras.Model):
        def __init__(self):
            super().__init__()
            self.embedding, self.dense = L.Embedding(WIDTH, 5), L.Dense(WIDTH)
            self.gru, self.lstm = L.GRU(4, return_sequences=True), L.LSTM(3, return_sequences=True)

        def call(self, ids):
            return self.dense(self.lstm(self.gru(self.embedding(ids))))

    model = settled(Plain())
    lm = rnneval.wrap(model)
    assert (lm.contract, [layer.name for layer in lm.layers]) == (4, ["gru", "lstm"])
    assert_driven_as(lm, stack_of(model.embedding, [model.gru, model.lstm], model.dense))
