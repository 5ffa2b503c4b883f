"""Keras' layers against a float64 loop, a large vocabulary, and steps that become narrow when few rows are left."""

from unittest.mock import Mock

import keras
import numpy as np
import pytest
import tensorflow as tf

import rnneval
from rnneval.evaluate.losses import Observations
from rnneval.evaluate.plan import Shape
from rnneval.evaluate.rows import RowReader
from rnneval.evaluate.span import KeptStates, SpanReading
from rnneval.models.protocol import Predicted, Stepped
from rnneval.text import Vocabulary
from tests.evaluate.small import evaluated, ids_of, letters
from tests.oracles import stack_of


@pytest.mark.sampled(3)
@pytest.mark.parametrize("name", ["LSTM 6-4-9", "GRU 7-5", "GRU reset before 8", "SimpleRNN 8"])
def test_layers_agree_token_by_token_with_the_float64_loop(keras_of, tmp_path, name):
    small, text = keras_of(name), letters(tmp_path, 2_500)
    seen = evaluated(small, text, streams=7)
    expected = small.oracle.losses(ids_of(text))
    assert abs(seen.nats.mean() - expected.mean()) < 1e-6
    assert np.abs(seen.nats - expected).max() < 1e-5
    assert seen.run.streams.kernel == "layers"


@pytest.mark.sampled(2)
@pytest.mark.parametrize("width", [50_000, 200_000])
def test_a_large_vocabulary_is_the_float64_loop(tmp_path, width):
    """Logits of one step stay below 128 MB; ids from both ends of the vocabulary occur."""
    tokens = [f"w{k}" for k in range(width)]
    layer, dense = keras.layers.GRU(4, return_sequences=True), keras.layers.Dense(width)
    model = keras.Sequential([keras.layers.Embedding(width, 3), layer, dense])
    model(tf.ones((1, 1), tf.int32))
    rng = np.random.default_rng(0)
    ids = rng.choice([0, 1, 2, width // 2, width - 2, width - 1], 300)
    text = tmp_path / "words.txt"
    text.write_text(" ".join(tokens[k] for k in ids))
    lm = rnneval.wrap(model, vocabulary=Vocabulary.from_tokens(tokens, kind="word"))
    run = rnneval.evaluate(lm, text, check=False, states=False)
    expected = stack_of(model.layers[0], [layer], dense).losses(ids)
    assert run.total_nats == pytest.approx(expected.sum(), rel=1e-6)
    assert run.streams.count * run.streams.segment * width <= 2**25


def test_steps_become_narrow_where_few_rows_are_left_for_long():
    """Eight rows, of which one reads on: sixteen steps later it is read in steps of four rows."""
    widths = []

    class Recording:
        def score(self, ids, targets, states, width):
            widths.append(width)
            scored = Predicted(*(np.zeros(ids.shape, kind) for kind in (np.float32, np.float32, np.int32)))
            return Stepped(scored, states)

    text = type("Text", (), {"ids": staticmethod(lambda start, stop: np.zeros(stop - start, np.int32))})
    state = np.zeros(1, np.float32)
    readings = [SpanReading(span=k, at=0, stop=4 if k else 60, state=state, kind="aside") for k in range(8)]
    seen = Mock(spec=Observations)
    rows = RowReader(text, Shape(rows=8, segment=2), Recording(), observations=seen, states=KeptStates([], state))
    assert {ended.span for ended in rows.read(readings)} == set(range(8))
    assert widths == [8] * 18 + [4] * 12
