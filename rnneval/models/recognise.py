"""Recognising the state contract of a model and its input, and so the way in which it is called.

The *state contract* is the way in which a model takes and returns its state: 1 as an argument of `call`, 2 as inputs of
a graph, 3 in stateful layers, 4 not at all (a stateless graph), 5 not at all (a window of fixed length).
"""

from dataclasses import dataclass
from typing import Any

from rnneval.errors import CheckpointError
from rnneval.models.adapters import (
    Adapter,
    LayerStatesAdapter,
    OneStepAdapter,
    StateInputsAdapter,
    StatesArgumentAdapter,
    WindowAdapter,
    convention_of,
    predicts_once,
    require_recurrent,
    window_length,
)
from rnneval.models.inputs import IDS, Inputs, encoded, inputs_of
from rnneval.models.layers import Unit, is_graph, recurrent_units, sublayers

# Layers that look at more than one position at a time: with them, a carried state does not hold all of the past.
_MIX_TIME = (
    "Bidirectional", "Conv1D", "SeparableConv1D", "DepthwiseConv1D", "Conv1DTranspose", "Conv2D", "ConvLSTM1D",
    "ConvLSTM2D", "Attention", "AdditiveAttention", "MultiHeadAttention", "GroupQueryAttention", "MaxPooling1D",
    "AveragePooling1D", "GlobalMaxPooling1D", "GlobalAveragePooling1D", "UpSampling1D", "ZeroPadding1D",
    "Cropping1D",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Recognised:
    """Result of recognising a model."""

    drive: Adapter
    units: tuple[Unit, ...]
    inputs: Inputs

    @property
    def window(self) -> int | None:
        """N of a window model."""
        return self.drive.window if isinstance(self.drive, WindowAdapter) else None


def recognise(model: Any, *, vocabulary_width: int | None = None, window: int | None = None) -> Recognised:
    """Find the drive for a model.

    Args:
        model: The Keras model, or another callable object.
        vocabulary_width: The number of ids in the vocabulary, if it is known.
        window: N of a window model whose own input does not have that length.

    Raises:
        CheckpointError: it cannot be run with a carried state; the message says why.
    """
    if not callable(model):
        raise CheckpointError(f"a {type(model).__name__} cannot be called: a Keras model is needed")
    units = recurrent_units(model)
    inputs = inputs_of(model, vocabulary_width)
    takes_ids = encoded(model, inputs)
    if is_graph(model):
        drive = _graph_drive(model, takes_ids, units, inputs, window)
    else:
        convention = convention_of(model)
        if convention is not None:
            drive = StatesArgumentAdapter(model=takes_ids, convention=convention)
        elif window is not None:
            drive = _windows(model, takes_ids, units, inputs, window, takes_training=False)
        else:
            drive = _rewired(model, takes_ids, units, takes_training=False)
    return Recognised(drive=drive, units=units, inputs=inputs)


def _graph_drive(model: Any, takes_ids: Any, units: tuple[Unit, ...], inputs: Inputs, window: int | None) -> Adapter:
    into, out = (len(getattr(model, ends, None) or [None]) for ends in ("inputs", "outputs"))
    if into != out:
        raise CheckpointError(
            f"a functional model that takes {into} and gives {out} tensors: with states it takes ids and the "
            "states, and gives logits and as many states"
        )
    if into > 1:
        return StateInputsAdapter(model=takes_ids)
    length = window or window_length(model)
    if predicts_once(model) and length is not None:
        if length == 1 and any(getattr(unit.layer, "stateful", False) for unit in units):
            return _one_step(model, takes_ids, units)
        return _windows(model, takes_ids, units, inputs, length, takes_training=True)
    return _rewired(model, takes_ids, units, takes_training=True)


def _windows(
    model: Any, takes_ids: Any, units: tuple[Unit, ...], inputs: Inputs, length: int, *, takes_training: bool
) -> WindowAdapter:
    require_recurrent(model, units)
    width = inputs.width if inputs.kind != IDS else 1
    return WindowAdapter(model=takes_ids, window=length, width=width, takes_training=takes_training)


def _one_step(model: Any, takes_ids: Any, units: tuple[Unit, ...]) -> OneStepAdapter:
    _refuse_mixing(model, units)
    return OneStepAdapter(model=takes_ids, units=units, contract=3, takes_training=True)


def _rewired(model: Any, takes_ids: Any, units: tuple[Unit, ...], *, takes_training: bool) -> LayerStatesAdapter:
    cells = [unit.name for unit in units if not unit.is_layer]
    if not units or cells:
        what = f"only cells ({', '.join(cells)}) called by hand" if cells else "no recurrent layer"
        raise CheckpointError(
            f"{type(model).__name__} has {what} and takes no states: give it call(ids, states=None, "
            "return_state=False) so that its state can be carried"
        )
    _refuse_mixing(model, units)
    once = next((unit.name for unit in units if not unit.layer.return_sequences), None)
    if once is not None:
        raise CheckpointError(
            f"layer {once} has return_sequences=False: a window model (the last N tokens in, one prediction out), "
            "whose input does not say how long the window is: give --window N"
        )
    stateful = any(unit.layer.stateful for unit in units)
    return LayerStatesAdapter(
        model=takes_ids, units=units, contract=3 if stateful else 4, takes_training=takes_training
    )


def _refuse_mixing(model: Any, units: tuple[Unit, ...]) -> None:
    mixing = [
        *(unit.name for unit in units if getattr(unit.layer, "go_backwards", False)),
        *(f"{layer.name} ({type(layer).__name__})" for layer in sublayers(model) if type(layer).__name__ in _MIX_TIME),
    ]
    if mixing:
        raise CheckpointError(
            f"{', '.join(mixing)}: looks at more than one position at a time, so this model's state cannot be carried "
            "from one segment to the next, and what it gives is not a probability of the next token given the past"
        )
