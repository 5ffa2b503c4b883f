"""One run of a model over a few segments, with every recurrent layer replaced by a stub: what went where.

A stub emits numbers of its own as its layer's new state, and records what went into the layer. Classes are tapped, not
objects, so that layers which no attribute leads to are met too. Below a stub the layer runs as it is, unrecorded.

A *unit* is a recurrent layer, or a cell that is called outside of one. An *event* is one run of its stub, counted over
all calls of the model. A *source* is one part of the state that an event gave.

`tensorflow.python.framework.op_callbacks` reports every op that runs. It is not public: `hook_fires` tests that it does
what is needed here. If it does not, the check falls back on values and intervention.
"""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from rnneval.errors import type_and_message
from rnneval.models.keras.state_tap import LayerResult, LayerRun, Proceed, leaves_of, tap_classes
from rnneval.wiring.facts import Source
from rnneval.wiring.keras.names import SourceLine, frames_of_call, is_composite
from rnneval.wiring.keras.subject import Ready

Listener = Callable[[str, Sequence[Any], Mapping[str, Any], Sequence[Any]], None]
"""Called with op type, inputs, attributes, outputs of each op that ran eagerly."""


CALLS, TOKENS = 4, 2
_GRID = 2**22  # count of numbers for states; as many again for altered states, and as many for other outputs
MARKS = 2**40  # labels from here on are marks
_STRIDE = 1_368_547  # odd, so that i → i · stride mod 2²² meets each number once
_SYMBOLIC: Any = getattr(getattr(tf, "__internal__", None), "SymbolicTensor", ())


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Report every op that runs eagerly on this thread."""
    from tensorflow.python.framework import op_callbacks

    def callback(
        op_type: Any, inputs: Any, attributes: Any, outputs: Any, *_: Any, graph: Any = None, **__: Any
    ) -> None:
        if graph is None:
            name = op_type.decode() if isinstance(op_type, bytes) else op_type
            listener(name, inputs, dict(zip((attributes or ())[::2], (attributes or ())[1::2], strict=False)), outputs)

    op_callbacks.add_op_callback(callback)
    try:
        yield
    finally:
        op_callbacks.remove_op_callback(callback)


def hook_fires() -> bool:
    """Return whether op callbacks still report an op with its inputs and outputs."""
    seen: list[tuple[str, int, int]] = []
    try:
        with listening(lambda name, inputs, _, outputs: seen.append((name, id(inputs[0]), id(outputs[0])))):
            given = tf.constant([1.0, 2.0])
            result = tf.tanh(given)
    except (ImportError, AttributeError, TypeError):
        return False
    return ("Tanh", id(given), id(result)) in seen


@dataclass(kw_only=True)
class Emissions:
    """The numbers that stubs emit as new states, no two alike, so that a number tells where it comes from.

    Label k belongs to the k-th element ever emitted.
    """

    seed: int
    altered: Source | None = None  # the state that gets other numbers this time: the intervention
    count: int = 0
    other: int = 0
    marked: int = 0
    _bases: list[int] = field(default_factory=list)
    _sources: list[Source] = field(default_factory=list)
    _mark_bases: list[int] = field(default_factory=list)
    _mark_sources: list[Source] = field(default_factory=list)
    _arrays: list[NDArray[np.float32]] = field(default_factory=list)
    _sorted: tuple[NDArray[np.int64], NDArray[np.float32]] | None = None

    def draw(self, source: Source, shape: tuple[int, ...]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return the labels and values of a new state."""
        size = int(np.prod(shape))
        labels = np.arange(self.count, self.count + size, dtype=np.int64)
        values = self._values(labels, 1 if source == self.altered else 0)
        self._bases.append(self.count)
        self._sources.append(source)
        self._arrays.append(values.reshape(shape))
        self.count += size
        return labels.reshape(shape), values.reshape(shape)

    def mark(self, source: Source, shape: tuple[int, ...]) -> NDArray[np.int64]:
        """Return labels for a tensor that no stub emitted; its numbers mean nothing and are not looked up."""
        base, size = MARKS + self.marked, int(np.prod(shape))
        self._mark_bases.append(base)
        self._mark_sources.append(source)
        self.marked += size
        return np.arange(base, base + size, dtype=np.int64).reshape(shape)

    def noise(self, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """Return numbers for an output that is no state."""
        size = int(np.prod(shape))
        values = self._values(np.arange(self.other, self.other + size, dtype=np.int64), 2)
        self.other += size
        return values.reshape(shape)

    def _values(self, labels: NDArray[np.int64], third: int) -> NDArray[np.float32]:
        # An altered number must be far from the plain one: a neighbour would drown in the rounding of a blend.
        far = third * (_GRID // 2)
        places = (labels * _STRIDE + self.seed * 7919 + far) % _GRID * 3 + third
        return (1.8 * (places + 0.5) / (3 * _GRID) - 0.9).astype(np.float32)

    def sources(self, labels: NDArray[np.int64]) -> set[Source]:
        """Return the states that labels come from."""
        found: set[Source] = set()
        for bases, sources, some in (
            (self._bases, self._sources, labels[labels < MARKS]),
            (self._mark_bases, self._mark_sources, labels[labels >= MARKS]),
        ):
            places = np.unique(np.searchsorted(np.asarray(bases, np.int64), some, side="right") - 1)
            found |= {sources[place] for place in places}
        return found

    def offsets(self, labels: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the offset of each label within its own state."""
        bases = np.asarray(self._bases, dtype=np.int64)
        offsets: NDArray[np.int64] = labels - bases[np.searchsorted(bases, labels, side="right") - 1]
        return offsets

    def find(self, values: NDArray[Any]) -> NDArray[np.int64] | None:
        """Return the labels of values that were emitted, −1 elsewhere; None where there is none."""
        if not self.count or not np.issubdtype(values.dtype, np.floating):
            return None
        if values.dtype.itemsize < 4:  # at half precision numbers coincide, so only a whole state is found
            for base, array in zip(self._bases, self._arrays, strict=True):
                if array.shape == values.shape and (array.astype(values.dtype) == values).all():
                    return np.arange(base, base + array.size, dtype=np.int64).reshape(array.shape)
            return None
        wanted = values.astype(np.float32)
        if self._sorted is None or self._sorted[0].size != self.count:
            emitted = np.concatenate([array.ravel() for array in self._arrays])
            by_value = np.argsort(emitted)
            self._sorted = by_value.astype(np.int64), emitted[by_value]
        order, known = self._sorted
        at = np.minimum(np.searchsorted(known, wanted.ravel()), known.size - 1)
        found = np.where(known[at] == wanted.ravel(), order[at], -1).reshape(values.shape)
        return found if (found >= 0).any() else None


@dataclass(frozen=True, kw_only=True, eq=False)
class Op:
    """One op that ran."""

    name: str
    inputs: Sequence[Any]
    attributes: Mapping[str, Any]
    outputs: Sequence[Any]
    call: int


@dataclass(frozen=True, kw_only=True, eq=False)
class StubRun:
    """One run of a stub: an event, with the tensors that went in and came out."""

    event: int
    unit: Any
    call: int
    steps: int
    line: SourceLine
    inputs: Any
    states: tuple[Any, ...]
    emitted: tuple[Any, ...]
    labels: tuple[NDArray[np.int64], ...]
    outputs: tuple[tuple[Any, NDArray[np.int64] | None], ...]
    """The output tensors, with their labels where a part of them is a state."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Returned:
    """The state that the model returned at the end of a call."""

    call: int
    leaves: tuple[Any, ...]


@dataclass(kw_only=True, eq=False)
class Recording:
    """The ops, runs and returned states of some calls, in order; its tensors stay alive with it.

    It is the observer of every layer and cell, and the listener to every op.
    """

    emissions: Emissions
    items: list[Op | StubRun | Returned] = field(default_factory=list)
    texts: list[tuple[str, Any]] = field(default_factory=list)
    failure: str = ""
    calls: int = 0
    _events: int = 0
    _quiet: int = 0  # above 0 while a unit's own code runs below its stub, which is not recorded

    @property
    def rows(self) -> int:
        """The number of texts that were read side by side."""
        return int(self.texts[0][1].shape[0]) if self.texts else 0

    @property
    def runs(self) -> list[StubRun]:
        """The runs of stubs alone."""
        return [item for item in self.items if isinstance(item, StubRun)]

    def hear(self, name: str, inputs: Sequence[Any], attributes: Any, outputs: Sequence[Any]) -> None:
        """Record an op."""
        if not self._quiet:
            self.items.append(
                Op(name=name, inputs=tuple(inputs), attributes=attributes, outputs=tuple(outputs), call=self.calls)
            )

    def observe(self, run: LayerRun, proceed: Proceed) -> LayerResult:
        """Run the unit out of sight, and return a stub's result; a cell made of cells runs as its author wrote it."""
        if self._quiet or run.state is None or not _is_eager(run.inputs):
            return proceed(run)
        if is_composite(run.layer.cell if run.is_layer else run.layer):
            return _step_by_step(run) if run.is_layer else proceed(run)
        # A stateful layer gets its variables themselves, which will change: their values are read now.
        states = tuple(
            tf.convert_to_tensor(leaf) if isinstance(leaf, (tf.Variable, keras.Variable)) else leaf
            for leaf in leaves_of(run.state)
        )
        self._quiet += 1
        try:
            return self._stubbed(run, states, proceed(run))
        finally:
            self._quiet -= 1

    def _stubbed(self, run: LayerRun, states: tuple[Any, ...], result: LayerResult) -> LayerResult:
        """Record the run, and replace its states and outputs by numbers of the stub's own."""
        event, self._events = self._events, self._events + 1
        new_states = leaves_of(result.state)
        drawn = [self.emissions.draw(Source(event, slot), tuple(new.shape)) for slot, new in enumerate(new_states)]
        emitted = tuple(_like(values, new) for (_, values), new in zip(drawn, new_states, strict=True))
        output, outputs, made = self._outputs(result, drawn, emitted)
        self.items.append(
            StubRun(
                event=event,
                unit=run.layer,
                call=self.calls,
                steps=int(run.inputs.shape[1]) if run.is_layer else 1,
                line=frames_of_call(sys._getframe(1))[1],
                inputs=run.inputs,
                states=states,
                emitted=emitted,
                labels=tuple(labels for labels, _ in drawn),
                outputs=made,
            )
        )
        return LayerResult(output, outputs, keras.tree.pack_sequence_as(result.state, list(emitted)))

    def _outputs(self, result: LayerResult, drawn: Any, emitted: tuple[Any, ...]) -> tuple[Any, Any, Any]:
        """Draw outputs at random, but the last row is the emitted state where the unit's output is its state."""
        emissions = self.emissions
        slot = _output_slot(result)
        labels: Any
        labels, values = drawn[slot] if slot is not None else (None, emissions.noise(tuple(result.output.shape)))
        output = emitted[slot] if slot is not None else _like(values, result.output)
        made: list[tuple[Any, Any]] = [] if slot is not None else [(output, None)]
        if result.outputs is None:
            return output, None, tuple(made)
        every = emissions.noise(tuple(result.outputs.shape))
        every[:, -1] = values
        marks = None if labels is None else np.full(every.shape, -1, np.int64)
        if marks is not None:
            marks[:, -1] = labels
        outputs = _like(every, result.outputs)
        return output, outputs, (*made, (outputs, marks))


def run_stubbed(
    ready: Ready, seed: int, *, listen: bool, altered: Source | None = None, seeds: bool = True
) -> Recording:
    """Record a few calls from the model's own start, each with the state as the last returned it.

    With `listen` ops are recorded too; without `seeds`, Keras' random generators are not reset.
    """
    ready.snapshot.restore(seeds=seeds)
    generator, time = np.random.default_rng(seed), ready.call.time or TOKENS
    ids = [generator.integers(ready.low, ready.high, (ready.batch, time), dtype=np.int32) for _ in range(CALLS)]
    recording, state = Recording(emissions=Emissions(seed=seed, altered=altered)), None
    with listening(recording.hear) if listen else nullcontext(), tap_classes(ready.cells, recording.observe):
        for number, segment in enumerate(map(ready.segment, ids)):
            try:
                texts = [tf.constant(text) for text in segment]
                recording.texts += list(zip(ready.text_names, texts, strict=True))
                state = ready.call(texts, state).state
                leaves = tuple(leaf for leaf in keras.tree.flatten(state) if leaf is not None)
            except Exception as error:
                recording.failure = f"the model raises in call {number}: {type_and_message(error)}"
                break
            recording.items.append(Returned(call=number, leaves=leaves))
            recording.calls += 1
    return recording


def _is_eager(thing: Any) -> bool:
    """Return whether an object is a tensor with a value (or a variable), and not a symbol of a graph being built."""
    return hasattr(thing, "numpy") and not isinstance(thing, _SYMBOLIC)


def _step_by_step(run: LayerRun) -> LayerResult:
    """Run a layer around the author's cell of cells in a Python loop, so that its inner wiring shows."""
    layer, states = run.layer, run.state
    options = {"training": run.training} if getattr(layer.cell, "_call_has_training_arg", False) else {}
    steps = range(int(run.inputs.shape[1]))
    outputs = []
    for step in reversed(steps) if layer.go_backwards else steps:
        output, states = layer.cell(run.inputs[:, step], states, **options)
        states = states if keras.tree.is_nested(states) else [states]
        outputs.append(output)
    every = tf.stack(outputs if layer.return_sequences else outputs[-1:], axis=1)
    return LayerResult(outputs[-1], every, states)


def _output_slot(result: LayerResult) -> int | None:
    """Return which part of the state the (last) output is, to the bit; None where it is none: a GRU's is its h."""
    output = np.asarray(result.output)
    for slot, state in enumerate(leaves_of(result.state)):
        values = np.asarray(state)
        if values.shape == output.shape and np.array_equal(values, output.astype(values.dtype)):
            return slot
    return None


def _like(values: NDArray[np.float32], tensor: Any) -> Any:
    """Return values as a tensor of the same type, made by no op."""
    return tf.constant(values.astype(tensor.dtype.as_numpy_dtype))
