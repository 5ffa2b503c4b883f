"""Making a RecurrentLM of a Keras model: its state contract, its output, its start, and a test that it can be carried.

The start is measured, and never assumed to be zero. A model that is called with `states=None` gives its layers some
initial state: zeros, a learned vector, anything. To start one row of a batch anew while the others go on, that state is
needed in the form in which the model *returns* states. It is found element by element: the model is called with a state
of distinct numbers. The element of a layer's state in which a number arrives shows which element of the start belongs
in that number's place.
"""

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, TypeAlias, Union

import keras
import numpy as np
import tensorflow as tf
from keras.ops import convert_to_numpy
from numpy.typing import NDArray

from rnneval.errors import CheckpointError, RnnevalError, type_and_message
from rnneval.models.keras.adapters import IDS, Answer, FlatAdapter, LayerStatesAdapter, WindowAdapter, recognise
from rnneval.models.keras.layers import (
    RecurrentUnit,
    model_variables,
    sublayers,
    variable_name,
    without_softmax,
)
from rnneval.models.keras.lm import RecurrentLM, State, eagerly
from rnneval.models.keras.state_tap import UnitRun, placed, record_runs
from rnneval.models.protocol import require_finite
from rnneval.records.run import Checkpoint, LayerRecord
from rnneval.records.wiring import Slot
from rnneval.text import Paths, Vocabulary, given_vocabulary

# The docs are built without Keras, whose stand-in is no type: hence the name in quotes, which `|` does not take.
AnyVocabulary: TypeAlias = Union[
    Vocabulary, str, os.PathLike[str], Sequence[str], Mapping[str, int], "keras.layers.Layer"
]

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
        adapter, units = recognise(model, vocabulary_width=size, window=window)
        drive = FlatAdapter(adapter=adapter)
        width = int(_first_call(drive, model).logits.shape[-1])
        require_finite((variable_name(variable), variable) for variable in model_variables(model))
        known = min(_embedded(model), default=width) if drive.adapter.inputs[0].kind == IDS else width
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
        adapter, _ = recognise(model, vocabulary_width=vocabulary_width, window=window)
        _first_call(FlatAdapter(adapter=adapter), model)


def _first_call(drive: FlatAdapter, model: Any) -> Answer:
    """Call the model for the first time, which builds it; twice, since layers used only with a state are built then."""
    ids = tf.ones(_PROBE, tf.int32)  # id 1: id 0 may be masked
    try:
        first = drive(ids, None)
        drive(ids, first.state)
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
    shape = tuple(first.logits.shape)
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
    drive: FlatAdapter,
    units: tuple[RecurrentUnit, ...],
    width: int,
    *,
    vocabulary: Vocabulary | None,
    checkpoint: Checkpoint | None,
    notes: tuple[str, ...],
) -> RecurrentLM:
    adapter = drive.adapter
    # Random ids that the model takes: 1 up to the smallest of its output width and its embeddings' input sizes.
    top = max(2, min([width, *_embedded(model)]))
    ids = tf.constant(np.random.default_rng(0).integers(1, top, (_PROBE[0], 2 * _PROBE[1])), tf.int32)
    output_kind, softmax, output_said = _output_of(model, drive, ids)
    # Whether the same ids give the same output is asked with each layer of a graph called as its author wrote it.
    written = FlatAdapter(adapter=replace(adapter, training=None))
    repeatable = _differ(written(ids, None), written(ids, None)) <= _TOLERANCE
    with without_softmax(softmax):
        start = _find_start(drive, units)
        leaves = start.leaves(_PROBE[0])
        mixable = bool(leaves) and _differ(drive(ids, None), drive(ids, leaves)) <= _TOLERANCE
        if isinstance(adapter, LayerStatesAdapter) and _differ(drive(ids, None), drive(ids, None)) <= _TOLERANCE:
            _prove_rewiring(drive, adapter, ids, leaves)
    if isinstance(adapter, LayerStatesAdapter):
        order = adapter.order
    else:
        with record_runs(units) as seen:
            drive(tf.ones(_PROBE, tf.int32), leaves or None)
        order = tuple(dict.fromkeys(placed(seen, [run.steps or _PROBE[1] for run in seen], _PROBE[1])))
    layers = tuple(  # once per place, in the order in which they run; a layer that never runs is left out
        LayerRecord(name=unit.name, path=unit.path, kind=unit.kind, units=unit.units, slots=unit.slots)
        for unit in order
    )
    said = [adapter.said, adapter.inputs[0].said, output_said]
    if not mixable:
        said.append("no state that the model returns stands for states=None: rows cannot start at different times")
    if not repeatable:
        said.append(
            "the same ids give different outputs, with training=False too (dropout that is always on, or a state that "
            "is left over): no run can be repeated, so none is valid; a graph's dropout is left out, as Keras' predict "
            "leaves it out: see rnneval check"
        )
    return RecurrentLM(
        model=model,
        contract=adapter.contract,
        width=width,
        layers=layers,
        slots=start.slots,
        batch_axes=start.batch_axes,
        input_kind=adapter.inputs[0].kind,
        output_kind=output_kind,
        assumptions=(*notes, *said),
        vocabulary=vocabulary.fit(width) if vocabulary is not None else None,
        checkpoint=_described(model, adapter.contract, layers, checkpoint),
        drive=drive,
        units=tuple(dict.fromkeys([*units, *order])),
        row=start.leaves(1),
        softmax=softmax,
        mixable=mixable,
        repeatable=repeatable,
        window=adapter.window if isinstance(adapter, WindowAdapter) else None,
    )


def _differ(one: Answer, other: Answer) -> float:
    """Return the largest difference of two outputs, of the largest number in the first."""
    first, second = (convert_to_numpy(answer.logits).astype(np.float64) for answer in (one, other))
    return float(np.abs(first - second).max() / max(np.abs(first).max(), np.finfo(np.float32).tiny))


def _output_of(model: Any, drive: FlatAdapter, ids: Any) -> tuple[str, Any, str]:
    """Return whether a model gives logits or probabilities, the layer of a softmax to leave out, and a sentence.

    A layer makes the model's probabilities if its softmax can be left out and put on again. There is none where the
    softmax is written into the author's `call`, say.
    """
    output = convert_to_numpy(drive(ids, None).logits)
    sums = output.astype(np.float64).sum(axis=-1)
    if not ((output >= 0).all() and (np.abs(sums - 1) < _SUM_TOLERANCE).all()):
        return "logits", None, "outputs are logits (rows do not sum to one)"
    for layer in reversed(sublayers(model)):  # the last first: it is the likely one
        own = getattr(layer, "activation", None) is keras.activations.softmax
        if not own and not isinstance(layer, keras.layers.Softmax):
            continue
        with without_softmax(layer):
            logits = drive(ids, None).logits
        if np.allclose(convert_to_numpy(tf.nn.softmax(logits)), output, rtol=1e-4, atol=1e-6):
            said = f"outputs are probabilities: the softmax of layer {layer.name} is left out, which gives logits"
            return "probabilities-as-logits", layer, said
    return "probabilities", None, "outputs are probabilities: losses are their logarithms, in float64"


def _prove_rewiring(drive: FlatAdapter, adapter: LayerStatesAdapter, ids: Any, leaves: State) -> None:
    whole, half = drive(ids, None), _PROBE[1]
    first = drive(ids[:, :half], leaves)
    second = drive(ids[:, half:], first.state)
    difference = _differ(whole, Answer(tf.concat([first.logits, second.logits], axis=1)))
    if not difference <= _TOLERANCE:
        raise CheckpointError(
            f"carrying the state of {', '.join(unit.name for unit in adapter.order)} over two segments does not give "
            f"what one segment gives (difference {difference:.2g} of the largest logit): something else in "
            f"{type(adapter.model).__name__} looks at more than one position at a time"
        )


class Start(NamedTuple):
    """The leaves that stand for `states=None`, and the layer's state that each of them goes into.

    *Leaves* are the tensors of a state as the model returns it; a *slot* is one part of a layer's state, h or c.
    """

    row: State  # the leaves of one row, without a batch axis
    slots: tuple[Slot | None, ...]
    batch_axes: tuple[int | None, ...]  # the batch axis of each leaf; None if no axis grows with the batch

    def leaves(self, rows: int) -> State:
        """Return the leaves with so many rows; none if a leaf has no batch axis."""
        if None in self.batch_axes:
            return ()
        axes = zip(self.row, self.batch_axes, strict=True)
        return tuple(tf.repeat(tf.expand_dims(leaf, axis), rows, axis=axis) for leaf, axis in axes)


def _find_start(drive: FlatAdapter, units: Sequence[RecurrentUnit]) -> Start:
    """Call the model three times, eagerly, and work out its start as the module's docstring says."""
    rows = _PROBE[0]
    ids = tf.ones((rows, 1), tf.int32)
    with record_runs(units) as at_start:
        returned = [convert_to_numpy(leaf) for leaf in drive(ids, None).state]
    wider = drive(tf.ones((rows + 1, 1), tf.int32), None).state
    axes: list[int | None] = []
    for leaf, other in zip(returned, wider, strict=False):
        grown = [axis for axis, (a, b) in enumerate(zip(leaf.shape, other.shape, strict=True)) if a != b]
        axes.append(grown[0] if len(grown) == 1 else None)
    floating = [leaf.size if np.issubdtype(leaf.dtype, np.floating) else 0 for leaf in returned]
    numbers = np.random.default_rng(0).permutation(np.linspace(-0.9, 0.9, sum(floating) + 1, dtype=np.float32)[:-1])
    parts = np.split(numbers, np.cumsum(floating)[:-1]) if floating else []
    marked = [  # all elements are distinct, and integers stay as they are
        part.reshape(leaf.shape).astype(leaf.dtype) if len(part) else leaf
        for leaf, part in zip(returned, parts, strict=True)
    ]
    with record_runs(units) as when_marked:
        drive(ids, [tf.constant(mark) for mark in marked])
    values, began, origin, slots = _arrivals(at_start, when_marked)
    row, places = [], []
    for mark, axis in zip(marked, axes, strict=True):
        flat, leaf = mark.ravel(), np.zeros(mark.size, mark.dtype)
        at = np.zeros(0, np.int64)
        if values.size and np.issubdtype(flat.dtype, np.floating):
            at = np.minimum(np.searchsorted(values, flat), values.size - 1)
            found = values[at] == flat
            at = at[found]
            leaf[found] = began[at]
        shaped = leaf.reshape(mark.shape)
        row.append(tf.constant(shaped if axis is None else shaped.take(0, axis)))
        # A leaf may be divided over several states, or arrive nowhere.
        origins = np.unique(origin[at])
        places.append(slots[origins[0]] if len(at) == flat.size and len(origins) == 1 else None)
    return Start(tuple(row), tuple(places), tuple(axes))


def _arrivals(
    at_start: Sequence[UnitRun], when_marked: Sequence[UnitRun]
) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.int64], list[Slot]]:
    """Return the distinct numbers that arrived, sorted; for each what is there at the start, and the index of its slot.

    Beside them are the slots.
    """
    starts = {(run.unit, run.turn, k): convert_to_numpy(leaf) for run in at_start for k, leaf in enumerate(run.before)}
    arrived, began, slots = [np.zeros(0, np.float32)], [np.zeros(0, np.float32)], []
    for run in when_marked:
        for k, leaf in enumerate(run.before):
            values, start = convert_to_numpy(leaf), starts.get((run.unit, run.turn, k))
            if start is not None and start.shape == values.shape:
                arrived.append(values.ravel())
                began.append(start.ravel())
                place = run.unit.at(run.turn)  # one token was read: each run is a place
                slots.append(Slot(layer=place.name, slot=place.slots[k]))
    origin = np.repeat(np.arange(len(slots)), [len(values) for values in arrived[1:]])
    every = np.concatenate(arrived)
    order = np.argsort(every, kind="stable")
    return every[order], np.concatenate(began)[order], origin[order], slots


def _described(model: Any, contract: int, layers: tuple[LayerRecord, ...], given: Checkpoint | None) -> Checkpoint:
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
        contract=contract,
        parameters=sum(int(np.prod(variable.shape)) for variable in variables),
        dtype=str(getattr(model, "compute_dtype", None) or "float32"),
        layers=layers,
    )


def is_lookup(layer: Any) -> bool:
    """Return whether a layer maps strings to ids, or back."""
    return isinstance(layer, (keras.layers.StringLookup, keras.layers.TextVectorization))


def vocabulary_of(lookup: Any) -> Vocabulary:
    """Return the vocabulary of a StringLookup or TextVectorization layer, whose ids are fixed by the layer."""
    tokens = [str(token) for token in lookup.get_vocabulary()]
    source = f"{type(lookup).__name__} layer {lookup.name}"
    return replace(Vocabulary.from_tokens(tokens, source=source), fixed_ids=True)


def as_vocabulary(given: AnyVocabulary | None, texts: Paths | None = None) -> Vocabulary | None:
    """Return the vocabulary that options give, as `given_vocabulary`; it may be a lookup layer too."""
    return given_vocabulary(vocabulary_of(given) if is_lookup(given) else given, texts)


def vocabulary_inside(model: Any, width: int) -> Vocabulary | None:
    """Return the vocabulary of a lookup layer in the model that is as long as its output is wide."""
    fitting = [layer for layer in sublayers(model) if is_lookup(layer) and len(layer.get_vocabulary()) == width]
    fitting.sort(key=lambda layer: bool(getattr(layer, "invert", False)))  # one that makes ids, rather than text
    return vocabulary_of(fitting[0]) if fitting else None
