"""Watching states pass into recurrent layers, and handing them others: the hooks, in one place.

Hooked are `inner_loop` of recurrent layers (below `call`: the initial state is resolved there, whether it was an
argument, a variable of a stateful layer, or the layer's own default) and `call` of cells outside of a layer. The hook
is put into the instance's `__dict__`, past Keras' attribute tracking, and taken out again whatever happens.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import keras

from rnneval.models.layers import Unit


@dataclass(frozen=True, kw_only=True, eq=False)
class Passage:
    """One run of a unit over a segment (a layer) or a step (a cell); tensors of shape `(batch, units)`."""

    unit: Unit
    state_in: tuple[Any, ...]
    state_out: tuple[Any, ...]


@contextmanager
def passages(units: Sequence[Unit], given: Mapping[Unit, Sequence[Any]] | None = None) -> Iterator[list[Passage]]:
    """List what passes through the units while the block runs; a unit in `given` gets that state instead of its own."""
    seen: list[Passage] = []
    given = given or {}
    with ExitStack() as stack:
        for unit in units:
            stack.enter_context(_hooked(unit, given.get(unit), seen.append))
        yield seen


@contextmanager
def overridden(layer: Any, attribute: str, value: Any) -> Iterator[None]:
    """Give one Keras object another attribute while the block runs, past Keras' tracking; blocks may be nested."""
    own = vars(layer)
    had, before = attribute in own, own.get(attribute)
    own[attribute] = value
    try:
        yield
    finally:
        if had:
            own[attribute] = before
        else:
            del own[attribute]


@contextmanager
def _hooked(unit: Unit, given: Sequence[Any] | None, see: Callable[[Passage], None]) -> Iterator[None]:
    attribute = "inner_loop" if unit.is_layer else "call"
    original = getattr(unit.layer, attribute)

    def inner_loop(sequences: Any, initial_state: Any, *rest: Any, **options: Any) -> Any:
        state = _replaced(initial_state, given)
        last, outputs, new = original(sequences, state, *rest, **options)
        see(Passage(unit=unit, state_in=_leaves(state), state_out=_leaves(new)))
        mask = options.get("mask", rest[0] if rest else None)
        if given is not None and mask is not None and _outputs_its_state(unit.layer):
            outputs = _as_before(outputs, mask, _leaves(state)[0])
        return last, outputs, new

    def call(inputs: Any, states: Any, *rest: Any, **options: Any) -> Any:
        state = _replaced(states, given)
        output, new = original(inputs, state, *rest, **options)
        see(Passage(unit=unit, state_in=_leaves(state), state_out=_leaves(new)))
        return output, new

    with overridden(unit.layer, attribute, inner_loop if unit.is_layer else call):
        yield


def _outputs_its_state(layer: Any) -> bool:
    kinds = (keras.layers.GRU, keras.layers.LSTM, keras.layers.SimpleRNN)
    return isinstance(layer, kinds) and layer.return_sequences and not layer.zero_output_for_mask


def _as_before(outputs: Any, mask: Any, state: Any) -> Any:
    """Repeat the output before the segment where the segment begins with masked positions.

    A masked position repeats the output before it; Keras repeats zeros where that lies in the segment before.
    """
    begun = keras.ops.cumsum(keras.ops.cast(mask, "int32"), axis=1) > 0  # (batch, time)
    return keras.ops.where(begun[..., None], outputs, state[:, None, :])


def _replaced(state: Any, given: Sequence[Any] | None) -> Any:
    return state if given is None else keras.tree.pack_sequence_as(state, list(given))


def _leaves(state: Any) -> tuple[Any, ...]:
    return tuple(keras.tree.flatten(state))
