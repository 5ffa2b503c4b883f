"""Making a RecurrentLM of a Keras model: its state contract, its output, and a test that the state can be carried."""

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from rnneval.errors import CheckpointError, RnnevalError, type_and_message
from rnneval.models.keras.adapters import (
    IDS,
    Adapter,
    Called,
    LayerStatesAdapter,
    StateInputsAdapter,
    StatesArgumentAdapter,
    WindowAdapter,
    numbers_of,
    recognise,
)
from rnneval.models.keras.layers import Unit, sublayers
from rnneval.models.keras.lm import RecurrentLM, Start, eagerly, find_start, linear, model_variables, variable_name
from rnneval.models.keras.state_tap import by_place, record_runs
from rnneval.models.keras.vocabularies import AnyVocabulary, as_vocabulary
from rnneval.models.protocol import require_finite
from rnneval.records.run import Checkpoint, LayerRecord
from rnneval.text import Vocabulary

# Relative to the largest logit; carried and whole runs of right models differ by at most 3e-7 (design, wiring).
_TOLERANCE = 1e-4
_SUM_TOLERANCE = 1e-4  # softmax rows sum to one within float32 rounding of the sum of V terms; logits do not by chance
_PROBE = (2, 6)  # rows and tokens of the segment on which a model is tried


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
        size = None if tokens is None else tokens.first_id + tokens.size
        drive, units = recognise(model, vocabulary_width=size, window=window)
        width = int(_first_call(drive, model).output.shape[-1])
        require_finite((variable_name(variable), variable) for variable in model_variables(model))
        known = min(_embedded(model), default=width) if drive.inputs.kind == IDS else width
        if width < 2 or known > 2 * width:
            raise CheckpointError(
                f"it reads {known:,} different ids and gives {width:,} number{'s' * (width != 1)} a position: a "
                "classifier or a tagger, and no model of the next token, which gives one for each id"
            )
        try:
            return _proved(model, drive, units, width, vocabulary=tokens, checkpoint=checkpoint, notes=notes)
        except RnnevalError:
            raise
        except Exception as error:  # a model is the user's code: it may fail at one length and not at another
            raise CheckpointError(
                f"{type(model).__name__} can be called on ids of shape {_PROBE} and not on all others, such as "
                f"{(_PROBE[0], 1)}: {type_and_message(error)}"
            ) from error


def call_once(model: Any, *, vocabulary_width: int | None = None, window: int | None = None) -> None:
    """Build a model by calling it once, so that its weights exist; eagerly: no trace keeps their first values."""
    with eagerly():
        _first_call(recognise(model, vocabulary_width=vocabulary_width, window=window)[0], model)


def _first_call(drive: Adapter, model: Any) -> Called:
    """Call the model for the first time, which builds it; twice, since layers used only with a state are built then."""
    ids = tf.ones(_PROBE, tf.int32)  # id 1: id 0 may be masked
    try:
        first = drive(ids, None)
        drive(ids, first.leaves)
    except CheckpointError:
        raise
    except Exception as error:
        hint = (
            "; it has no Embedding: if it reads one-hot rows, give the vocabulary (--vocab FILE), whose size is theirs"
        )
        raise CheckpointError(
            f"{type(model).__name__} could not be called on int32 ids of shape {_PROBE}: "
            f"{type_and_message(error)}{'' if _embedded(model) else hint}"
        ) from error
    shape = tuple(first.output.shape)
    if len(shape) != 3 or shape[:2] != _PROBE:
        raise CheckpointError(
            f"{type(model).__name__} gives outputs of shape {shape} for ids of shape {_PROBE}: logits of shape "
            f"({_PROBE[0]}, {_PROBE[1]}, V) are needed, one prediction a token"
        )
    return first


def _embedded(model: Any) -> list[int]:
    """Return how many ids each embedding of the model knows."""
    return [layer.input_dim for layer in sublayers(model) if isinstance(layer, keras.layers.Embedding)]


def _proved(
    model: Any,
    drive: Adapter,
    units: tuple[Unit, ...],
    width: int,
    *,
    vocabulary: Vocabulary | None,
    checkpoint: Checkpoint | None,
    notes: tuple[str, ...],
) -> RecurrentLM:
    # Random ids that the model takes: 1 up to the smallest of its output width and its embeddings' input sizes.
    top = max(2, min([width, *_embedded(model)]))
    ids = tf.constant(np.random.default_rng(0).integers(1, top, (_PROBE[0], 2 * _PROBE[1])), tf.int32)
    output_kind, softmax, output_said = _output_of(model, drive, ids)
    layered = drive if isinstance(drive, LayerStatesAdapter) else None
    # Whether the same ids give the same output is asked with each layer of a graph called as its author wrote it.
    written = replace(drive, training=None) if isinstance(drive, (LayerStatesAdapter, StateInputsAdapter)) else drive
    repeatable = _differ(written(ids, None), written(ids, None)) <= _TOLERANCE
    with linear(softmax):
        start = find_start(drive, units, _PROBE[0])
        mixable = all(axis is not None for axis in start.batch_axes) and bool(start.leaves)
        mixable = mixable and _differ(drive(ids, None), drive(ids, start.leaves)) <= _TOLERANCE
        if layered is not None and _differ(drive(ids, None), drive(ids, None)) <= _TOLERANCE:
            _prove_rewiring(layered, ids, start)
    if layered is not None:
        order = layered.order
    else:
        with record_runs(units) as seen:
            drive(tf.ones(_PROBE, tf.int32), start.leaves or None)
        order = by_place(seen, _PROBE[1])
    layers = tuple(  # once per place, in the order in which they run; a layer that never runs is left out
        LayerRecord(name=unit.name, path=unit.path, kind=unit.kind, units=unit.units, slots=unit.slots)
        for unit in order
    )
    return RecurrentLM(
        model=model,
        contract=drive.contract,
        width=width,
        layers=layers,
        slots=start.slots,
        batch_axes=start.batch_axes,
        input_kind=drive.inputs.kind,
        output_kind=output_kind,
        assumptions=(*notes, *_assumptions(drive, output_said, mixable=mixable, repeatable=repeatable)),
        vocabulary=vocabulary.fit(width) if vocabulary is not None else None,
        checkpoint=_described(model, drive, layers, checkpoint),
        drive=drive,
        units=tuple(dict.fromkeys([*units, *order])),
        softmax=softmax,
        mixable=mixable,
        repeatable=repeatable,
        window=drive.window if isinstance(drive, WindowAdapter) else None,
    )


def _differ(one: Called, other: Called) -> float:
    """Return the largest difference of two outputs, of the largest number in the first."""
    first, second = (numbers_of(called.output).astype(np.float64) for called in (one, other))
    return float(np.abs(first - second).max() / max(np.abs(first).max(), np.finfo(np.float32).tiny))


def _output_of(model: Any, drive: Adapter, ids: Any) -> tuple[str, Any, str]:
    """Return whether a model gives logits or probabilities, the layer of a softmax to leave out, and a sentence.

    A layer makes the model's probabilities if its softmax can be left out and put on again. There is none where the
    softmax is written into the author's `call`, say.
    """
    output = numbers_of(drive(ids, None).output)
    sums = output.astype(np.float64).sum(axis=-1)
    if not ((output >= 0).all() and (np.abs(sums - 1) < _SUM_TOLERANCE).all()):
        return "logits", None, "outputs are logits (rows do not sum to one)"
    for layer in reversed(sublayers(model)):  # the last first: it is the likely one
        own = getattr(layer, "activation", None) is keras.activations.softmax
        if not own and not isinstance(layer, keras.layers.Softmax):
            continue
        with linear(layer):
            logits = drive(ids, None).output
        if np.allclose(numbers_of(tf.nn.softmax(logits)), output, rtol=1e-4, atol=1e-6):
            said = f"outputs are probabilities: the softmax of layer {layer.name} is left out, which gives logits"
            return "probabilities-as-logits", layer, said
    return "probabilities", None, "outputs are probabilities: losses are their logarithms, in float64"


def _prove_rewiring(drive: LayerStatesAdapter, ids: Any, start: Start) -> None:
    whole, half = drive(ids, None), _PROBE[1]
    first = drive(ids[:, :half], start.leaves)
    second = drive(ids[:, half:], first.leaves)
    difference = _differ(whole, Called(tf.concat([first.output, second.output], axis=1), second.leaves))
    if not difference <= _TOLERANCE:
        raise CheckpointError(
            f"carrying the state of {', '.join(unit.name for unit in drive.order)} over two segments does not give "
            f"what one segment gives (difference {difference:.2g} of the largest logit): something else in "
            f"{type(drive.model).__name__} looks at more than one position at a time"
        )


def _assumptions(drive: Adapter, output: str, *, mixable: bool, repeatable: bool) -> Iterator[str]:
    if isinstance(drive, StatesArgumentAdapter):
        taken = [*drive.convention.state_names, *drive.convention.flags[:1]]
        yield f"states argument: call takes {' and '.join(taken)}"
    elif isinstance(drive, WindowAdapter):
        yield f"window: {drive.window} tokens in and one prediction out; the window slides by one token"
    else:
        yield {
            2: "state inputs: states go in and come out in the same order; the start is zeros",
            3: "stateful layers: each is given its state, and its own variables stay as they are",
            4: "stateless graph: each recurrent layer is given its state (tested on a random segment)",
        }[drive.contract]
    yield drive.inputs.said
    yield output
    if not mixable:
        yield "no state that the model returns stands for states=None: rows cannot start at different times"
    if not repeatable:
        yield (
            "the same ids give different outputs, with training=False too (dropout that is always on, or a state that "
            "is left over): no run can be repeated, so none is valid; a graph's dropout is left out, as Keras' predict "
            "leaves it out: see rnneval check"
        )


def _described(model: Any, drive: Adapter, layers: tuple[LayerRecord, ...], given: Checkpoint | None) -> Checkpoint:
    variables = model_variables(model)
    sha256 = hashlib.sha256()
    if given is None:
        for variable in variables:
            values = np.ascontiguousarray(np.asarray(variable))
            sha256.update(f"{values.dtype.str}{values.shape}".encode())
            sha256.update(values.tobytes())
    return Checkpoint(
        path=given.path if given else "",
        sha256=given.sha256 if given else sha256.hexdigest(),
        format=given.format if given else "model",
        contract=drive.contract,
        parameters=sum(int(np.prod(variable.shape)) for variable in variables),
        dtype=str(getattr(model, "compute_dtype", None) or "float32"),
        layers=layers,
    )
