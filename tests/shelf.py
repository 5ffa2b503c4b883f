"""A shelf of checkpoints: one set of weights in every format that is opened, and the answer in float64."""

import importlib.util
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tests.oracles import Stack, stack_of

LETTERS = "\n abcdefgh"

BUILDER = '''\
"""The code of the models on the shelf: TensorFlow's tutorial, and a functional twin."""

import keras
import tensorflow as tf


class MyModel(keras.Model):
    def __init__(self, vocab_size, embedding_dim=5, rnn_units=6):
        super().__init__()
        self.embedding = keras.layers.Embedding(vocab_size, embedding_dim)
        self.gru = keras.layers.GRU(rnn_units, return_sequences=True, return_state=True)
        self.dense = keras.layers.Dense(vocab_size)

    def call(self, inputs, states=None, return_state=False, training=False):
        x = self.embedding(inputs, training=training)
        if states is None:
            states = self.gru.get_initial_state(tf.shape(x)[0])
        x, states = self.gru(x, initial_state=states, training=training)
        x = self.dense(x, training=training)
        return (x, states) if return_state else x


def flat(vocab_size, rnn_units=6):
    return keras.Sequential([
        keras.layers.Embedding(vocab_size, 5),
        keras.layers.GRU(rnn_units, return_sequences=True),
        keras.layers.Dense(vocab_size),
    ])


def twin(vocabulary, layers=1):
    ids = keras.Input((None,), dtype="int32")
    x = keras.layers.Embedding(len(vocabulary), 5)(ids)
    for _ in range(layers):
        x = keras.layers.GRU(6, return_sequences=True)(x)
    return keras.Model(ids, keras.layers.Dense(len(vocabulary))(x))
'''


@dataclass(frozen=True)
class Shelf:
    """Where everything stands."""

    folder: Path
    oracle: Stack
    text: Path
    total_nats: float
    """By the float64 loop, over the whole text in one stream."""

    def __truediv__(self, name: str) -> Path:
        return self.folder / name

    @property
    def builder(self) -> tuple[str, str]:
        return "--builder", f"{self.folder / 'model.py'}:MyModel"


def code_of(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def make_shelf(folder: Path) -> Shelf:
    (folder / "model.py").write_text(BUILDER)
    (folder / "vocab.json").write_text(json.dumps(list(LETTERS)))
    text = folder / "text.txt"
    drawn = np.random.default_rng(1).integers(0, len(LETTERS), 240)
    text.write_text("".join(LETTERS[k] for k in drawn), newline="")
    code = code_of(folder / "model.py")
    model, flat = _trained(code.MyModel(len(LETTERS))), _trained(code.flat(len(LETTERS)))
    _save(folder, model, flat)
    oracle = stack_of(model.embedding, [model.gru], model.dense)
    ids = [LETTERS.index(c) for c in text.read_text()]
    return Shelf(folder, oracle, text, float(oracle.losses(ids).sum()))


def _trained(model: Any) -> Any:
    """Train for one step, so that the optimizer has variables; then give the weights of a trained model."""
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(np.ones((1, 3), np.int32), np.ones((1, 3), np.int32), verbose=0)
    rng = np.random.default_rng(3)
    model.set_weights([rng.normal(0, 0.6, w.shape) for w in model.get_weights()])
    return model


def _save(folder: Path, model: Any, flat: Any) -> None:
    flat.save(folder / "flat.keras")
    flat.save(folder / "flat.h5")
    flat.save_weights(folder / "flat.weights.h5")
    tf.train.Checkpoint(model=flat).save(folder / "flat_ckpt" / "c")
    model.save_weights(folder / "my.weights.h5")
    roots = {
        "root": tf.train.Checkpoint(model),
        "model": tf.train.Checkpoint(model=model, step=tf.Variable(3)),
        "net": tf.train.Checkpoint(net=model),
        "optimizer": tf.train.Checkpoint(optimizer=model.optimizer, a_model=model),
    }
    for name, checkpoint in roots.items():
        checkpoint.write(folder / f"ckpt_{name}" / "c")
    tf.train.Checkpoint(model=model).save(folder / "ckpt_saved" / "ckpt")
