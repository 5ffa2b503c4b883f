"""The form in which a model reads a token: its id, a one-hot row, or its id divided by the size of the vocabulary.

Only the rank of the input tells which: it is an assumption, and the record says so.
"""

from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from rnneval.errors import CheckpointError
from rnneval.models.layers import is_graph, recurrent_units, sublayers

IDS, ONE_HOT, SCALED = "ids", "one-hot", "scaled"


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """The conversion of ids to the inputs of a model."""

    kind: str = IDS
    width: int = 0
    """V, the size of the vocabulary: the length of a one-hot row, or the divisor of an id."""
    dtype: str = "float32"

    @property
    def said(self) -> str:
        """The assumption, as a sentence."""
        return {
            IDS: "inputs are integer ids",
            ONE_HOT: f"inputs are one-hot rows of {self.width} numbers (its input has a third axis of that length)",
            SCALED: f"inputs are ids divided by {self.width}, the number of outputs (its input has a third axis of 1)",
        }[self.kind]

    def encode(self, ids: Any) -> Any:
        """Convert ids `(…, time)` to the model's inputs."""
        if self.kind == ONE_HOT:
            return tf.one_hot(ids, self.width, dtype=self.dtype)
        if self.kind == SCALED:
            return tf.cast(ids, self.dtype)[..., tf.newaxis] / tf.cast(self.width, self.dtype)
        return ids


def inputs_of(model: Any, vocabulary_width: int | None = None) -> Inputs:
    """Recognise the inputs of a model: of a graph by its input; of another by whether it has an embedding.

    Args:
        model: The Keras model.
        vocabulary_width: How many ids the vocabulary has, where it is known: the one-hot width of a model that was
            never built and has no embedding.

    Raises:
        CheckpointError: a one-hot input of another width than the output.
    """
    if is_graph(model) and getattr(model, "inputs", None):
        return _of_graph(model)
    if any(isinstance(layer, keras.layers.Embedding) for layer in sublayers(model)):
        return Inputs()
    width = _first_width(model) or vocabulary_width
    return Inputs() if width is None else Inputs(kind=SCALED if width == 1 else ONE_HOT, width=width)


def _of_graph(model: Any) -> Inputs:
    shapes = [tuple(tensor.shape) for tensor in model.inputs]
    if len(shapes[0]) != 3:
        return Inputs()
    width, outputs = shapes[0][2], next(t.shape[-1] for t in model.outputs if len(t.shape) in {2, 3})
    if width == 1:
        return Inputs(kind=SCALED, width=int(outputs))
    if width is None or width != outputs:
        raise CheckpointError(
            f"its input has rows of {width} numbers and its output {outputs}: one-hot rows are as long as the output, "
            "and numbers of another meaning cannot be made from a text: put the Embedding into the model"
        )
    return Inputs(kind=ONE_HOT, width=int(width))


def _first_width(model: Any) -> int | None:
    """Return how many numbers the first recurrent layer reads, if it is built already."""
    for unit in recurrent_units(model):
        cell = unit.cell
        kernel = getattr(cell, "kernel", None) if getattr(cell, "built", False) else None
        return int(kernel.shape[0]) if kernel is not None else None
    return None


class Encoded:
    """A model that takes ids in front of the author's model, which takes another form; all else is the author's."""

    def __init__(self, model: Any, inputs: Inputs) -> None:
        self._model, self._encoding = model, inputs

    def __call__(self, given: Any, *rest: Any, **named: Any) -> Any:
        """Call the model; tensors of whole numbers are ids, all others are states."""

        def encode(tensor: Any) -> Any:
            return self._encoding.encode(tensor) if tensor.dtype.is_integer else tensor

        return self._model(keras.tree.map_structure(encode, given), *rest, **named)

    def __getattr__(self, name: str) -> Any:
        """Look up everything else in the model."""
        return getattr(self._model, name)


def encoded(model: Any, inputs: Inputs) -> Any:
    """Return the model as one that takes ids."""
    return model if inputs.kind == IDS else Encoded(model, inputs)
