"""RecurrentLM: a Keras model whose state is an argument and a result; its steps for `rnneval.evaluate`; `wrap`.

`wrap` recognises how a model passes its state and what it returns, and tests that its state can be carried. The start
is measured, and never assumed to be zero. A model that is called with `states=None` gives its layers some initial
state: zeros, a learned vector, anything. To start one row of a batch anew while the others go on, that state is needed
in the form in which the model *returns* states. It is found element by element: the model is called with a state of
distinct numbers. The element of a layer's state in which a number arrives shows which element of the start belongs in
that number's place.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar

import keras
import numpy as np
import tensorflow as tf
from keras import ops
from keras.ops import convert_to_numpy
from numpy.typing import NDArray

from rnneval.checkpoints import Artefact
from rnneval.errors import CheckpointError, RnnevalError, type_and_message
from rnneval.models.keras.adapters import Adapter, Answer, LayerStatesAdapter, WindowAdapter
from rnneval.models.keras.layers import (
    HALVES,
    RecurrentUnit,
    gated_cells,
    model_variables,
    states_of,
    sublayers,
    variable_name,
    weights_of,
    without_softmax,
)
from rnneval.models.keras.recognition import recognise
from rnneval.models.keras.state_tap import Recorded, UnitRun, placed, record_runs
from rnneval.models.protocol import (
    IDS,
    LanguageModel,
    Layout,
    Predicted,
    Sees,
    Shape,
    Stepped,
    Trajectories,
    Trajectory,
    Vectors,
    input_in_words,
    one_unit_off,
    require_finite,
    require_ids,
    require_next_token,
)
from rnneval.models.step_function import relative_difference
from rnneval.records.run import Checkpoint, LayerRecord
from rnneval.records.wiring import Slot
from rnneval.text import Vocabulary, given_vocabulary, vocabulary_of_lookup

State = tuple[Any, ...]  # leaves of a state, that is, its tensors; `()` stands for `states=None` if no leaves can

# Relative to the largest logit; carried and whole runs of right models differ by at most 3e-7 (design, wiring).
_TOLERANCE = 1e-4
_SUM_TOLERANCE = 1e-4  # softmax rows sum to one within float32 rounding of the sum of V terms; logits do not by chance
_OTHERWISE = "for other arguments and results, give rnneval.from_step a function that calls the model"
_PROBE = (2, 6)  # rows and tokens of the segment on which a model is tried


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class RecurrentLM(LanguageModel):
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

    backend: ClassVar[str] = "keras"
    kernel: ClassVar[str] = "layers"
    model: Any
    slots: tuple[Slot | None, ...]  # the layer and slot of each leaf of the state, where known
    batch_axes: tuple[int | None, ...]  # the batch axis of each leaf
    adapter: Adapter
    units: tuple[RecurrentUnit, ...]  # the recurrent layers, each at each of its places in a call
    row: State  # the leaves, with one row each, that stand for `states=None`
    softmax: Any = None  # the layer whose softmax is left out
    moved: tuple[tuple[Any, NDArray[Any]], ...] = ()  # variables and the values that they have in calls of `stepper`

    @property
    def contract(self) -> int:
        """Number of the state contract: 1 is a states argument, 2 state inputs, 3 stateful, 4 a graph, 5 a window."""
        return self.checkpoint.contract

    @property
    def device(self) -> str:
        """`GPU` if TensorFlow sees one, else `CPU`."""
        return "GPU" if tf.config.list_logical_devices("GPU") else "CPU"

    def start(self) -> Vectors:
        """Return the model's initial state as a vector, `(D,)`."""
        return np.array(self.pack(self.row))[0] if self.mixable else np.zeros(1, np.float32)

    def scorer(self, shape: Shape, *, padded: bool = True, sees: Sees = "losses") -> "KerasScorer":
        """Prepare the model for steps of at most one shape, as `LanguageModel.scorer` does."""
        return KerasScorer(self, shape.segment if padded else None, sees)

    def initial_state(self, batch: int) -> State:
        """Return the state that the model gives its layers for `states=None`, as leaves with `batch` rows.

        It is `()` if the model treats None unlike any state that it returns; `step` takes it as None.
        """
        return repeated(self.row, self.batch_axes, batch) if self.mixable else ()

    def step(self, ids: Any, state: Sequence[Any]) -> Answer:
        """Read ids, int32 `(batch, time ≥ 1)`, from a state; return logits `(batch, time, V)` and the new state.

        The state is the flattened leaves of a state that the model returned (or of `initial_state`). Logits are
        float32; float64 log-probabilities if the model returns probabilities.

        Raises:
            UsageError: an id is negative or not below V, for which a lookup would return some row. The ids in a tensor
                are not checked, since its values may not exist yet.
        """
        if not tf.is_tensor(ids):
            require_ids(np.asarray(ids), self.width)
        ids = tf.convert_to_tensor(ids, tf.int32)
        with without_softmax(self.softmax):
            logits, leaves = self.adapter.read(ids, tuple(state) or None)
        if self.output_kind == "probabilities":
            logits = tf.math.log(tf.cast(logits, tf.float64))
        return Answer(logits, leaves)

    def stepper(self) -> Callable[[NDArray[np.int32], Any], Answer]:
        """Return `step` as a graph, in which the weights have the values of `moved`, and afterwards those of before."""
        before = [(variable, tf.constant(variable.numpy())) for variable, _ in self.moved]
        during = [(variable, tf.constant(values)) for variable, values in self.moved]

        def read(ids: Any, state: Any) -> Answer:
            _assign(during)
            answer = self.step(ids, state)
            _assign(before)
            return answer

        graph = tf.function(read, autograph=False, reduce_retracing=True)

        def call(ids: NDArray[np.int32], state: Any) -> Answer:
            with ExitStack() as after_failure:
                after_failure.callback(_assign, before)
                try:
                    answer: Answer = graph(tf.constant(ids, tf.int32), state)
                except Exception as error:
                    where = f"{type(self.model).__name__} was run as a graph on ids of shape {ids.shape}, and raised"
                    raise CheckpointError(f"{where} {type_and_message(error)}") from error
                after_failure.pop_all()  # the graph itself assigned them, in a fraction of the time
            return answer

        return call

    def weights_moved(self, draw: int) -> "RecurrentLM":
        """Return the model with each weight moved by ± one unit in the last place, in the calls of `stepper`.

        Where the model computes in half precision, the unit is that of this type.
        """
        generator = np.random.default_rng(draw)
        if self.checkpoint.dtype not in HALVES:
            return self._moved(partial(one_unit_off, generator=generator))
        half = tf.as_dtype(self.checkpoint.dtype).as_numpy_dtype
        return self._moved(lambda values: one_unit_off(values.astype(half), generator).astype(values.dtype))

    def in_dtype(self, dtype: str) -> "RecurrentLM | None":
        """Return the model with weights that are rounded to half precision, in the calls of `stepper`."""
        if dtype not in ("float16", "bfloat16"):
            return self if dtype == self.checkpoint.dtype else None
        return self._moved(lambda values: tf.cast(tf.cast(values, dtype), values.dtype).numpy())

    def _moved(self, change: Callable[[NDArray[Any]], NDArray[Any]]) -> "RecurrentLM":
        return replace(self, moved=tuple((each, change(each.numpy())) for each in weights_of(self.model)))

    def pack(self, state: Sequence[Any]) -> Any:
        """Put leaves into vectors `(rows, D)`; in a graph or eagerly."""
        dtype = tf.float32 if all(row.dtype == tf.float32 for row in self.row) else tf.float64
        columns = [
            tf.cast(tf.reshape(ops.moveaxis(leaf, axis, 0), [-1, row.shape.num_elements()]), dtype)
            for leaf, axis, row in zip(state, self.batch_axes, self.row, strict=True)
        ]
        return tf.concat(columns, axis=1)

    def unpack(self, vectors: Any) -> State:
        """Put vectors `(rows, D)` back into leaves."""
        leaves = []
        parts = tf.split(vectors, [row.shape.num_elements() for row in self.row], axis=1)
        for part, axis, row in zip(parts, self.batch_axes, self.row, strict=True):
            shape = [size for k, size in enumerate(row.shape) if k != axis]
            shaped = tf.reshape(tf.cast(part, row.dtype), [part.shape[0], *shape])
            leaves.append(ops.moveaxis(shaped, 0, axis))
        return tuple(leaves)


def repeated(row: State, axes: Sequence[int | None], rows: int) -> State:
    """Return leaves with so many equal rows; none where there is no row."""
    return tuple(tf.repeat(leaf, rows, axis=axis) for leaf, axis in zip(row, axes, strict=False))


def _assign(values: Iterable[tuple[Any, Any]]) -> None:
    for variable, value in values:
        variable.assign(value)


class KerasScorer:
    """Runs a Keras model for `rnneval.evaluate`, with steps compiled for each shape."""

    def __init__(self, lm: RecurrentLM, segment: int | None, sees: Sees) -> None:
        """Take the length to which all steps are filled up, so that few shapes are compiled; None: to none."""
        self._lm, self._segment, self._sees = lm, segment, sees
        self._layout = Layout()
        self._steps: dict[tuple[int, int], Any] = {}  # by shape: TensorFlow warns of one function of many shapes
        self._kept: State = ()  # the state of a model that cannot be started from a returned one, as it is

    def score(self, ids: NDArray[np.int32], targets: NDArray[np.int32], states: Vectors, width: int) -> Stepped:
        """Read ids `(rows, time)` from states `(rows, D)`; zeros mean the start of a model that is not mixable."""
        rows, time = ids.shape
        shape = (width, self._segment or time)
        if shape not in self._steps:
            self._steps[shape] = tf.function(self._graph, autograph=False)
        # A padded row repeats its last id, and a padded row or token is not counted.
        filled = ((0, shape[0] - rows), (0, shape[1] - time))
        ids, targets = (np.pad(array, filled, mode="edge") for array in (ids, targets))
        states = np.pad(states, (filled[0], (0, 0)))
        carried = tf.constant(states) if self._lm.mixable else self._kept if states.any() else ()
        try:
            predicted, after, tensors = self._steps[shape](tf.constant(ids), tf.constant(targets), carried)
        except Exception as error:
            where = f"{type(self._lm.model).__name__} was run as a graph on ids of shape {ids.shape}, and raised"
            raise CheckpointError(f"{where} {type_and_message(error)}") from error
        nats, confidence, rank = (part.numpy() for part in predicted)
        if self._lm.mixable:
            states = after.numpy()
        else:
            self._kept, states = after, np.ones_like(states)
        # Without a copy of these large arrays. Time comes first in the states.
        trajectories, inputs = tf.nest.map_structure(lambda tensor: np.asarray(memoryview(tensor)), tensors)
        paths = {key: Trajectory(after.transpose(1, 0, 2), before) for key, (after, before) in trajectories.items()}
        observed = None if self._sees == "losses" else Trajectories(self._layout, paths, inputs)
        return Stepped(Predicted(nats, confidence.astype(np.float32), rank), states, observed)

    def _graph(self, ids: Any, targets: Any, carried: Any) -> Any:
        """Return the scores of the targets, the state, and the tensors that are seen: states and inputs by name."""
        lm = self._lm
        state = lm.unpack(carried) if lm.mixable else carried
        with nullcontext() if self._sees == "losses" else record_runs(lm.units, every_step=True) as runs:
            logits, after = lm.step(ids, state)
        tensors: Any = ({}, {}) if runs is None else self._observed(runs, ids.shape[1])
        tensors = tf.nest.map_structure(_in_single, tensors)  # NumPy cannot read bfloat16
        return scored(logits, targets), lm.pack(after) if lm.mixable else after, tensors

    def _observed(self, runs: Recorded, time: int) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return states and inputs by name, and describe them in the layout."""
        states: dict[str, Any] = {}
        inputs: dict[str, Any] = {}
        layout = self._layout
        for unit, run in runs.by_unit(time).items():
            for slot, after, before in zip(states_of(unit), run.states, run.before, strict=True):
                layout.states[slot.key] = slot
                states[slot.key] = (tf.transpose(after, [1, 0, 2]), before)  # undoes the loop's own: neither is run
            if self._sees == "gates":
                with tf.init_scope():  # out of the graph that is being made: weights are read as arrays
                    layout.cells[unit.name], reason = gated_cells(unit)
                if reason:
                    layout.missing[f"{unit.name}, gates"] = reason
                if layout.cells[unit.name]:
                    inputs[unit.name] = run.inputs
        layout.missing |= runs.missing
        return states, inputs


def _in_single(tensor: Any) -> Any:
    """Return a tensor of half precision in float32, and another as it is."""
    return tf.cast(tensor, tf.float32) if tensor.dtype.name in HALVES else tensor


def scored(logits: Any, targets: Any) -> tuple[Any, Any, Any]:
    """Score targets `(rows, time)` under logits `(rows, time, V)`, as `rnneval.models.scoring` does."""
    logits = _in_single(logits)
    top = tf.reduce_max(logits, axis=-1)
    log_sum = tf.math.log(tf.reduce_sum(tf.exp(logits - top[..., None]), axis=-1))  # Σ ≥ 1: its logarithm is ≥ 0
    target = tf.gather(logits, targets, batch_dims=2)
    earlier = (logits == target[..., None]) & (tf.range(tf.shape(logits)[-1]) < targets[..., None])
    rank = tf.math.count_nonzero((logits > target[..., None]) | earlier, axis=-1, dtype=tf.int32)
    return (top - target) + log_sum, tf.exp(-log_sum), rank


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


def wrap(
    model: Any,
    *,
    vocabulary: Any = None,
    file: Artefact | None = None,
    window: int | None = None,
    notes: tuple[str, ...] = (),
) -> RecurrentLM:
    """Make a RecurrentLM of a model in memory, as `rnneval.wrap`; `notes` are assumptions that were made before."""
    tokens = given_vocabulary(vocabulary)
    with eagerly():
        size = None if tokens is None else tokens.first_id + tokens.size
        adapter, units = recognise(model, vocabulary_width=size, window=window)
        adapter, width = _first_call(adapter)
        require_finite((variable_name(variable), variable) for variable in model_variables(model))
        require_next_token(min(_embedded(model), default=width) if adapter.inputs[0].kind == IDS else width, width)
        try:
            lm = _proved(adapter, units, width, file)
        except RnnevalError:
            raise
        except Exception as error:  # a model is the user's code: it may fail at one length and not at another
            where = f"{type(model).__name__} can be called on ids of shape {_PROBE}, not of {(_PROBE[0], 1)} or others"
            raise CheckpointError(f"{where}: {type_and_message(error)}") from error
        fitted = vocabulary_inside(model, width) if tokens is None else tokens.fit(width)
        return replace(lm, vocabulary=fitted, assumptions=(*notes, *lm.assumptions))


def call_once(model: Any, *, vocabulary_width: int | None = None, window: int | None = None) -> None:
    """Build a model by calling it once, so that its weights exist; eagerly: no trace keeps their first values."""
    with eagerly():
        _first_call(recognise(model, vocabulary_width=vocabulary_width, window=window)[0])


def _first_call(adapter: Adapter) -> tuple[Adapter, int]:
    """Call the model for the first time, which builds it; return how it takes its state, and the number of logits.

    It is called twice, since layers used only with a state are built then.
    """
    ids, name = tf.ones(_PROBE, tf.int32), type(adapter.model).__name__  # id 1: id 0 may be masked
    try:
        adapter, _ = adapter.called_again([ids], adapter([ids], None).state)
        first = adapter.read(ids, None)
    except CheckpointError:
        raise
    except Exception as error:
        rows = "if it reads one-hot rows, give the vocabulary (--vocab FILE), whose size is theirs"
        hint = _OTHERWISE if _embedded(adapter.model) else f"it has no Embedding: {rows}"
        said = f"{name} could not be called on int32 ids of shape {_PROBE}: {type_and_message(error)}; {hint}"
        raise CheckpointError(said) from error
    shape = tuple(first.logits.shape)
    if len(shape) != 3 or shape[:2] != _PROBE:
        wanted = f"logits of shape ({_PROBE[0]}, {_PROBE[1]}, V) are needed, one prediction a token; {_OTHERWISE}"
        raise CheckpointError(f"{name} gives outputs of shape {shape} for ids of shape {_PROBE}: {wanted}")
    return adapter, shape[2]


def _embedded(model: Any) -> list[int]:
    """Return how many ids each embedding of the model knows."""
    return [layer.input_dim for layer in sublayers(model) if isinstance(layer, keras.layers.Embedding)]


def _proved(adapter: Adapter, units: tuple[RecurrentUnit, ...], width: int, file: Artefact | None) -> RecurrentLM:
    """Try a model that was called once: its output, its start, and whether its state can be carried."""
    model, read = adapter.model, adapter.read
    # Random ids that the model takes: 1 up to the smallest of its output width and its embeddings' input sizes.
    top = max(2, min([width, *_embedded(model)]))
    ids = tf.constant(np.random.default_rng(0).integers(1, top, (_PROBE[0], 2 * _PROBE[1])), tf.int32)
    output_kind, softmax, output_said = _output_of(adapter, ids)
    # Whether the same ids give the same output is asked with each layer of a graph called as its author wrote it.
    written = replace(adapter, training=None)
    repeatable = _differ(written.read(ids, None), written.read(ids, None)) <= _TOLERANCE
    with without_softmax(softmax):
        start, slots, axes = _find_start(adapter, units)
        row = () if None in axes else tuple(tf.expand_dims(leaf, axis) for leaf, axis in zip(start, axes, strict=True))
        leaves = repeated(row, axes, _PROBE[0])
        whole = read(ids, None)
        mixable, differs = bool(leaves) and _differ(whole, read(ids, leaves)) <= _TOLERANCE, ""
        if isinstance(adapter, LayerStatesAdapter):
            if _differ(whole, read(ids, None)) <= _TOLERANCE:
                differs = _prove_rewiring(adapter, ids, leaves, whole)
            order = adapter.order
        else:
            with record_runs(units) as seen:
                read(ids[:, : _PROBE[1]], leaves or None)
            order = tuple(dict.fromkeys(placed(seen.runs, [run.steps or _PROBE[1] for run in seen.runs], _PROBE[1])))
    said = [adapter.sentence, input_in_words(adapter.inputs[0].kind, adapter.inputs[0].width), output_said]
    if not mixable:
        said.append("no state that the model returns stands for states=None: rows cannot start at different times")
    if differs:
        said.append(f"{differs}: no run is valid, see rnneval check")
    if not repeatable:
        said.append(
            "the same ids give different outputs, with training=False too (dropout that is always on, or a state that "
            "is left over): no run can be repeated, so none is valid; a graph's dropout is left out, as Keras' predict "
            "leaves it out: see rnneval check"
        )
    return RecurrentLM(
        model=model,
        width=width,
        slots=slots,
        batch_axes=axes,
        input_kind=adapter.inputs[0].kind,
        output_kind=output_kind,
        assumptions=tuple(said),
        checkpoint=_described(model, adapter.contract, order, file),
        adapter=adapter,
        units=tuple(dict.fromkeys([*units, *order])),
        row=row,
        softmax=softmax,
        mixable=mixable,
        repeatable=repeatable,
        differs_by_cut=differs,
        window=adapter.window if isinstance(adapter, WindowAdapter) else None,
    )


def _differ(one: Answer, other: Answer) -> float:
    """Return the largest difference of two outputs, as a share of the largest number."""
    return relative_difference(convert_to_numpy(other.logits), convert_to_numpy(one.logits))


def _output_of(adapter: Adapter, ids: Any) -> tuple[str, Any, str]:
    """Return whether a model gives logits or probabilities, the layer of a softmax to leave out, and a sentence."""
    output = convert_to_numpy(adapter.read(ids, None).logits)
    sums = output.astype(np.float64).sum(axis=-1)
    if not ((output >= 0).all() and (np.abs(sums - 1) < _SUM_TOLERANCE).all()):
        return "logits", None, "outputs are logits (rows do not sum to one)"
    for layer in reversed(sublayers(adapter.model)):  # the last first: it is the likely one
        is_softmax = isinstance(layer, keras.layers.Softmax)
        if is_softmax or getattr(layer, "activation", None) is keras.activations.softmax:
            with without_softmax(layer):
                logits = adapter.read(ids, None).logits
            if np.allclose(convert_to_numpy(tf.nn.softmax(logits)), output, rtol=1e-4, atol=1e-6):
                said = f"outputs are probabilities: the softmax of layer {layer.name} is left out, which gives logits"
                return "probabilities-as-logits", layer, said
    return "probabilities", None, "outputs are probabilities: losses are their logarithms, in float64"


def _prove_rewiring(adapter: LayerStatesAdapter, ids: Any, leaves: State, whole: Answer) -> str:
    """Return how a model differs between one call and two, the state carried; "" where it gives the same."""
    first = adapter.read(ids[:, : _PROBE[1]], leaves)
    second = adapter.read(ids[:, _PROBE[1] :], first.state)
    difference = _differ(whole, Answer(tf.concat([first.logits, second.logits], axis=1)))
    if difference <= _TOLERANCE:
        return ""
    return (
        f"carrying the state of {', '.join(unit.name for unit in adapter.order)} over two segments does not give "
        f"what one segment gives (difference {difference:.2g} of the largest logit): something else in "
        f"{type(adapter.model).__name__} looks at more than one position at a time"
    )


def _find_start(
    adapter: Adapter, units: Sequence[RecurrentUnit]
) -> tuple[list[Any], tuple[Slot | None, ...], tuple[int | None, ...]]:
    """Return the leaves of one row at the start, the slot that each goes into, and the batch axis of each, if any."""
    ids, wider_ids = (tf.ones((rows, 1), tf.int32) for rows in (_PROBE[0], _PROBE[0] + 1))
    with record_runs(units) as at_start:
        returned = [convert_to_numpy(leaf) for leaf in adapter.read(ids, None).state]
    wider = adapter.read(wider_ids, None).state
    # Leaves of distinct numbers; those of integers stay as they are.
    count = sum(leaf.size for leaf in returned if leaf.dtype.kind == "f")
    distinct = np.linspace(-0.9, 0.9, count, endpoint=False, dtype=np.float32)
    numbers = iter(np.random.default_rng(0).permutation(distinct))
    marked = [
        np.fromiter(numbers, leaf.dtype, leaf.size).reshape(leaf.shape) if leaf.dtype.kind == "f" else leaf
        for leaf in returned
    ]
    with record_runs(units) as when_marked:
        adapter.read(ids, [tf.constant(mark) for mark in marked])
    arrived = _arrivals(at_start.runs, when_marked.runs)
    start: list[Any] = []
    slots: list[Slot | None] = []
    axes: list[int | None] = []
    for mark, other in zip(marked, wider, strict=True):
        grown = [axis for axis, (a, b) in enumerate(zip(mark.shape, other.shape, strict=True)) if a != b]
        axes.append(grown[0] if len(grown) == 1 else None)
        # What is at the start where a number arrived; zero where it arrived nowhere.
        is_marked = mark.dtype.kind == "f"
        met = [arrived.get(number, (0, None)) if is_marked else (0, None) for number in mark.ravel().tolist()]
        leaf = np.array([begun for begun, _ in met], mark.dtype).reshape(mark.shape)
        start.append(tf.constant(leaf if axes[-1] is None else leaf.take(0, axes[-1])))
        into = {slot for _, slot in met}  # several, where a leaf is divided over states
        slots.append(into.pop() if len(into) == 1 else None)
    return start, tuple(slots), tuple(axes)


def _arrivals(at_start: Sequence[UnitRun], when_marked: Sequence[UnitRun]) -> dict[float, tuple[float, Slot | None]]:
    """Return for each number that arrived in a layer's state what is there at the start, and its slot."""
    starts = {(run.unit, run.turn): run.before for run in at_start}
    arrived: dict[float, tuple[float, Slot | None]] = {}
    for run in when_marked:
        place = run.unit.at(run.turn)  # one token was read: each run is a place
        for name, leaf, begun in zip(place.slots, run.before, starts.get((run.unit, run.turn), ()), strict=False):
            if begun.shape == leaf.shape:
                slot = Slot(layer=place.name, slot=name)
                numbers, before = (convert_to_numpy(part).ravel().tolist() for part in (leaf, begun))
                arrived = {number: (value, slot) for number, value in zip(numbers, before, strict=True)} | arrived
    return arrived


def _described(model: Any, contract: int, order: Sequence[RecurrentUnit], file: Artefact | None) -> Checkpoint:
    """Describe a model by its file, or by a hash of its weights where there is none."""
    variables = model_variables(model)
    sha256 = hashlib.sha256()
    for variable in () if file else variables:
        values = np.ascontiguousarray(np.asarray(variable))
        sha256.update(f"{values.dtype.str}{values.shape}".encode())
        sha256.update(values.tobytes())
    return Checkpoint(
        path=str(file.path) if file else "",
        sha256=file.sha256 if file else sha256.hexdigest(),
        format=file.format if file else "model",
        contract=int(contract),
        parameters=sum(int(np.prod(variable.shape)) for variable in variables),
        dtype=_compute_dtype(model),
        layers=tuple(  # once per place, in the order in which they run; a layer that never runs is left out
            LayerRecord(name=unit.name, path=unit.path, kind=unit.kind, units=unit.sizes[0], slots=unit.slots)
            for unit in order
        ),
        name=None if file else str(getattr(model, "name", "") or type(model).__name__),
    )


def _compute_dtype(model: Any) -> str:
    """Return the type in which a model computes: half precision if any of its layers does."""
    types = [str(getattr(layer, "compute_dtype", None) or "float32") for layer in (model, *sublayers(model))]
    return next((name for name in types if name in HALVES), types[0])


def is_lookup(layer: Any) -> bool:
    """Return whether a layer maps strings to ids, or back."""
    return isinstance(layer, (keras.layers.StringLookup, keras.layers.TextVectorization))


def vocabulary_inside(model: Any, width: int) -> Vocabulary | None:
    """Return the vocabulary of a lookup layer in the model that is as long as its output is wide."""
    fitting = [layer for layer in sublayers(model) if is_lookup(layer) and len(layer.get_vocabulary()) == width]
    fitting.sort(key=lambda layer: bool(getattr(layer, "invert", False)))  # one that makes ids, rather than text
    return vocabulary_of_lookup(fitting[0]) if fitting else None
