"""RecurrentLM: the interface through which every recurrent language model is called."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from rnneval.backends.protocol import Scorer, Sees, Shape, Vectors, require_finite
from rnneval.errors import UsageError
from rnneval.models.adapters import Adapter
from rnneval.models.arrangement import arranged
from rnneval.models.kernel import KerasScorer, Packing
from rnneval.models.layers import Unit
from rnneval.models.outputs import linear
from rnneval.models.start import Start, find_start
from rnneval.records.run import Checkpoint, Layer
from rnneval.records.wiring import Slot
from rnneval.text import Vocabulary

State = tuple[Any, ...]
"""Leaves of a state, that is, its tensors; `()` stands for `states=None` if no leaves can."""


class Step(NamedTuple):
    """Result of one step."""

    logits: Any
    """Logits, `(batch, time, V)`, in float32; float64 log-probabilities if the model returns probabilities."""
    state: State


@dataclass(frozen=True, kw_only=True, eq=False)
class RecurrentLM:
    """A recurrent language model whose state is an argument and a result.

    Made by `rnneval.open` and `rnneval.wrap`.

    Example:
        >>> import keras, rnneval
        >>> model = keras.Sequential([keras.layers.Embedding(5, 4), keras.layers.GRU(3, return_sequences=True),
        ...                           keras.layers.Dense(5)])
        >>> lm = rnneval.wrap(model)
        >>> lm.width, [slot.slot for slot in lm.slots]
        (5, ['h'])
        >>> logits, state = lm.step([[1, 2, 3]], lm.initial_state(1))
        >>> tuple(logits.shape), [tuple(leaf.shape) for leaf in state]
        ((1, 3, 5), [(1, 3)])
    """

    model: Any
    contract: int
    """Number of the state contract, the way in which the model passes its state: 1 states argument, 2 state inputs,
    3 stateful, 4 stateless graph, 5 window."""
    width: int
    """V, the number of logits."""
    layers: tuple[Layer, ...]
    """The recurrent layers, each at each of its places in a call, in the order in which they run."""
    slots: tuple[Slot | None, ...]
    """The layer and slot of each leaf of the state, where known."""
    batch_axes: tuple[int | None, ...]
    """The batch axis of each leaf."""
    input_kind: str
    output_kind: str
    assumptions: tuple[str, ...]
    """Assumptions that were made on opening, a sentence each."""
    vocabulary: Vocabulary | None = None
    why_no_vocabulary: str = ""
    """The places where no vocabulary was found, and what to give."""
    checkpoint: Checkpoint
    drive: Adapter = field(repr=False)
    units: tuple[Unit, ...] = field(repr=False)
    """The recurrent layers, each at each of its places in a call."""
    softmax: Any = field(default=None, repr=False)
    """The layer whose softmax is left out."""
    mixable: bool = field(default=True, repr=False)
    """True if leaves can stand for `states=None`, so that rows of one batch may start at different times."""
    repeatable: bool = field(default=True, repr=False)
    """True if the same ids give the same logits; a run of a model that draws random numbers is not valid."""
    window: int | None = None
    """N of a window model, which predicts from the last N tokens; None where a state is carried."""
    _starts: dict[int, Start] = field(default_factory=dict, init=False, repr=False)

    @property
    def backend(self) -> str:
        """The library that runs it."""
        return "keras"

    @property
    def memory_cells(self) -> bool:
        """True if a layer has memory cells, as an LSTM has."""
        return any(unit.has_memory_cells for unit in self.units)

    @property
    def device(self) -> str:
        """`GPU` if TensorFlow sees one, else `CPU`."""
        return "GPU" if tf.config.list_logical_devices("GPU") else "CPU"

    def start(self) -> Vectors:
        """Return the model's initial state as a vector, `(D,)`."""
        if not self.mixable:
            return np.zeros(1, np.float32)
        packed: Vectors = Packing.of(self).pack(self.initial_state(1)).numpy()[0]
        return packed

    def scorer(
        self, shape: Shape, *, kernel: str = "auto", padded: bool = True, sees: Sees = "losses", parallel: bool = True
    ) -> Scorer:
        """Prepare the model for the engine; see `rnneval.backends.protocol.LanguageModel`."""
        arrangement = arranged(self, kernel)
        if not parallel:
            arrangement = replace(arrangement, parts=1)
        return KerasScorer(self, shape, arrangement, padded=padded, sees=sees)

    def initial_state(self, batch: int) -> State:
        """Return the state that the model gives its layers for `states=None`, as leaves with `batch` rows.

        It is `()` if the model treats None unlike any state that it returns; `step` takes it as None.
        """
        if not self.mixable:
            return ()
        if batch not in self._starts:
            with eagerly():
                self._starts[batch] = find_start(self.drive, self.units, batch)
        return self._starts[batch].leaves

    def step(self, ids: Any, state: Sequence[Any]) -> Step:
        """Read ids, int32 `(batch, time ≥ 1)`, from a state; return logits `(batch, time, V)` and the new state.

        The state is the flattened leaves of a state that the model returned (or of `initial_state`).

        Raises:
            UsageError: an id is negative or not below V, for which a lookup would return some row. The ids in a tensor
                are not checked, since its values may not exist yet.
        """
        if not tf.is_tensor(ids):
            _require_ids(np.asarray(ids), self.width)
        ids = tf.convert_to_tensor(ids, tf.int32)
        with linear(self.softmax):
            output, leaves = self.drive(ids, tuple(state) or None)
        if self.output_kind == "probabilities":
            output = tf.math.log(tf.cast(output, tf.float64))
        return Step(output, leaves)


def _require_ids(ids: Any, width: int) -> None:
    outside = np.argwhere((ids < 0) | (ids >= width))
    if len(outside):
        first = tuple(outside[0])
        where = ", ".join(map(str, first))
        raise UsageError(
            f"{len(outside):,} ids that the model does not have, the first {ids[first]} at ({where}): its ids run "
            f"from 0 to {width - 1:,}"
        )


@contextmanager
def eagerly() -> Iterator[None]:
    """Run every `tf.function` of the block eagerly.

    A model whose `call` is a `tf.function` and is traced before its weights are loaded keeps the initial weights in
    that trace; so no trace is made until everything is in place.
    """
    before = tf.config.functions_run_eagerly()
    tf.config.run_functions_eagerly(True)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(before)


def check_finite(model: Any) -> None:
    """Refuse a model with weights that are not finite; see `require_finite`."""
    require_finite((variable_name(variable), variable) for variable in model_variables(model))


def model_variables(model: Any) -> list[Any]:
    """Return every weight of a Keras model or of another object that has `weights` or `variables`."""
    found = getattr(model, "weights", None)
    return list(found if found is not None else getattr(model, "variables", ()))


def variable_name(variable: Any) -> str:
    """Return Keras' path of a variable, or its name, without `:0`."""
    path = getattr(variable, "path", None) or getattr(variable, "name", "?")
    return str(path).removesuffix(":0")
