"""Gradients against finite differences of the float64 loop, and through time against closed forms."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import rnneval
from rnneval.errors import TextError, UsageError
from rnneval.evaluate.diagnostics.gradients import gradients
from rnneval.evaluate.diagnostics.probes import Place
from rnneval.metrics.gradient_norms import decay_of
from rnneval.models.keras.derivatives import through_time, variable_gradients
from tests.evaluate.small import LETTERS, Ids, letters, stacked
from tests.oracles import stack_of

IDS = np.random.default_rng(4).integers(0, len(LETTERS), 60).astype("i4")
TEXT = Ids(IDS)


def begin(small):
    leaves = small.lm.initial_state(1)
    return Place(at=0, state=np.concatenate([np.asarray(leaf)[0] for leaf in leaves]).astype("f4"))


@pytest.mark.sampled(2)
@pytest.mark.parametrize("name", ["LSTM 7-5", "GRU reset before 8"])
def test_gradients_of_variables_agree_with_finite_differences(keras_of, name):
    small = keras_of(name)
    loss, found, missing = variable_gradients(small.lm, TEXT, [begin(small)], 30)
    assert not missing
    assert loss == pytest.approx(small.oracle.losses(IDS[:31]).mean(), rel=1e-5)
    model = small.lm.model
    recurrent = [layer for layer in model.layers if isinstance(layer, keras.layers.RNN)]
    kept = [w.numpy() for w in model.trainable_variables]
    with tf.GradientTape() as tape:
        nats = keras.losses.SparseCategoricalCrossentropy(from_logits=True)(IDS[None, 1:31], model(IDS[None, :30]))
    directions = [tf.convert_to_tensor(g).numpy() for g in tape.gradient(nats, model.trainable_variables)]
    for k, (variable, direction) in enumerate(zip(found.values(), directions, strict=True)):
        unit, moved = direction.astype(float) / np.linalg.norm(direction), []
        for sign in (1, -1):
            stack = stack_of(model.layers[0], recurrent, model.layers[-1])
            arrays = [
                stack.embedding,
                *(a for layer in stack.layers for a in (layer.kernel, layer.recurrent, layer.bias)),
            ]
            [*arrays, stack.kernel, stack.bias][k] += sign * 1e-5 * unit
            moved.append(stack.losses(IDS[:31]).mean())
        assert variable.norm_mean == pytest.approx((moved[0] - moved[1]) / 2e-5, rel=1e-4)
        assert variable.norm_of_mean == pytest.approx(variable.norm_mean, rel=1e-6)
        assert variable.weight_norm == pytest.approx(np.linalg.norm(kept[k]), rel=1e-5)


def linear(w):
    """A linear SimpleRNN with a given recurrent matrix: h_t = x_t K + h_{t−1} W."""
    units, width = len(w), len(LETTERS)
    keras.utils.set_random_seed(1)  # with which the loss has a gradient along the direction that grows
    layer = keras.layers.SimpleRNN(units, return_sequences=True, activation="linear", use_bias=False)
    model = keras.Sequential([keras.layers.Embedding(width, 4), layer, keras.layers.Dense(width)])
    model(tf.ones((1, 1), tf.int32))
    rng = np.random.default_rng(0)
    layer.set_weights([rng.normal(0, 0.3, (4, units)), w])
    return rnneval.wrap(model), stack_linear(model)


def stack_linear(model):
    weights = [np.asarray(w, float) for w in model.get_weights()]
    return dict(zip(("embedding", "kernel", "recurrent", "out", "bias"), weights, strict=True))


def test_a_non_normal_linear_layer_follows_the_powers_of_its_matrix():
    w = np.array([[0.8, 2.0, 0.0], [0.0, 0.7, 1.5], [0.0, 0.0, 0.6]])  # grows by far before it decays
    lm, part = linear(w)
    lags = 40
    found, missing = through_time(lm, TEXT, [Place(at=0, state=np.zeros(3, "f4"))], lags)
    (course,) = found.values()
    h = np.zeros(3)
    for token in IDS[: lags + 1]:
        h = part["embedding"][token] @ part["kernel"] + h @ part["recurrent"]
    logits = h @ part["out"] + part["bias"]
    p = np.exp(logits - logits.max())
    p /= p.sum()
    p[IDS[lags + 1]] -= 1
    g = part["out"] @ p  # ∂loss/∂h_T
    expected = [
        np.linalg.norm(np.linalg.matrix_power(part["recurrent"], k) @ g) / np.linalg.norm(g) for k in range(lags + 1)
    ]
    np.testing.assert_allclose(course.median, expected, rtol=1e-4)
    assert max(course.median) > 3
    assert not missing


def test_every_slot_of_an_lstm_agrees_with_central_differences():
    small = stacked("LSTM", (4, 3))
    lags, base = 6, begin(small)
    found, _ = through_time(small.lm, TEXT, [base], lags)
    oracle = small.oracle

    def loss(nudge_at, layer, slot, unit, size):
        state = oracle.start()
        for t, token in enumerate(IDS[: lags + 1]):
            x = oracle.embedding[token]
            for k, part in enumerate(oracle.layers):
                x, state[k] = part.step(x, state[k])
                if (t, k) == (nudge_at, layer):
                    state[k] = [s.copy() for s in state[k]]
                    state[k][slot][unit] += size
                    x = state[k][0]
        logits = x @ oracle.kernel + oracle.bias
        return np.log(np.exp(logits).sum()) - logits[IDS[lags + 1]]

    for layer, part in enumerate(oracle.layers):
        for slot, name in enumerate("hc"):
            norms = []
            for t in range(lags, -1, -1):
                each = [
                    (loss(t, layer, slot, u, 1e-5) - loss(t, layer, slot, u, -1e-5)) / 2e-5 for u in range(part.units)
                ]
                norms.append(np.linalg.norm(each))
            course = found[f"{small.lm.layers[layer].name}.{name}"]
            assert course.base == (1 if name == "c" else 0)
            np.testing.assert_allclose(course.median, np.array(norms) / norms[course.base], rtol=1e-4, atol=1e-7)


def test_the_decay_of_a_known_decay():
    course = decay_of(0.5 ** np.arange(20.0)[None].repeat(3, axis=0))
    assert (course.base, course.gone) == (0, 7)  # 0.5⁷ < 0.01 < 0.5⁶
    assert course.decay == pytest.approx(0.5)
    assert decay_of(np.ones((2, 5))).gone is None
    assert decay_of(np.zeros((2, 5))) is None


def test_the_command_looks_from_the_carried_state(keras_of, tmp_path):
    small, text = keras_of("GRU 8"), letters(tmp_path, 600)
    found = gradients(small.lm, text, truncation=20, segments=4, lags=30, anchors=5, streams=4, check=False)
    assert (found.segments, found.lags) == (4, 30)
    for variable in found.variables.values():
        assert variable.norm_mean > 0
        assert variable.norm_of_mean <= variable.norm_mean * (1 + 1e-6) <= variable.norm_max * (1 + 1e-5)
    with pytest.raises(UsageError, match="segments"):
        gradients(small.lm, text, segments=0)
    with pytest.raises(TextError, match="tokens"):
        gradients(small.lm, letters(tmp_path, 40))
