"""Whatever kernel runs, and however rows are divided: the same losses and states, and the record says what ran."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import rnneval
from rnneval.errors import UsageError
from rnneval.evaluate.plan import Shape
from rnneval.models.keras import hoisted
from rnneval.models.keras.hoisted import Arrangement, arranged
from rnneval.text import Vocabulary
from tests.evaluate.small import LETTERS, evaluated, letters, stacked
from tests.oracles import stack_of


@pytest.fixture
def narrow_parts(monkeypatch):
    """Rows are divided however few they are."""
    monkeypatch.setattr(hoisted, "_ROWS_A_PART", (2, 2))
    monkeypatch.setattr(hoisted.os, "cpu_count", lambda: 3)


@pytest.mark.sampled(4)
@pytest.mark.parametrize("name", ["LSTM 6-4-9", "GRU 7-5", "GRU reset before 8", "SimpleRNN 8"])
def test_kernels_agree_token_by_token_and_with_the_float64_loop(model_of, tmp_path, narrow_parts, name):
    small, text = model_of(name), letters(tmp_path, 2_500)
    hoisted, layers = (evaluated(small, text, streams=7, kernel=kernel) for kernel in ("hoisted", "layers"))
    expected = small.oracle.losses([LETTERS.index(c) for c in text.read_text()])
    for seen in (hoisted, layers):
        assert abs(seen.nats.mean() - expected.mean()) < 1e-6
        assert np.abs(seen.nats - expected).max() < 1e-5
    assert (hoisted.run.streams.kernel, layers.run.streams.kernel) == ("hoisted", "layers")
    assert hoisted.run.streams.tokens_rerun == layers.run.streams.tokens_rerun
    assert hoisted.run.states.keys() == layers.run.states.keys()
    for key, summary in hoisted.run.states.items():
        assert summary.norm_mean == pytest.approx(layers.run.states[key].norm_mean, rel=1e-5)
        assert summary.participation_ratio == pytest.approx(layers.run.states[key].participation_ratio, rel=1e-3)


def test_who_could_not_be_hoisted_stands_in_the_record(tmp_path):
    cells = keras.layers.RNN([keras.layers.GRUCell(4), keras.layers.GRUCell(3)], return_sequences=True, name="stack")
    top = keras.layers.GRU(4, return_sequences=True, name="top")
    width = len(LETTERS)
    model = keras.Sequential([keras.layers.Embedding(width, 4), cells, top, keras.layers.Dense(width)])
    lm = rnneval.wrap(model, vocabulary=Vocabulary.from_tokens(list(LETTERS)))
    run = rnneval.evaluate(lm, letters(tmp_path, 50), check=False)
    assert run.streams.kernel == "hoisted (top), layers (stack: RNN of StackedRNNCells)"


def test_where_there_is_a_gpu_keras_layers_keep_their_cudnn_loops(model_of, monkeypatch):
    monkeypatch.setattr(hoisted.tf.config, "list_logical_devices", lambda _: ["a GPU"])
    lm = model_of("GRU 7-5").lm
    assert arranged(lm.model, lm.units, "auto") == Arrangement()
    assert arranged(lm.model, lm.units, "hoisted").hoisting is not None


def test_a_kernel_that_is_not_known(model_of, tmp_path):
    with pytest.raises(UsageError, match="kernel='fast' is not known: give one of auto, hoisted, layers"):
        rnneval.evaluate(model_of("GRU 7-5").lm, letters(tmp_path, 50), kernel="fast", check=False)


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


def test_a_narrow_step_is_compiled_once_it_is_worth_it_and_a_reading_forgets_the_last_ones():
    """What is compiled already must not decide, or a worker's digits would depend on what it had read before."""
    scorer = stacked("GRU", (3,), scale=1.0).lm.scorer(Shape(rows=32, segment=8))
    wide, narrow = Shape(rows=32, segment=8), Shape(rows=4, segment=8)
    assert scorer._worth(narrow) == narrow  # nothing wider was used
    scorer.begin()
    for _ in range(2):
        assert scorer._worth(wide) == wide
        assert [scorer._worth(narrow) for _ in range(6)] == [wide] * 4 + [narrow] * 2
        scorer.begin()
