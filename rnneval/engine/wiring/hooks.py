"""Stubs in place of recurrent layers: each emits numbers of its own as its new state, and says what went into it.

Hooked are `inner_loop` of recurrent layers (below `call`: the initial state is resolved there, and fused branches lie
inside) and `call` of cells. Classes are patched, not instances, so that layers which no attribute leads to are met too;
everything is put back whatever happens.
"""

import functools
import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from rnneval.engine.wiring.names import is_composite
from rnneval.engine.wiring.private import is_eager


@dataclass(frozen=True, kw_only=True, eq=False)
class Passing:
    """One run of a unit, as its hook sees it."""

    unit: Any
    inputs: Any
    """The sequence `(batch, time, …)`, or a cell's input `(batch, …)`."""
    states: tuple[Any, ...]
    steps: int
    output: Any
    """What the unit itself would have given as its (last) output."""
    outputs: Any
    """The same for every step; None for a cell."""
    new_states: tuple[Any, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Stubbed:
    """What is given instead."""

    output: Any
    outputs: Any
    new_states: tuple[Any, ...]


Stub = Callable[[Passing], Stubbed]


class Quiet:
    """Whether the hooks are to stand aside, because a unit's own code is running below one of them."""

    def __init__(self) -> None:
        self.depth = 0

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Stand aside while the block runs."""
        self.depth += 1
        try:
            yield
        finally:
            self.depth -= 1


@contextmanager
def stubs(cells: Sequence[Any], stub: Stub, quiet: Quiet) -> Iterator[None]:
    """Run `stub` in place of every recurrent layer and free cell while the block runs.

    Args:
        cells: Cells that are known; those of Keras are hooked anyway.
        stub: Gets what passes, gives what is to come out.
        quiet: While it is on, units run as they are.
    """
    with ExitStack() as stack:
        for owner in _owners(keras.layers.RNN, "inner_loop"):
            stack.enter_context(_patched(owner, "inner_loop", _layer_hook(owner.__dict__["inner_loop"], stub, quiet)))
        for owner in _cell_classes(cells):
            stack.enter_context(_patched(owner, "call", _cell_hook(owner.__dict__["call"], stub, quiet)))
        # For stacked cells this calls the cells before the loop; the fused paths bypass both layers.
        stack.enter_context(_patched(keras.layers.RNN, "_maybe_config_dropout_masks", lambda *_: None))
        for fused in ("_can_attempt_fused_lstm", "_can_attempt_fused_gru"):
            if hasattr(keras.layers.Bidirectional, fused):
                stack.enter_context(_patched(keras.layers.Bidirectional, fused, lambda *_, **__: False))
        yield


def _layer_hook(original: Any, stub: Stub, quiet: Quiet) -> Any:
    @functools.wraps(original)
    def inner_loop(self: Any, sequences: Any, initial_state: Any, *rest: Any, **options: Any) -> Any:
        if quiet.depth or not is_eager(sequences):
            return original(self, sequences, initial_state, *rest, **options)
        if is_composite(self.cell):
            return _step_by_step(self, sequences, initial_state, **options)
        given_states = _read(initial_state)
        with quiet():
            last, outputs, new = original(self, sequences, initial_state, *rest, **options)
        passing = Passing(
            unit=self,
            inputs=sequences,
            states=given_states,
            steps=int(sequences.shape[1]),
            output=last,
            outputs=outputs,
            new_states=_leaves(new),
        )
        given = stub(passing)
        return given.output, given.outputs, keras.tree.pack_sequence_as(new, list(given.new_states))

    return inner_loop


def _step_by_step(layer: Any, sequences: Any, states: Any, training: bool = False, **_: Any) -> Any:
    """Run a layer around the author's cell of cells in a Python loop, so that its inner wiring shows."""
    options = {"training": training} if getattr(layer.cell, "_call_has_training_arg", False) else {}
    steps = range(int(sequences.shape[1]))
    outputs = []
    for step in reversed(steps) if layer.go_backwards else steps:
        output, states = layer.cell(sequences[:, step], states, **options)
        states = states if keras.tree.is_nested(states) else [states]
        outputs.append(output)
    every = tf.stack(outputs if layer.return_sequences else outputs[-1:], axis=1)
    return outputs[-1], every, states


def _cell_hook(original: Any, stub: Stub, quiet: Quiet) -> Any:
    second = [*inspect.signature(original).parameters, "", "", "states"][2] or "states"

    @functools.wraps(original)
    def call(self: Any, inputs: Any, *rest: Any, **options: Any) -> Any:
        states, rest = (rest[0], rest[1:]) if rest else (options.pop(second, None), ())
        if quiet.depth or states is None or not is_eager(inputs) or is_composite(self):
            return original(self, inputs, states, *rest, **options)
        given_states = _read(states)
        with quiet():
            output, new = original(self, inputs, states, *rest, **options)
        passing = Passing(
            unit=self,
            inputs=inputs,
            states=given_states,
            steps=1,
            output=output,
            outputs=None,
            new_states=_leaves(new),
        )
        given = stub(passing)
        return given.output, keras.tree.pack_sequence_as(new, list(given.new_states))

    return call


def _leaves(state: Any) -> tuple[Any, ...]:
    return tuple(keras.tree.flatten(state))


def _read(state: Any) -> tuple[Any, ...]:
    """The parts of a state as they are now: a stateful layer is handed its variables themselves, which will change."""
    return tuple(tf.convert_to_tensor(leaf) if _is_variable(leaf) else leaf for leaf in _leaves(state))


def _is_variable(leaf: Any) -> bool:
    return isinstance(leaf, (tf.Variable, keras.Variable))


def _owners(base: type, attribute: str) -> list[type]:
    """Every class at or below `base` that defines the attribute itself."""
    found, waiting = [], [base]
    while waiting:
        owner = waiting.pop()
        waiting += owner.__subclasses__()
        if attribute in owner.__dict__ and owner not in found:
            found.append(owner)
    return found


def _cell_classes(cells: Sequence[Any]) -> list[type]:
    """The classes whose `call` is a cell's step."""
    classes: list[type] = [keras.layers.GRUCell, keras.layers.LSTMCell, keras.layers.SimpleRNNCell]
    classes += [type(cell) for cell in cells]
    owners = [next((base for base in kind.__mro__ if "call" in base.__dict__), None) for kind in classes]
    return list(dict.fromkeys(owner for owner in owners if owner is not None and owner is not keras.layers.Layer))


@contextmanager
def _patched(owner: type, attribute: str, replacement: Any) -> Iterator[None]:
    original = owner.__dict__[attribute]
    setattr(owner, attribute, replacement)
    try:
        yield
    finally:
        setattr(owner, attribute, original)


def last_is_state(passing: Passing) -> int | None:
    """Which slot the (last) output is, to the bit; None where it is none: a GRU's is its h."""
    output = np.asarray(passing.output)
    for slot, state in enumerate(passing.new_states):
        values = np.asarray(state)
        if values.shape == output.shape and np.array_equal(values, output.astype(values.dtype)):
            return slot
    return None
