"""SavedModels: weights are read, and the graph is never run."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import rnneval
from tests.models.keras.driving import assert_driven_as
from tests.oracles import stack_of
from tests.shelf import BUILDER, code_of

LETTERS = "\n dehlorw"


class OneStep(tf.Module):
    """As in TensorFlow's tutorial: samples characters, and gives no logits."""

    def __init__(self, model, ids_from_chars, chars_from_ids):
        super().__init__()
        self.model, self.ids_from_chars, self.chars_from_ids = model, ids_from_chars, chars_from_ids

    @tf.function
    def generate_one_step(self, inputs, states=None):
        ids = self.ids_from_chars(tf.strings.unicode_split(inputs, "UTF-8")).to_tensor()
        logits, states = self.model(ids, states=states, return_state=True)
        drawn = tf.random.categorical(logits[:, -1], num_samples=1)
        return self.chars_from_ids(tf.squeeze(drawn, axis=-1)), states


def lookups():
    lookup = keras.layers.StringLookup(vocabulary=list(LETTERS), mask_token=None)
    return lookup, keras.layers.StringLookup(vocabulary=lookup.get_vocabulary(), invert=True, mask_token=None)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved")
    (folder / "model.py").write_text(BUILDER)
    model = code_of(folder / "model.py").MyModel(len(LETTERS) + 1)
    one_step = OneStep(model, *lookups())
    one_step.generate_one_step(tf.constant(["h"]))
    rng = np.random.default_rng(0)
    model.set_weights([rng.normal(0, 0.5, w.shape) for w in model.get_weights()])
    tf.saved_model.save(one_step, str(folder / "one_step"))
    return folder, stack_of(model.embedding, [model.gru], model.dense)


def test_weights_are_read_without_running_it(saved):
    folder, oracle = saved
    lm = rnneval.open(folder / "one_step", builder=f"{folder / 'model.py'}:MyModel", vocabulary=["[UNK]", *LETTERS])
    assert (lm.contract, lm.checkpoint.format, lm.width) == (1, "saved-model", len(LETTERS) + 1)
    assert_driven_as(lm, oracle)
