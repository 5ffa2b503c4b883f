"""Making a RecurrentLM of a Keras model: its state contract, its state, and a test that the state can be carried."""

import hashlib
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from rnneval.errors import CheckpointError, RnnevalError, type_and_message
from rnneval.models.adapters import (
    Adapter,
    Called,
    LayerStatesAdapter,
    StateInputsAdapter,
    StatesArgumentAdapter,
    WindowAdapter,
    numbers_of,
)
from rnneval.models.layers import Unit, sublayers
from rnneval.models.lm import RecurrentLM, check_finite, eagerly, model_variables
from rnneval.models.lookups import AnyVocabulary, as_vocabulary
from rnneval.models.outputs import are_probabilities, final_softmax, linear, require_tokens_out
from rnneval.models.recognise import Recognised, recognise
from rnneval.models.start import Start, find_start
from rnneval.models.state_tap import by_place, record_runs
from rnneval.records.run import Checkpoint, Layer
from rnneval.text import Vocabulary

# Relative to the largest logit; carried and whole runs of right models differ by at most 3e-7 (design, wiring).
_TOLERANCE = 1e-4
_PROBE = (2, 6)  # rows and tokens of the segment on which a model is tried


@dataclass(frozen=True, kw_only=True)
class _Origin:
    vocabulary: Vocabulary | None
    checkpoint: Checkpoint | None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class _Output:
    kind: str
    softmax: Any
    said: str


def wrap(
    model: Any,
    *,
    vocabulary: AnyVocabulary | None = None,
    checkpoint: Checkpoint | None = None,
    window: int | None = None,
    notes: tuple[str, ...] = (),
) -> RecurrentLM:
    """Make a RecurrentLM of a model in memory: in a notebook, no file is needed.

    Args:
        model: A Keras model, or another callable object with recurrent layers: one that takes and returns its states,
            or a Sequential or functional one from ids to logits.
        vocabulary: A Vocabulary, the tokens in the order of their ids, a map from token to id, a StringLookup or
            TextVectorization layer, or a vocabulary file. It is needed to evaluate the model.
        checkpoint: The file that it came from, if any.
        window: N, for a window model (N tokens in, one prediction out) whose input does not have that length.
        notes: Assumptions that were made before, a sentence each.

    Raises:
        CheckpointError: the model cannot be run with a carried state; the message says why.
        VocabularyError: the vocabulary is not a one-to-one map, or does not fit the width of the model's output.
    """
    tokens = as_vocabulary(vocabulary)
    with eagerly():
        known = None if tokens is None else tokens.first_id + tokens.size
        found = recognise(model, vocabulary_width=known, window=window)
        first = _first_call(found.drive, model)
        check_finite(model)
        require_tokens_out(model, found.inputs, int(first.output.shape[-1]))
        origin = _Origin(vocabulary=tokens, checkpoint=checkpoint, notes=notes)
        try:
            return _proved(model, found, int(first.output.shape[-1]), origin)
        except RnnevalError:
            raise
        except Exception as error:  # a model is the user's code: it may fail at one length and not at another
            raise CheckpointError(
                f"{type(model).__name__} can be called on ids of shape {_PROBE} and not on all others, such as "
                f"{(_PROBE[0], 1)}: {type_and_message(error)}"
            ) from error


def call_once(model: Any, *, vocabulary_width: int | None = None, window: int | None = None) -> None:
    """Build a model by calling it once, so that its weights exist; eagerly, so that no trace keeps their first values.

    Raises:
        CheckpointError: it cannot be called on ids.
    """
    with eagerly():
        _first_call(recognise(model, vocabulary_width=vocabulary_width, window=window).drive, model)


def _first_call(drive: Adapter, model: Any) -> Called:
    """Call the model for the first time, which builds it; twice, since layers used only with a state are built then."""
    ids = tf.ones(_PROBE, tf.int32)  # id 1: id 0 may be masked
    try:
        first = drive(ids, None)
        drive(ids, first.leaves)
    except CheckpointError:
        raise
    except Exception as error:
        raise CheckpointError(
            f"{type(model).__name__} could not be called on int32 ids of shape {_PROBE}: "
            f"{type_and_message(error)}{_about_rows(model)}"
        ) from error
    shape = tuple(first.output.shape)
    if len(shape) != 3 or shape[:2] != _PROBE:
        raise CheckpointError(
            f"{type(model).__name__} gives outputs of shape {shape} for ids of shape {_PROBE}: logits of shape "
            f"({_PROBE[0]}, {_PROBE[1]}, V) are needed, one prediction a token"
        )
    return first


def _about_rows(model: Any) -> str:
    """Return advice for a model that may read one-hot rows, whose length is not known."""
    if any(isinstance(layer, keras.layers.Embedding) for layer in sublayers(model)):
        return ""
    return "; it has no Embedding: if it reads one-hot rows, give the vocabulary (--vocab FILE), whose size is theirs"


def _proved(model: Any, found: Recognised, width: int, origin: _Origin) -> RecurrentLM:
    drive, units = found.drive, found.units
    ids = _probe_ids(model, width)
    output = _output_of(model, drive, ids)
    repeatable = _repeats(drive, ids)
    with linear(output.softmax):
        start = find_start(drive, units, _PROBE[0])
        mixable = all(axis is not None for axis in start.batch_axes) and _starts_alike(drive, ids, start)
        if isinstance(drive, LayerStatesAdapter) and _repeats_as_driven(drive, ids):
            _prove_rewiring(drive, ids, start)
    order = drive.order if isinstance(drive, LayerStatesAdapter) else _order_seen(drive, units, start)
    layers = _layers(order)
    vocabulary = origin.vocabulary
    return RecurrentLM(
        model=model,
        contract=drive.contract,
        width=width,
        layers=layers,
        slots=start.slots,
        batch_axes=start.batch_axes,
        input_kind=found.inputs.kind,
        output_kind=output.kind,
        assumptions=(*origin.notes, *_assumptions(found, output, mixable=mixable), *_noise(repeatable=repeatable)),
        vocabulary=vocabulary.fit(width) if vocabulary is not None else None,
        checkpoint=_described(model, drive, layers, origin.checkpoint),
        drive=drive,
        units=tuple(dict.fromkeys([*units, *order])),
        softmax=output.softmax,
        mixable=mixable,
        repeatable=repeatable,
        window=found.window,
    )


def _assumptions(found: Recognised, output: _Output, *, mixable: bool) -> tuple[str, ...]:
    said = (_contract_said(found.drive), found.inputs.said, output.said)
    alone = "no state that the model returns stands for states=None: rows cannot start at different times"
    return said if mixable else (*said, alone)


def _probe_ids(model: Any, width: int) -> Any:
    """Random ids that the model takes: 1 up to the smallest of its output width and its embeddings' input sizes."""
    sizes = [layer.input_dim for layer in sublayers(model) if isinstance(layer, keras.layers.Embedding)]
    top = max(2, min([width, *sizes]))
    return tf.constant(np.random.default_rng(0).integers(1, top, (_PROBE[0], 2 * _PROBE[1])), tf.int32)


def _output_of(model: Any, drive: Adapter, ids: Any) -> _Output:
    output = drive(ids, None).output
    if not are_probabilities(output):
        return _Output(kind="logits", softmax=None, said="outputs are logits (rows do not sum to one)")
    softmax = final_softmax(model, output, lambda: drive(ids, None).output)
    if softmax is not None:
        said = f"outputs are probabilities: the softmax of layer {softmax.name} is left out, which gives logits"
        return _Output(kind="probabilities-as-logits", softmax=softmax, said=said)
    return _Output(
        kind="probabilities", softmax=None, said="outputs are probabilities: losses are their logarithms, in float64"
    )


def _starts_alike(drive: Adapter, ids: Any, start: Start) -> bool:
    return bool(start.leaves) and _difference(drive(ids, None).output, drive(ids, start.leaves).output) <= _TOLERANCE


def _repeats(drive: Adapter, ids: Any) -> bool:
    """Return whether the same ids give the same output, each layer of a graph called as its author wrote it."""
    if isinstance(drive, (LayerStatesAdapter, StateInputsAdapter)):
        drive = replace(drive, training=None)
    return _repeats_as_driven(drive, ids)


def _repeats_as_driven(drive: Adapter, ids: Any) -> bool:
    return _difference(drive(ids, None).output, drive(ids, None).output) <= _TOLERANCE


def _noise(*, repeatable: bool) -> tuple[str, ...]:
    always = (
        "the same ids give different outputs, with training=False too (dropout that is always on, or a state that is "
        "left over): no run can be repeated, so none is valid; a graph's dropout is left out, as Keras' predict leaves "
        "it out: see rnneval check"
    )
    return () if repeatable else (always,)


def _prove_rewiring(drive: LayerStatesAdapter, ids: Any, start: Start) -> None:
    """Refuse a model if one call over 2T tokens does not give what two carried calls give.

    Raises:
        CheckpointError: with the difference seen.
    """
    whole, half = drive(ids, None).output, _PROBE[1]
    first = drive(ids[:, :half], start.leaves)
    second = drive(ids[:, half:], first.leaves)
    difference = _difference(whole, tf.concat([first.output, second.output], axis=1))
    if not difference <= _TOLERANCE:
        raise CheckpointError(
            f"carrying the state of {', '.join(unit.name for unit in drive.order)} over two segments does not give "
            f"what one segment gives (difference {difference:.2g} of the largest logit): something else in "
            f"{type(drive.model).__name__} looks at more than one position at a time"
        )


def _difference(a: Any, b: Any) -> float:
    first, second = numbers_of(a).astype(np.float64), numbers_of(b).astype(np.float64)
    return float(np.abs(first - second).max() / max(np.abs(first).max(), np.finfo(np.float32).tiny))


def _contract_said(drive: Adapter) -> str:
    if isinstance(drive, StatesArgumentAdapter):
        taken = [*drive.convention.state_names, *([drive.convention.flag] if drive.convention.flag else [])]
        return f"states argument: call takes {' and '.join(taken)}"
    if isinstance(drive, WindowAdapter):
        return f"window: {drive.window} tokens in and one prediction out; the window slides by one token"
    return {
        2: "state inputs: states go in and come out in the same order; the start is zeros",
        3: "stateful layers: each is given its state, and its own variables stay as they are",
        4: "stateless graph: each recurrent layer is given its state (tested on a random segment)",
    }[drive.contract]


def _layers(order: tuple[Unit, ...]) -> tuple[Layer, ...]:
    """Describe the layers, once per place, in the order in which they run; a layer that never runs is left out."""
    return tuple(
        Layer(name=unit.name, path=unit.path, kind=unit.kind, units=unit.units, slots=unit.slots) for unit in order
    )


def _order_seen(drive: Adapter, units: tuple[Unit, ...], start: Start) -> tuple[Unit, ...]:
    with record_runs(units) as seen:
        drive(tf.ones(_PROBE, tf.int32), start.leaves or None)
    return by_place(seen, _PROBE[1])


def _described(model: Any, drive: Adapter, layers: tuple[Layer, ...], given: Checkpoint | None) -> Checkpoint:
    variables = model_variables(model)
    return Checkpoint(
        path=given.path if given else "",
        sha256=given.sha256 if given else _weights_sha256(variables),
        format=given.format if given else "model",
        contract=drive.contract,
        parameters=sum(int(np.prod(variable.shape)) for variable in variables),
        dtype=str(getattr(model, "compute_dtype", None) or "float32"),
        layers=layers,
    )


def _weights_sha256(variables: list[Any]) -> str:
    found = hashlib.sha256()
    for variable in variables:
        values = np.ascontiguousarray(np.asarray(variable))
        found.update(f"{values.dtype.str}{values.shape}".encode())
        found.update(values.tobytes())
    return found.hexdigest()
