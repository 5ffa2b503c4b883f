"""Logits or probabilities: a final softmax layer is run as if it were linear; other outputs are taken as they are."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from rnneval.errors import CheckpointError
from rnneval.models.adapters import numbers_of
from rnneval.models.inputs import IDS, Inputs
from rnneval.models.layers import sublayers
from rnneval.models.state_tap import overridden

# Softmax rows sum to one within float32 rounding of the sum of V terms; logits do not by chance.
_SUM_TOLERANCE = 1e-4


def are_probabilities(output: Any) -> bool:
    """Return whether every row of `(batch, time, V)` outputs is a distribution: none negative, sums of one."""
    values = numbers_of(output).astype(np.float64)
    return bool((values >= 0).all() and (np.abs(values.sum(axis=-1) - 1) < _SUM_TOLERANCE).all())


def require_tokens_out(model: Any, inputs: Inputs, width: int) -> None:
    """Refuse a model that does not predict the next token: it returns too few numbers for the ids that it reads.

    Raises:
        CheckpointError: one output, or an embedding of more than twice as many ids as there are outputs.
    """
    sizes = [layer.input_dim for layer in sublayers(model) if isinstance(layer, keras.layers.Embedding)]
    known = min(sizes, default=width) if inputs.kind == IDS else width
    if width < 2 or known > 2 * width:
        raise CheckpointError(
            f"it reads {known:,} different ids and gives {width:,} number{'s' * (width != 1)} a position: a classifier "
            "or a tagger, and no model of the next token, which gives one for each id"
        )


def final_softmax(model: Any, probabilities: Any, call: Callable[[], Any]) -> Any | None:
    """Find the layer whose softmax makes the model's probabilities, proved by leaving it out.

    Args:
        model: The Keras model.
        probabilities: The output of `call` with every layer in place, `(batch, time, V)`.
        call: Runs the model once more on the same input.

    Returns:
        The layer, or None where no single layer does it (a softmax written into the author's `call`, say).
    """
    softmax = keras.activations.softmax
    for layer in reversed(sublayers(model)):  # the last first: it is the likely one
        if not isinstance(layer, keras.layers.Softmax) and getattr(layer, "activation", None) is not softmax:
            continue
        with linear(layer):
            logits = call()
        if np.allclose(numbers_of(tf.nn.softmax(logits)), numbers_of(probabilities), rtol=1e-4, atol=1e-6):
            return layer
    return None


@contextmanager
def linear(layer: Any | None) -> Iterator[None]:
    """Run a layer without its softmax while the block runs."""
    if layer is None:
        yield
        return

    def identity(inputs: Any, mask: Any = None) -> Any:  # noqa: ARG001 - the signature of Softmax.call
        return inputs

    is_softmax = isinstance(layer, keras.layers.Softmax)
    value = identity if is_softmax else keras.activations.linear
    with overridden(layer, "call" if is_softmax else "activation", value):
        yield
