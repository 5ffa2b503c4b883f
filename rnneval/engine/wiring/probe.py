"""One run of a model over a few segments, with every recurrent layer replaced by a stub: what went where."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from rnneval.engine.wiring.calling import Call
from rnneval.engine.wiring.emission import Emissions
from rnneval.engine.wiring.hooks import Passing, Quiet, Stubbed, last_is_state, stubs
from rnneval.engine.wiring.private import listening
from rnneval.engine.wiring.source import Place, place_of_call
from rnneval.engine.wiring.walk import Op
from rnneval.wiring.facts import Source


@dataclass(frozen=True, kw_only=True, eq=False)
class Passage:
    """One event, with the tensors that went in and came out."""

    event: int
    unit: Any
    call: int
    steps: int
    place: Place
    inputs: Any
    states: tuple[Any, ...]
    emitted: tuple[Any, ...]
    labels: tuple[NDArray[np.int64], ...]
    outputs: tuple[tuple[Any, NDArray[np.int64] | None], ...]
    """The output tensors, with their labels where a part of them is a state."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Returned:
    """What the model returned as its state at the end of a call."""

    call: int
    leaves: tuple[Any, ...]


@dataclass(kw_only=True, eq=False)
class Recording:
    """Everything that happened, in order; its tensors stay alive with it."""

    emissions: Emissions
    items: list[Op | Passage | Returned] = field(default_factory=list)
    texts: list[tuple[str, Any]] = field(default_factory=list)
    kept: list[Any] = field(default_factory=list)
    failure: str = ""
    calls: int = 0

    @property
    def rows(self) -> int:
        """How many texts were read side by side."""
        return int(self.texts[0][1].shape[0]) if self.texts else 0

    @property
    def passages(self) -> list[Passage]:
        """The events alone."""
        return [item for item in self.items if isinstance(item, Passage)]


def record(
    call: Call,
    segments: Sequence[Sequence[NDArray[np.int32]]],
    *,
    names: Sequence[str],
    cells: Sequence[Any],
    emissions: Emissions,
    listen: bool,
) -> Recording:
    """Run the segments one after the other, the state handed on exactly as it was returned.

    Args:
        call: How to call the model.
        segments: For each call, one array `(batch, time)` for each of the model's texts.
        names: What the texts are called.
        cells: The cells that are known.
        emissions: What stubs emit.
        listen: Whether to record ops too.
    """
    recorder = _Recorder(Recording(emissions=emissions))
    with recorder.hooked(cells, listen=listen):
        state = None
        for number, segment in enumerate(segments):
            recorder.call = number
            try:
                state = recorder.one_call(call, segment, names, state)
            except Exception as error:
                recorder.recording.failure = f"the model raises in call {number}: {brief(error)}"
                break
    return recorder.recording


class _Recorder:
    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        self.call = 0
        self._quiet = Quiet()
        self._events = 0

    @contextmanager
    def hooked(self, cells: Sequence[Any], *, listen: bool) -> Iterator[None]:
        with ExitStack() as stack:
            if listen:
                stack.enter_context(listening(self._op))
            stack.enter_context(stubs(cells, self._stub, self._quiet))
            yield

    def one_call(self, call: Call, segment: Sequence[NDArray[np.int32]], names: Sequence[str], state: Any) -> Any:
        texts = [tf.constant(ids) for ids in segment]
        self.recording.texts += list(zip(names, texts, strict=True))
        answer = call(texts, state)
        leaves = tuple(leaf for leaf in keras.tree.flatten(answer.state) if leaf is not None)
        self.recording.items.append(Returned(call=self.call, leaves=leaves))
        self.recording.calls += 1
        return answer.state

    def _op(self, name: str, inputs: Sequence[Any], attributes: Any, outputs: Sequence[Any]) -> None:
        if not self._quiet.depth:
            self.recording.items.append(
                Op(name=name, inputs=tuple(inputs), attributes=attributes, outputs=tuple(outputs), call=self.call)
            )

    def _stub(self, passing: Passing) -> Stubbed:
        with self._quiet():
            event, self._events = self._events, self._events + 1
            drawn = [
                self.recording.emissions.draw(Source(event, slot), tuple(new.shape))
                for slot, new in enumerate(passing.new_states)
            ]
            emitted = tuple(_like(values, new) for (_, values), new in zip(drawn, passing.new_states, strict=True))
            output, outputs, made = self._outputs(passing, drawn, emitted)
            self.recording.items.append(
                Passage(
                    event=event,
                    unit=passing.unit,
                    call=self.call,
                    steps=passing.steps,
                    place=place_of_call(),
                    inputs=passing.inputs,
                    states=passing.states,
                    emitted=emitted,
                    labels=tuple(labels for labels, _ in drawn),
                    outputs=made,
                )
            )
        return Stubbed(output=output, outputs=outputs, new_states=emitted)

    def _outputs(self, passing: Passing, drawn: Any, emitted: tuple[Any, ...]) -> tuple[Any, Any, Any]:
        """Outputs: random numbers, but for the last row where the unit's output is its state."""
        emissions = self.recording.emissions
        slot = last_is_state(passing)
        labels: Any
        labels, values = drawn[slot] if slot is not None else (None, emissions.noise(tuple(passing.output.shape)))
        output = emitted[slot] if slot is not None else _like(values, passing.output)
        made: list[tuple[Any, Any]] = [] if slot is not None else [(output, None)]
        if passing.outputs is None:
            return output, None, tuple(made)
        every = emissions.noise(tuple(passing.outputs.shape))
        every[:, -1] = values
        marks = None if labels is None else np.full(every.shape, -1, np.int64)
        if marks is not None:
            marks[:, -1] = labels
        outputs = _like(every, passing.outputs)
        return output, outputs, (*made, (outputs, marks))


def _like(values: NDArray[np.float32], tensor: Any) -> Any:
    """The values as a tensor of the same type, made by no op."""
    return tf.constant(values.astype(tensor.dtype.as_numpy_dtype))


def brief(error: Exception) -> str:
    """Kind and first words of an error, in one line."""
    words = " ".join(str(error).split()).replace("\x1b[1m", "").replace("\x1b[0m", "")
    return f"{type(error).__name__}: {words[:240]}"


Rerun = Callable[[Source | None], Recording]
"""Run again with one state's numbers altered (or none)."""
