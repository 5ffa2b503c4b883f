"""What does not fit in a file of Keras 2 is said in one line: seen, where, and what to do."""

import numpy as np
import pytest

import rnneval
from rnneval.errors import CheckpointError
from tests.checkpoints import by_hand
from tests.checkpoints.by_hand import dense, embedding, recurrent, sequential, weights_of, write
from tests.checkpoints.test_keras2_by_hand import stack
from tests.models.keras.driving import assert_driven_as

BUILDER = """
import keras
L = keras.layers
def make(units=4, kind="GRU", before=False, width=5):
    options = {"reset_after": False} if before else {}
    rnn = getattr(L, kind)(units, return_sequences=True, **options)
    return keras.Sequential([L.Input((None,)), L.Embedding(7, width), rnn, L.Dense(7)])

class Doubled(L.Layer):
    def call(self, x):
        return 2 * x

def thrice(x):
    return 3 * x
"""


@pytest.fixture
def code(tmp_path):
    path = tmp_path / "code.py"
    path.write_text(BUILDER)
    return f"{path}:make"


def chain(*between, units=4, width=5, **options):
    return sequential(embedding(output_dim=width), recurrent("GRU", "gru", units, **options), *between, dense())


def opened(tmp_path, config, weights=None, version="2.4.0", **named):
    weights = weights_of(chain()) if weights is None else weights
    return rnneval.open(write(tmp_path / "model.h5", config, weights, version), **named)


NESTED = {"class_name": "__lambda__", "config": {"value": "code"}}
LAMBDA = by_hand.layer("Lambda", "twice", function=["4wEA"])
OPERATION = by_hand.layer("TFOpLambda", "tf.io.read_file", function="io.read_file")
SLICE = by_hand.layer("SlicingOpLambda", "tf.__operators__.getitem", function="__operators__.getitem")
SPARSE = by_hand.layer("InputLayer", "in", batch_input_shape=[None, None], sparse=True)
REFUSED = {
    "a Lambda": (chain(LAMBDA), "rule config-code: holds a Lambda layer, which runs code"),
    "an operation": (chain(OPERATION), "read_file of class TFOpLambda: an operation of TensorFlow in the graph"),
    "a slice": (chain(SLICE), "an operation of TensorFlow in the graph, which Keras 3 has no layer for"),
    "an unknown layer": (
        chain(by_hand.layer("Doubled", "twice")),
        "layer twice of class Doubled.*name the module that has it",
    ),
    "an unknown setting": (
        chain(peepholes=True),
        r"layer gru \(GRU\) has the setting peepholes=True, which Keras 3 does not know",
    ),
    "an activation": (chain(activation="snake"), "the activation snake is not one of Keras"),
    "an object for a number": (chain(units=NESTED), "rule config-code: holds a __lambda__ layer"),
    "a size without weights": (chain(units=10**9), "asks for units=1,000,000,000, but its largest weight has"),
    "a subclassed model": (
        {"class_name": "MyModel", "config": {}},
        r"a subclassed model \(MyModel\), which only its own code",
    ),
    "no layers": (sequential(), "holds no layers: the file is damaged"),
    "sparse inputs": (sequential(SPARSE, *chain()["config"]["layers"]), "input in is sparse"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_configuration_that_is_refused(tmp_path, what):
    config, message = REFUSED[what]
    with pytest.raises(CheckpointError, match=message) as caught:
        opened(tmp_path, config)
    assert "\n" not in str(caught.value)


def test_layers_of_the_users_own_come_from_the_module_that_builder_names(tmp_path, code):
    config = chain(by_hand.layer("Custom>Doubled", "twice"), by_hand.layer("Activation", "more", activation="thrice"))
    lm = opened(tmp_path, config, builder=code)
    oracle = stack(chain(), weights_of(chain()))
    scaled = type(oracle)(embedding=oracle.embedding, layers=oracle.layers, kernel=6 * oracle.kernel, bias=oracle.bias)
    assert_driven_as(lm, scaled)


def without(number):
    return [pair for k, pair in enumerate(weights_of(chain())) if k != number]


def swapped():
    """Kernel and recurrent kernel of one shape, the wrong way round: shapes alone would let it pass."""
    table, (name, (kernel, back, bias)), out = weights_of(chain(width=4))
    return [table, (name, [back, kernel, bias]), out]


LEFT_OVER = {
    "a layer missing": (
        lambda: without(2),
        {},
        r"has weights of 2 layers \(embedding, gru\), the model has 3 layers with weights",
    ),
    "a layer left over": (
        lambda: [*weights_of(chain()), ("more", [("more/kernel:0", np.zeros((2, 2)))])],
        {},
        "has weights of 4 layers",
    ),
    "another size": (
        lambda: weights_of(chain()),
        {"units": 5},
        r"gru/kernel is \(5, 12\) in the file and \(5, 15\) in the model.*: check",
    ),
    "another kind": (
        lambda: weights_of(chain()),
        {"kind": "LSTM"},
        r"gru/kernel is \(5, 12\) in the file and \(5, 16\)",
    ),
    "reset_after": (lambda: weights_of(chain()), {"before": True}, "its GRU has reset_after=True"),
    "reset before": (lambda: weights_of(chain(reset_after=False)), {}, "its GRU has reset_after=False"),
    "kernels swapped": (
        swapped,
        {"width": 4},
        "layer gru has a recurrent_kernel where the model has .*kernel: another kind of layer",
    ),
}


@pytest.mark.parametrize("what", LEFT_OVER)
def test_weights_that_do_not_all_meet(tmp_path, code, what):
    weights, arguments, message = LEFT_OVER[what]
    with pytest.raises(CheckpointError, match=message):
        opened(tmp_path, None, weights(), builder=code, builder_arguments=arguments)
