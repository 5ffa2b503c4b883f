"""Scoring, against NumPy in float64."""

import numpy as np
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from rnneval.models.keras.lm import scored
from tests.oracles import nats


@given(st.integers(0, 10**6), st.sampled_from([1.0, 30.0]))
def test_scored_is_log_softmax_confidence_and_rank(seed, scale):
    rng = np.random.default_rng(seed)
    logits = (rng.standard_normal((2, 3, 7)) * scale).astype(np.float32)
    targets = rng.integers(0, 7, (2, 3)).astype(np.int32)
    loss, confidence, rank = (part.numpy() for part in scored(tf.constant(logits), tf.constant(targets)))
    for row in range(2):
        expected = nats(logits[row].astype(np.float64), targets[row])
        np.testing.assert_allclose(loss[row], expected, rtol=1e-5, atol=1e-6)
    p = np.exp(logits.astype(np.float64) - np.log(np.exp(logits.astype(np.float64)).sum(-1, keepdims=True)))
    np.testing.assert_allclose(confidence, p.max(-1), rtol=1e-5)
    order = np.argsort(-logits, axis=-1, kind="stable")
    np.testing.assert_array_equal(np.take_along_axis(order, rank[..., None], -1)[..., 0], targets)


def test_a_tie_goes_to_the_lower_id_as_in_argmax():
    logits = tf.constant([[[1.0, 2.0, 2.0, 0.0]] * 4])
    _, _, rank = scored(logits, tf.constant([[0, 1, 2, 3]]))
    assert rank.numpy().tolist() == [[2, 0, 1, 3]]


def test_a_word_that_a_model_rules_out_counts_for_nothing():
    """A logit of −∞, and two of them: neither is before the target."""
    logits = tf.constant([[[-np.inf, 1.0, -np.inf, 0.0, 1.0]] * 2])
    loss, confidence, rank = scored(logits, tf.constant([[3, 4]]))
    np.testing.assert_allclose(loss, [[np.log(1 + 2 * np.e), np.log(2 + np.exp(-1))]], rtol=1e-6)
    np.testing.assert_allclose(confidence, [[1 / (2 + np.exp(-1))] * 2], rtol=1e-6)
    assert rank.numpy().tolist() == [[2, 1]]
