"""Watching states pass into recurrent layers, and handing them others: the hooks, in one place.

Hooked are `inner_loop` of recurrent layers (below `call`: the initial state is resolved there, whether it was an
argument, a variable of a stateful layer, or the layer's own default) and `call` of cells outside of a layer. The hook
is put into the instance's `__dict__`, past Keras' attribute tracking, and taken out again whatever happens.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import keras

from rnneval.models.layers import Unit
from rnneval.wiring.places import places_of


@dataclass(frozen=True, kw_only=True, eq=False)
class Passage:
    """One run of a unit over a segment (a layer) or a step (a cell); tensors of shape `(batch, units)`."""

    unit: Unit
    turn: int
    """Which of the unit's runs in the block it is, from 1."""
    steps: int | None
    """How many tokens it read, where the shape says so."""
    state_in: tuple[Any, ...]
    state_out: tuple[Any, ...]

    def gives_to(self, later: "Passage") -> bool:
        """Return whether a later passage begins with a state that this one gave."""
        return any(given is taken for given in self.state_out for taken in later.state_in)


@contextmanager
def passages(units: Sequence[Unit], given: Mapping[Unit, Sequence[Any]] | None = None) -> Iterator[list[Passage]]:
    """List what passes through the units while the block runs.

    Args:
        units: Recurrent layers and free cells.
        given: The state that a unit gets instead of its own; `unit.at(k)` stands for its k-th run in the block.
    """
    seen: list[Passage] = []
    with ExitStack() as stack:
        for unit in units:
            if unit.place == 1:
                stack.enter_context(_hooked(unit, given or {}, seen))
        yield seen


def by_place(seen: Sequence[Passage], tokens: int) -> tuple[Unit, ...]:
    """Return the units that ran in a call over so many tokens, each place of each once, in the order of first runs."""
    found: dict[int, Unit] = {}
    for unit in dict.fromkeys(passage.unit for passage in seen):
        own = [k for k, passage in enumerate(seen) if passage.unit is unit]
        steps = [seen[k].steps or tokens for k in own]
        places = places_of(steps, tokens, lambda a, b, own=own: seen[own[a]].gives_to(seen[own[b]]))  # type: ignore[misc]
        found |= {k: unit.at(place) for k, place in zip(own, places, strict=True)}
    return tuple(dict.fromkeys(found[k] for k in sorted(found)))


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
def _hooked(unit: Unit, given: Mapping[Unit, Sequence[Any]], seen: list[Passage]) -> Iterator[None]:
    attribute = "inner_loop" if unit.is_layer else "call"
    original = getattr(unit.layer, attribute)
    turn = 0

    def run(steps: int | None, inputs: Any, states: Any, *rest: Any, **options: Any) -> tuple[Any, Any]:
        """Run the unit with the state that is given for this turn, or with its own."""
        nonlocal turn
        turn += 1
        own = given.get(unit.at(turn))
        state = states if own is None else keras.tree.pack_sequence_as(states, list(own))
        found = original(inputs, state, *rest, **options)
        into, out = _leaves(state), _leaves(found[-1])
        seen.append(Passage(unit=unit, turn=turn, steps=steps, state_in=into, state_out=out))
        return found, into if own is not None else None

    def inner_loop(sequences: Any, initial_state: Any, *rest: Any, **options: Any) -> Any:
        (last, outputs, new), replaced = run(sequences.shape[1], sequences, initial_state, *rest, **options)
        mask = options.get("mask", rest[0] if rest else None)
        if replaced is not None and mask is not None and _outputs_its_state(unit.layer):
            outputs = _as_before(outputs, mask, replaced[0])
        return last, outputs, new

    def call(inputs: Any, states: Any, *rest: Any, **options: Any) -> Any:
        return run(1, inputs, states, *rest, **options)[0]

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


def _leaves(state: Any) -> tuple[Any, ...]:
    return tuple(keras.tree.flatten(state))
