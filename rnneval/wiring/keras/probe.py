"""The probe: a model runs over a few segments with every recurrent layer replaced by a stub, and tells what went where.

A stub emits numbers of its own as its layer's new state, and records what went into the layer. Classes are tapped, not
objects, so that layers which no attribute leads to are met too. Below a stub the layer runs as it is, unrecorded.

A *unit* is a recurrent layer, or a cell that is called outside of one. An *event* is one run of its stub, counted over
all calls of the model. An *arrival* is one part of the state that goes into an event:

```text
             call 0                    call 1
ids ──► [gru1] ──► [gru2] ──► logits   ids ──► [gru1] ──► …     [ ] a stub
         ▲  │ emits ▲  │ emits                  ▲
      arrival  .31    … │ −.72                 arrival: is it .31, from event 0?
            └──────────┴─── the author's code ─┘
```

The sources of each arrival are found in three ways. The rule is the first, the others are used where a tensor went
through an opaque op, or where the hook of the first is missing:

1. From the ops that ran (`rnneval.wiring.keras.provenance`). `tensorflow.python.framework.op_callbacks` reports every
   op that runs eagerly, with its inputs and outputs. It is private, and nothing public does this; `hook_fires` tests
   that it still does what is needed here.
2. From the numbers alone, which no two states share.
3. By *intervention*: one emitted state at a time is altered, and the runs are compared. It needs no hook, and a run for
   each state; it is also the oracle of the walk's tests.
"""

import random
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from rnneval.errors import type_and_message
from rnneval.models.keras.state_tap import LayerResult, LayerRun, Proceed, leaves_of, tap_classes
from rnneval.wiring.facts import Declarations, StateArrival, StateSource, UnitEvent, WiringFacts
from rnneval.wiring.keras.emissions import UNLABELLED, Emissions, Labels, Sources
from rnneval.wiring.keras.names import fact_of, frames_of_call, is_composite
from rnneval.wiring.keras.provenance import CALLS, TOKENS, Trail, Walk
from rnneval.wiring.keras.subject import Ready

OpListener = Callable[[str, Sequence[Any], Mapping[str, Any], Sequence[Any]], None]
"""Called with op type, inputs, attributes, outputs of each op that ran eagerly."""


@contextmanager
def listening(listener: OpListener) -> Iterator[None]:
    """Report every op that runs eagerly on this thread."""
    from tensorflow.python.framework import op_callbacks

    def callback(name: Any, inputs: Any, attributes: Any, outputs: Any, *_: Any, graph: Any = None, **__: Any) -> None:
        if graph is None:
            flat = attributes or ()  # name, value, name, value, …
            listener(tf.compat.as_str(name), inputs, dict(zip(flat[::2], flat[1::2], strict=True)), outputs)

    op_callbacks.add_op_callback(callback)
    try:
        yield
    finally:
        op_callbacks.remove_op_callback(callback)


def hook_fires() -> bool:
    """Return whether op callbacks still report an op with its inputs and outputs."""
    reports: list[tuple[str, int, int]] = []
    try:
        with listening(lambda name, inputs, _, outputs: reports.append((name, id(inputs[0]), id(outputs[0])))):
            argument = tf.constant([1.0, 2.0])
            result = tf.tanh(argument)
    except (ImportError, AttributeError, TypeError):
        return False
    return ("Tanh", id(argument), id(result)) in reports


class Probe:
    """The observer of every layer and cell, and the listener to every op, over some calls of a model."""

    def __init__(
        self,
        ready: Ready,
        seed: int,
        *,
        listen: bool,
        altered: StateSource | None = None,
        seeds: bool = True,
        calls: int = CALLS,
    ) -> None:
        """Make the calls; with `listen` ops are heard too; without `seeds`, Keras' random generators are not reset."""
        ready.start(seeds=seeds)
        self.emissions = Emissions(seed, altered)
        self.walk = Walk(self.emissions)
        self.units: dict[int, tuple[Any, int]] = {}  # by identity: the layer or cell, and how many parts its state has
        self.events: list[UnitEvent] = []
        self.arrivals: list[StateArrival] = []
        self.states: list[list[NDArray[Any]]] = []  # the numbers that went into each event
        self.returned: list[Sources] = []
        self.gives_states = False
        self.calls = 0
        self.failure = ""
        self._one_row = ready.batch == 1
        self._quiet = 0  # above 0 while a unit's own code runs below its stub, which is not recorded
        self._run(ready, seed, listen, calls)

    def _run(self, ready: Ready, seed: int, listen: bool, calls: int) -> None:
        """Read the text in so many calls, each with the state as the last returned it."""
        shape = ready.batch, CALLS * (ready.call.time or TOKENS)
        text = np.random.default_rng(seed).choice(np.array(ready.ordinary, np.int32), shape)
        ids = np.split(text, calls, axis=1)
        state = None
        with listening(self._hear) if listen else nullcontext(), tap_classes(ready.cells, self._observe):
            for number, segment in enumerate(map(ready.segment, ids)):
                self.walk.call = number
                texts = [tf.constant(text) for text in segment]
                for name, text in zip(ready.text_names, texts, strict=True) if listen else ():
                    self.walk.set_trail(text, Trail(origins=frozenset({name}), born=0))
                try:
                    state = ready.call(texts, state).state
                    leaves = [leaf for leaf in keras.tree.flatten(state) if leaf is not None]
                except Exception as error:
                    self.failure = f"the model raises in call {number}: {type_and_message(error)}"
                    break
                self.gives_states |= bool(leaves)
                trails = [self.walk.trail(leaf) for leaf in leaves if hasattr(leaf, "dtype")]
                self.returned.append(_emitted(frozenset().union(*map(self.walk.sources, trails))))
                self.calls += 1

    def _hear(self, name: str, inputs: Sequence[Any], attributes: Mapping[str, Any], outputs: Sequence[Any]) -> None:
        if not self._quiet:
            self.walk.hear(name, inputs, attributes, outputs)

    def _observe(self, run: LayerRun, proceed: Proceed) -> LayerResult:
        """Run the unit out of sight, and return a stub's result; a cell made of cells runs as its author wrote it."""
        is_symbol = not hasattr(run.inputs, "numpy") or tf.is_symbolic_tensor(run.inputs)  # a graph is being built
        if self._quiet or is_symbol:
            return proceed(run)
        if is_composite(run.layer.cell if run.is_layer else run.layer):
            return _step_by_step(run) if run.is_layer else proceed(run)
        # A stateful layer gets its variables themselves, which will change: their values are read now.
        states = tuple(
            tf.convert_to_tensor(leaf) if isinstance(leaf, (tf.Variable, keras.Variable)) else leaf
            for leaf in leaves_of(run.state)
            if leaf is not None  # the author's layer begins by itself
        )
        self._quiet += 1
        try:
            result = proceed(run)
            self._record(run, states, len(leaves_of(result.state)))
            return self._stub(len(self.events) - 1, result)
        finally:
            self._quiet -= 1

    def _record(self, run: LayerRun, states: tuple[Any, ...], parts: int) -> None:
        """Record an event, what went into it, and how many parts the state of its unit has."""
        self.units.setdefault(id(run.layer), (run.layer, parts))
        number, origins = len(self.events), self.walk.trail(run.inputs).origins
        givers = frozenset(origin for origin in origins if isinstance(origin, int))
        self.events.append(
            UnitEvent(
                unit=list(self.units).index(id(run.layer)),
                call=self.walk.call,
                steps=int(run.inputs.shape[1]) if run.is_layer else 1,
                at=frames_of_call(sys._getframe(1))[1],
                descends=givers.union(*(self.events[giver].descends for giver in givers)),
                reads=(origins - givers).union(*(self.events[giver].reads for giver in givers)),
            )
        )
        self.states.append([np.asarray(state) for state in states])
        self.arrivals += [self._arrival(number, slot, tensor) for slot, tensor in enumerate(states)]
        for slot, tensor in enumerate(states):
            trail = self.walk.trail(tensor)
            if not trail.recurrent and not trail.variable:
                marks = self.emissions.mark(StateSource(number, slot, incoming=True), tuple(tensor.shape))
                self.walk.set_trail(tensor, replace(trail, planes=(marks,)))

    def _arrival(self, event: int, slot: int, tensor: Any) -> StateArrival:
        """Return what went into one part of the state of an event: emitted states and their places, or none."""
        trail = self.walk.trail(tensor)
        sources = _emitted(self.walk.sources(trail))
        if not sources or _is_constant(tensor, trail):
            outputs = frozenset(origin for origin in trail.origins if isinstance(origin, int))
            return StateArrival(
                event=event,
                slot=slot,
                random=trail.random,
                born=self._birth(trail, outputs),
                outputs=frozenset() if sources else outputs,
            )
        planes = [self.emissions.without_marks(plane) for plane in trail.planes]
        labelled = np.any([plane >= 0 for plane in planes], axis=0) if planes else None
        # Whatever arithmetic they went through, the numbers may be those emitted, to the bit.
        same = self.emissions.find(np.asarray(tensor)) if trail.transformed else None
        unchanged = same is not None and len(planes) == 1 and bool((same == planes[0]).all()) and not trail.pool
        return StateArrival(
            event=event,
            slot=slot,
            sources=sources,
            in_place=all(self._in_place(plane) for plane in planes),
            missing=0.0 if labelled is None or trail.pool else float(1 - labelled.mean()),
            transformed=trail.transformed and not unchanged,
            noisy=not trail.noisy.isdisjoint(sources),
            unknown=f"went through {trail.opaque}" if trail.opaque else "",
        )

    def _birth(self, trail: Trail, outputs: Collection[int]) -> int | None:
        """Return the call in which a tensor with no emitted state was made; None for the value of a variable."""
        if trail.variable:
            return None
        every = self.walk.sources(trail)
        if every and not _emitted(every):  # an initial state that was kept
            return min(self.events[source.event].call for source in every)
        # What is computed from outputs is no initial state of an earlier call.
        return self.walk.call if outputs or trail.recurrent or trail.born is None else trail.born

    def _in_place(self, plane: Labels) -> bool:
        """Return whether each element is where it was; of one text that is repeated to several rows, any row may do."""
        flat = plane.ravel()
        places = np.flatnonzero(flat >= 0)
        offsets = self.emissions.offsets(flat[places])
        if self._one_row and plane.ndim > 1:
            width = flat.size // len(plane)
            return bool((offsets % width == places % width).all())
        return bool((offsets == places).all())

    def _stub(self, event: int, result: LayerResult) -> LayerResult:
        """Return the result with random states and outputs; an output that was a state stays that state."""
        new = leaves_of(result.state)
        drawn = [self.emissions.draw(StateSource(event, slot), tuple(part.shape)) for slot, part in enumerate(new)]
        emitted = [self._emit(event, values, part, labels) for (labels, values), part in zip(drawn, new, strict=True)]
        slot = _output_slot(result)
        labels, last = drawn[slot] if slot is not None else (None, self.emissions.noise(tuple(result.output.shape)))
        output = emitted[slot] if slot is not None else self._emit(event, last, result.output)
        outputs = None
        if result.outputs is not None:
            every, of_every = self.emissions.noise(tuple(result.outputs.shape)), None
            every[:, -1] = last
            if labels is not None:
                of_every = np.full(every.shape, UNLABELLED, np.int64)
                of_every[:, -1] = labels
            outputs = self._emit(event, every, result.outputs, of_every)
        return LayerResult(output, outputs, keras.tree.pack_sequence_as(result.state, emitted))

    def _emit(self, event: int, values: NDArray[np.float32], like: Any, labels: Labels | None = None) -> Any:
        """Return values as a tensor of the type of another one, made by no op, with its trail."""
        tensor = tf.constant(values.astype(like.dtype.as_numpy_dtype))
        self.walk.set_trail(tensor, Trail(planes=() if labels is None else (labels,), origins=frozenset({event})))
        return tensor


def provenance(
    ready: Ready, declared: Declarations, seed: int, *, listen: bool | None = None, seeds: bool = True
) -> WiringFacts:
    """Return where states went over a few calls; without `seeds`, Keras' random generators are not reset."""
    listen = hook_fires() if listen is None else listen
    probe, at_once = Probe(ready, seed, listen=listen, seeds=seeds), None
    if not ready.call.time:
        at_once = _facts(Probe(ready, seed, listen=listen, seeds=seeds, calls=1), ready)
    return replace(
        _facts(probe, ready),
        arrivals=_completed(ready, seed, probe, listen=listen),
        returned=tuple(probe.returned),
        at_once=at_once,
        takes_states=ready.call.takes_states,
        gives_states=probe.gives_states,
        wired_by="rnneval" if ready.call.is_stateless_graph else "author",
        calls=probe.calls,
        tokens=ready.call.time or TOKENS,
        declared=declared,
        failure=probe.failure,
    )


def _facts(probe: Probe, ready: Ready) -> WiringFacts:
    indices = {key: index for index, key in enumerate(probe.units)}
    units = tuple(fact_of(unit, ready.names, indices, parts) for unit, parts in probe.units.values())
    return WiringFacts(units=units, events=tuple(probe.events), arrivals=tuple(probe.arrivals))


def _completed(ready: Ready, seed: int, probe: Probe, *, listen: bool) -> tuple[StateArrival, ...]:
    """Find sources that the first way could not tell by intervention; their places are then not known."""

    def is_unclear(arrival: StateArrival) -> bool:  # it is opaque, or has numbers that no stub emitted
        if arrival.unknown:
            return True
        if arrival.sources or arrival.random or probe.events[arrival.event].call == 0:
            return False
        values = probe.states[arrival.event][arrival.slot]
        varied = values.size > 1 and not (values == values.flat[0]).all()
        return bool(varied and (not listen or arrival.born is not None))

    wanted = [(arrival.event, arrival.slot) for arrival in probe.arrivals if is_unclear(arrival)]
    if not wanted:
        return tuple(probe.arrivals)
    try:
        causes, why = intervene(ready, seed, wanted), ""
    except RuntimeError as error:
        causes, why = {}, str(error)

    def completed(arrival: StateArrival) -> StateArrival:
        if sources := causes.get((arrival.event, arrival.slot)):
            return replace(arrival, unknown="", sources=sources, transformed=True, in_place=True, missing=0.0)
        is_wanted = (arrival.event, arrival.slot) in wanted
        return replace(arrival, unknown=why and (arrival.unknown or why)) if is_wanted else arrival

    return tuple(map(completed, probe.arrivals))


def intervene(ready: Ready, seed: int, wanted: Collection[tuple[int, int]]) -> dict[tuple[int, int], Sources]:
    """Return, for each wanted (event, slot), the emitted states that change it when they alone are altered.

    If two runs without any alteration differ, nothing can be told: a RuntimeError. NumPy's and Python's random
    generators are put back afterwards (TensorFlow's cannot be read).
    """

    def states(altered: StateSource | None) -> dict[tuple[int, int], NDArray[Any]]:
        keras.utils.set_random_seed(seed)
        ran = Probe(ready, seed, listen=False, altered=altered).states
        return {(event, slot): part for event, parts in enumerate(ran) for slot, part in enumerate(parts)}

    of_numpy, of_python = np.random.get_state(), random.getstate()  # noqa: NPY002 - the author's, not ours
    try:
        plain, again = states(None), states(None)
        if plain.keys() != again.keys() or not all(np.array_equal(plain[key], again[key]) for key in plain):
            raise RuntimeError("two equal runs differ: the model draws random numbers")
        last = max((event for event, _ in wanted), default=0)
        causes: dict[tuple[int, int], set[StateSource]] = {key: set() for key in wanted}
        for source in (StateSource(event, slot) for event, slot in plain if event < last):
            changed = states(source)
            for key in wanted:
                if key[0] > source.event and not np.array_equal(plain.get(key, np.nan), changed.get(key, np.nan)):
                    causes[key].add(source)
    finally:
        np.random.set_state(of_numpy)  # noqa: NPY002
        random.setstate(of_python)
    return {key: frozenset(sources) for key, sources in causes.items()}


def _emitted(sources: Sources) -> Sources:
    """Return the sources that stubs emitted, without initial states."""
    return frozenset(source for source in sources if not source.incoming)


def _is_constant(tensor: Any, trail: Trail) -> bool:
    """Return whether arithmetic left nothing of the state: a state times zero is one number everywhere."""
    values = np.asarray(tensor).astype(np.float64) if trail.transformed else np.empty(0)
    return bool(values.size > 1 and (values == values.flat[0]).all())


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
