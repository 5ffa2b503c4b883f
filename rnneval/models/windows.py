"""Contract 5: window models. The last N tokens go in, one prediction comes out; the state is the last N − 1 ids."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from rnneval.errors import CheckpointError
from rnneval.models.adapters import Called, RewiredDrive
from rnneval.models.layers import Unit
from rnneval.models.state_tap import overridden

_NUMBERS = 1 << 23  # in the inputs of one call, so that one-hot windows of large vocabularies fit into memory


@dataclass(kw_only=True, eq=False)
class WindowDrive:
    """Slides a window over the ids: all positions of all rows are one batch, however the text is cut."""

    model: Any
    """Takes `(windows, N)` ids and gives `(windows, V)`."""
    window: int
    """N."""
    width: int
    """Numbers that one token becomes in the input: 1, or V where it is one-hot."""
    takes_training: bool = True
    contract: int = 5

    def __call__(self, ids: Any, leaves: Sequence[Any] | None) -> Called:
        """Predict after every token of `(batch, time)` ids; before the first there are N − 1 ids 0, or the leaf."""
        past = tf.zeros([tf.shape(ids)[0], self.window - 1], tf.int32) if leaves is None else leaves[0]
        both = tf.concat([past, ids], axis=1)  # (batch, N − 1 + time)
        windows = tf.signal.frame(both, self.window, 1)  # (batch, time, N)
        output = self._predictions(tf.reshape(windows, [-1, self.window]))
        shape = tf.concat([tf.shape(ids), [output.shape[-1]]], axis=0)
        shaped = tf.ensure_shape(tf.reshape(output, shape), [*ids.shape, output.shape[-1]])
        return Called(shaped, (both[:, both.shape[1] - self.window + 1 :],))

    def _predictions(self, windows: Any) -> Any:
        """Run the model over `(windows, N)` ids, as many at once as fit into memory."""
        most = max(1, _NUMBERS // (self.window * self.width))
        count = windows.shape[0]
        if count is None or count <= most:
            return self._call(windows)
        parts = tf.split(windows, [*[most] * (count // most), *([count % most] if count % most else [])])
        return tf.concat([self._call(part) for part in parts], axis=0)

    def _call(self, windows: Any) -> Any:
        return self.model(windows, training=False) if self.takes_training else self.model(windows)


@dataclass(kw_only=True, eq=False)
class OneStepDrive(RewiredDrive):
    """Stateful layers that read one token a call and give one prediction: here they give one for every token."""

    def __call__(self, ids: Any, leaves: Sequence[Any] | None) -> Called:
        """Run every layer as if it returned sequences."""
        with ExitStack() as stack:
            for unit in self.units:
                if not unit.layer.return_sequences:
                    stack.enter_context(overridden(unit.layer, "return_sequences", value=True))
            return super().__call__(ids, leaves)


def window_length(model: Any) -> int | None:
    """N where the input of a graph says it."""
    inputs = getattr(model, "inputs", None)
    length = inputs[0].shape[1] if inputs and len(inputs[0].shape) > 1 else None
    return None if length is None else int(length)


def predicts_once(model: Any) -> bool:
    """Whether a graph gives one prediction a call, `(batch, V)`, rather than one a token."""
    outputs = getattr(model, "outputs", None) or []
    return len(outputs) == 1 and len(outputs[0].shape) == 2


def require_recurrent(model: Any, units: Sequence[Unit]) -> None:
    """Refuse a window model without a recurrent layer.

    Raises:
        CheckpointError: there is none.
    """
    if not units:
        raise CheckpointError(
            f"{type(model).__name__} has no recurrent layer: rnneval evaluates recurrent language models"
        )
