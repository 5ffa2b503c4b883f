"""RecurrentLM: the interface through which every recurrent language model is called, and the state it starts from.

The start is measured, and never assumed to be zero. A model that is called with `states=None` gives its layers some
initial state: zeros, a learned vector, anything. To start one row of a batch anew while the others go on, that state is
needed in the form in which the model *returns* states. It is found element by element: the model is called with a state
of distinct numbers. The element of a layer's state in which a number arrives shows which element of the start belongs
in that number's place.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from rnneval.errors import UsageError
from rnneval.models.keras.adapters import Adapter, numbers_of
from rnneval.models.keras.arrangement import arranged
from rnneval.models.keras.kernel import KerasScorer, Packing
from rnneval.models.keras.layers import Unit
from rnneval.models.keras.state_tap import UnitRun, overridden, record_runs
from rnneval.models.protocol import Scorer, Sees, Shape, Vectors
from rnneval.records.run import (
    Checkpoint,
    LayerRecord,
    Warning,  # noqa: A004 - the record's own word
)
from rnneval.records.wiring import Slot
from rnneval.text import Vocabulary

State = tuple[Any, ...]
"""Leaves of a state, that is, its tensors; `()` stands for `states=None` if no leaves can."""


class Start(NamedTuple):
    """The leaves that stand for `states=None` at one batch size, and the layer's state that each leaf goes into.

    *Leaves* are the tensors of a state as the model returns it; a *slot* is one part of a layer's state, h or c.
    """

    leaves: State
    slots: tuple[Slot | None, ...]
    batch_axes: tuple[int | None, ...]  # the batch axis of each leaf; None if no axis grows with the batch


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
    layers: tuple[LayerRecord, ...]
    """The recurrent layers, each at each of its places in a call, in the order in which they run."""
    slots: tuple[Slot | None, ...]
    """The layer and slot of each leaf of the state, where known."""
    batch_axes: tuple[int | None, ...]
    """The batch axis of each leaf."""
    input_kind: str
    output_kind: str
    assumptions: tuple[str, ...]
    """Assumptions that were made on opening, a sentence each."""
    warnings: tuple[Warning, ...] = ()
    """Warnings of the file, for every record of a run."""
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
        return any(slot.rsplit(".", 1)[-1] == "c" for unit in self.units for slot in unit.slots)

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
        """Prepare the model for the engine; see `rnneval.models.protocol.LanguageModel`."""
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
            given = np.asarray(ids)
            outside = np.argwhere((given < 0) | (given >= self.width))
            if len(outside):
                first = tuple(outside[0])
                raise UsageError(
                    f"{len(outside):,} ids that the model does not have, the first {given[first]} at "
                    f"({', '.join(map(str, first))}): its ids run from 0 to {self.width - 1:,}"
                )
        ids = tf.convert_to_tensor(ids, tf.int32)
        with linear(self.softmax):
            output, leaves = self.drive(ids, tuple(state) or None)
        if self.output_kind == "probabilities":
            output = tf.math.log(tf.cast(output, tf.float64))
        return Step(output, leaves)


def find_start(adapter: Adapter, units: Sequence[Unit], batch: int) -> Start:
    """Call the model three times, eagerly, and work out its start as the module's docstring says."""
    ids = tf.ones((batch, 1), tf.int32)
    with record_runs(units) as at_start:
        returned = adapter(ids, None).leaves
    sizes = [int(tf.size(leaf)) if leaf.dtype.is_floating else 0 for leaf in returned]
    numbers = np.random.default_rng(0).permutation(np.linspace(-0.9, 0.9, sum(sizes) + 1, dtype=np.float32)[:-1])
    parts = np.split(numbers, np.cumsum(sizes)[:-1]) if sizes else []
    marked = [  # all elements are distinct, and integers stay as they are
        tf.cast(tf.reshape(part, tf.shape(leaf)), leaf.dtype) if leaf.dtype.is_floating else leaf
        for leaf, part in zip(returned, parts, strict=True)
    ]
    with record_runs(units) as when_marked:
        adapter(ids, marked)
    values, began, origin, slots = _arrivals(at_start, when_marked)
    leaves, places = [], []
    for mark in map(numbers_of, marked):
        flat, leaf = mark.ravel(), np.zeros(mark.size, mark.dtype)
        at = np.zeros(0, np.int64)
        if values.size and np.issubdtype(flat.dtype, np.floating):
            at = np.minimum(np.searchsorted(values, flat), values.size - 1)
            found = values[at] == flat
            at = at[found]
            leaf[found] = began[at]
        leaves.append(tf.constant(leaf.reshape(mark.shape), mark.dtype))
        # A leaf may be divided over several states, or arrive nowhere.
        origins = np.unique(origin[at])
        places.append(slots[origins[0]] if len(at) == flat.size and len(origins) == 1 else None)
    wider = adapter(tf.ones((batch + 1, 1), tf.int32), None).leaves
    axes: list[int | None] = []
    for leaf, other in zip(returned, wider, strict=False):
        grown = [axis for axis, (a, b) in enumerate(zip(leaf.shape, other.shape, strict=True)) if a != b]
        axes.append(grown[0] if len(grown) == 1 else None)
    return Start(tuple(leaves), tuple(places), tuple(axes))


def _arrivals(
    at_start: Sequence[UnitRun], when_marked: Sequence[UnitRun]
) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.int64], list[Slot]]:
    """Return the distinct numbers that arrived, sorted; for each what is there at the start, and the index of its slot.

    Beside them are the slots.
    """
    starts = {(p.unit, p.turn, k): numbers_of(leaf) for p in at_start for k, leaf in enumerate(p.before)}
    arrived, began, slots = [np.zeros(0, np.float32)], [np.zeros(0, np.float32)], []
    for run in when_marked:
        for k, leaf in enumerate(run.before):
            values, start = numbers_of(leaf), starts.get((run.unit, run.turn, k))
            if start is not None and start.shape == values.shape:
                arrived.append(values.ravel())
                began.append(start.ravel())
                place = run.unit.at(run.turn)  # one token was read: each run is a place
                slots.append(Slot(layer=place.name, slot=place.slots[k]))
    origin = np.repeat(np.arange(len(slots)), [len(values) for values in arrived[1:]])
    every = np.concatenate(arrived)
    order = np.argsort(every, kind="stable")
    return every[order], np.concatenate(began)[order], origin[order], slots


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


@contextmanager
def eagerly(on: bool = True) -> Iterator[None]:
    """Run every `tf.function` of the block eagerly, or with `on=False` as a trace.

    A model whose `call` is a `tf.function` and is traced before its weights are loaded keeps the initial weights in
    that trace; so no trace is made until everything is in place.
    """
    before = tf.config.functions_run_eagerly()
    tf.config.run_functions_eagerly(on)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(before)


def model_variables(model: Any) -> list[Any]:
    """Return every weight of a Keras model or of another object that has `weights` or `variables`."""
    found = getattr(model, "weights", None)
    return list(found if found is not None else getattr(model, "variables", ()))


def variable_name(variable: Any) -> str:
    """Return Keras' path of a variable, or its name, without `:0`."""
    path = getattr(variable, "path", None) or getattr(variable, "name", "?")
    return str(path).removesuffix(":0")
