"""Files of Keras 3 that need more than their own configuration: half precision, layers of the user's own, strings."""

import keras
import numpy as np
import pytest

import rnneval
from rnneval.errors import CheckpointError
from tests.models.keras.driving import IDS, assert_driven_as, carried
from tests.models.keras.zoo import WIDTH, settled
from tests.oracles import stack_of

L = keras.layers

CODE = """
import keras
from keras import ops

class Gain(keras.layers.Layer):
    def build(self, shape):
        self.gain = self.add_weight(shape=(shape[-1],), name="gain")
    def call(self, x):
        return x * self.gain

@keras.saving.register_keras_serializable("mine")
class Minimal(keras.layers.Layer):
    '''A cell of the author's own.'''
    def __init__(self, units, **options):
        super().__init__(**options)
        self.units = self.state_size = self.output_size = units
    def build(self, shape):
        self.into = self.add_weight(shape=(shape[-1], self.units), name="into")
        self.back = self.add_weight(shape=(self.units, self.units), name="back")
    def call(self, x, states):
        h = ops.tanh(x @ self.into + states[0] @ self.back)
        return h, [h]
    def get_config(self):
        return {**super().get_config(), "units": self.units}

@keras.saving.register_keras_serializable("mine")
class Whole(keras.Model):
    def __init__(self, vocab_size, units, **options):
        super().__init__(**options)
        self.sizes = {"vocab_size": vocab_size, "units": units}
        self.embedding = keras.layers.Embedding(vocab_size, 5)
        self.gru = keras.layers.GRU(units, return_sequences=True, return_state=True)
        self.dense = keras.layers.Dense(vocab_size)
    def call(self, ids, states=None, return_state=False):
        x, states = self.gru(self.embedding(ids), initial_state=states)
        return (self.dense(x), states) if return_state else self.dense(x)
    def get_config(self):
        return {**super().get_config(), **self.sizes}

def squash(x):
    return x / (1 + ops.abs(x))
"""


@pytest.fixture
def code(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(CODE)
    return path


def loaded(path):
    from tests.shelf import code_of

    return code_of(path)


def without_its_code(monkeypatch):
    """As in a new process: what the author registered is not known until the module is imported."""
    from keras.src.saving import object_registration

    monkeypatch.setattr(object_registration, "GLOBAL_CUSTOM_OBJECTS", {})
    monkeypatch.setattr(object_registration, "GLOBAL_CUSTOM_NAMES", {})


def parts(policy):
    options = {"dtype": policy}
    gru = L.GRU(4, return_sequences=True, recurrent_initializer="zeros", **options)  # no orthogonal one in bfloat16
    layers = [L.Embedding(WIDTH, 5, **options), gru, L.Dense(WIDTH, **options)]
    return layers, settled(keras.Sequential([keras.Input((None,), dtype="int32"), *layers]))


POLICIES = ("mixed_float16", "mixed_bfloat16", "float16", "bfloat16")
HALVES = [(policy, form) for policy in POLICIES for form in ("keras", "h5", "weights.h5")]
HALVES.remove(("bfloat16", "h5"))


@pytest.mark.sampled(6)
@pytest.mark.filterwarnings("ignore:.*HDF5 file:UserWarning", "ignore:You are saving your model:UserWarning")
@pytest.mark.parametrize(("policy", "form"), HALVES)
def test_half_precision_is_evaluated_in_float32(tmp_path, policy, form):
    layers, model = parts(policy)
    path = tmp_path / f"half.{form}"
    builder = {}
    if form == "weights.h5":
        model.save_weights(path)
        (tmp_path / "code.py").write_text(
            "import keras\nL = keras.layers\n"
            f"def make(o={{'dtype': {policy!r}}}):\n    return keras.Sequential([keras.Input((None,), dtype='int32'), "
            f"L.Embedding({WIDTH}, 5, **o), L.GRU(4, return_sequences=True, recurrent_initializer='zeros', **o), "
            f"L.Dense({WIDTH}, **o)])\n"
        )
        builder = {"builder": f"{tmp_path / 'code.py'}:make"}
    else:
        model.save(path)
    lm = rnneval.open(path, **builder)
    assert f"saved under the policy {policy}: evaluated in float32" in lm.assumptions
    assert_driven_as(lm, stack_of(layers[0], [layers[1]], layers[2]))  # the weights as stored, in float64


def loss_by_hand(model, text, tokens):
    """Return the mean loss of one call of a model over a text, in float64."""
    ids = np.array([[tokens.index(letter) for letter in text]])
    logits = keras.ops.convert_to_numpy(keras.ops.cast(model(ids[:, :-1]), "float32")).astype(np.float64)[0]
    chosen = logits[np.arange(len(logits)), ids[0, 1:]]
    return float((np.log(np.exp(logits).sum(axis=1)) - chosen).mean())


ALPHABET = [chr(ord("a") + k) for k in range(WIDTH)]
SHORT_TEXT = "".join(np.random.default_rng(0).choice(ALPHABET, 400))


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "float16"])
def test_half_precision_computes_as_it_was_saved_if_asked(tmp_path, policy):
    _, model = parts(policy)
    model.save(tmp_path / "half.keras")
    lm = rnneval.open(tmp_path / "half.keras", as_saved=True, vocabulary=ALPHABET)
    single = rnneval.open(tmp_path / "half.keras", vocabulary=ALPHABET)
    assert (lm.checkpoint.dtype, single.checkpoint.dtype) == (policy.removeprefix("mixed_"), "float32")
    run = rnneval.evaluate(lm, string=SHORT_TEXT, check=False)
    by_hand = loss_by_hand(model, SHORT_TEXT, ALPHABET)
    assert run.scores["cross_entropy"].value == pytest.approx(by_hand, abs=2e-7)
    assert abs(rnneval.evaluate(single, string=SHORT_TEXT, check=False).scores["cross_entropy"].value - by_hand) > 1e-6
    assert [each.norm_mean > 0 for each in run.states.values()] == [True]


@pytest.mark.parametrize("mode", ["int8", "int4"])
@pytest.mark.filterwarnings("ignore:Layer .* does not have a `quantize` method:UserWarning")
def test_quantised_models_are_read(tmp_path, mode):
    _, model = parts("float32")
    plain = loss_by_hand(model, SHORT_TEXT, ALPHABET)
    model.quantize(mode)
    model.save(tmp_path / "small.keras")
    lm = rnneval.open(tmp_path / "small.keras", vocabulary=ALPHABET)
    run = rnneval.evaluate(lm, string=SHORT_TEXT)
    by_hand = loss_by_hand(model, SHORT_TEXT, ALPHABET)
    assert abs(plain - by_hand) > 1e-6
    assert run.scores["cross_entropy"].value == pytest.approx(by_hand, abs=1e-6)
    assert run.wiring.verdict == "pass"


@pytest.mark.filterwarnings("ignore:.*HDF5 file:UserWarning", "ignore:You are saving your model:UserWarning")
@pytest.mark.sampled(2)
@pytest.mark.parametrize("form", ["keras", "h5"])
def test_layers_cells_and_activations_of_the_users_own(tmp_path, code, form, monkeypatch):
    mine = loaded(code)
    embedding, dense = L.Embedding(WIDTH, 5), L.Dense(WIDTH, activation=mine.squash)
    cell, gain = mine.Minimal(4), mine.Gain()
    model = settled(
        keras.Sequential([keras.Input((None,)), embedding, L.RNN(cell, return_sequences=True), gain, dense])
    )
    model.save(tmp_path / f"mine.{form}")
    table, (into, back), (scale,) = embedding.get_weights()[0], cell.get_weights(), gain.get_weights()
    kernel, bias = dense.get_weights()
    without_its_code(monkeypatch)
    with pytest.raises(CheckpointError, match=r"refused by rule config-(class|function): asks for "):
        rnneval.open(tmp_path / f"mine.{form}")
    lm = rnneval.open(tmp_path / f"mine.{form}", builder=f"{code}:Minimal")
    h, rows = np.zeros(4), []
    for token in IDS[0]:
        h = np.tanh(table[token] @ np.float64(into) + h @ np.float64(back))
        out = (h * scale) @ kernel + bias
        rows.append(out / (1 + np.abs(out)))
    np.testing.assert_allclose(carried(lm, IDS[:1], [0, 2, 5])[0], rows, atol=1e-6)


TOKENS = ["a", "b", "c", "d", "e"]


@pytest.mark.sampled(3)
@pytest.mark.parametrize("kind", ["StringLookup", "TextVectorization"])
@pytest.mark.parametrize("graph", ["sequential", "functional"])
def test_a_vocabulary_inside_the_model(tmp_path, kind, graph):
    """A layer that turns text into ids is left out, and says what the ids mean."""
    if kind == "StringLookup":
        lookup, strings = L.StringLookup(vocabulary=TOKENS), keras.Input((None,), dtype="string")
    else:
        lookup = L.TextVectorization(standardize=None, split="character", vocabulary=TOKENS)
        strings = keras.Input((), dtype="string")
    width = lookup.vocabulary_size()
    embedding, gru, dense = L.Embedding(width, 5), L.GRU(4, return_sequences=True), L.Dense(width)
    if graph == "sequential":
        model = keras.Sequential([strings, lookup, embedding, gru, dense])
    else:
        model = keras.Model(strings, dense(gru(embedding(lookup(strings)))))
    for layer in (embedding, gru, dense):
        rng = np.random.default_rng(1)
        layer.set_weights([rng.normal(0, 0.5, w.shape) for w in layer.get_weights()])
    model.save(tmp_path / "text.keras")
    lm = rnneval.open(tmp_path / "text.keras")
    assert lm.vocabulary.tokens[-5:] == tuple(TOKENS)
    assert lm.vocabulary.source.startswith(f"{kind} layer")
    assert_driven_as(lm, stack_of(embedding, [gru], dense), ids=IDS % width)
