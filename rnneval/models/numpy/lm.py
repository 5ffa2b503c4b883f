"""NumpyLM: a checkpoint of known layers as a language model, opened and run without TensorFlow and Keras."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any, ClassVar

import h5py
import numpy as np
from numpy.typing import ArrayLike, NDArray

from rnneval.checkpoints import Artefact
from rnneval.checkpoints.checked import FullModel, private_model
from rnneval.checkpoints.hdf5 import BROKEN, checked_hdf5
from rnneval.checkpoints.keras2 import IN_ORDER, REARRANGED, StoredLayer, from_cudnn, is_cudnn, read_layers, rewrite
from rnneval.checkpoints.places import FULL_MODELS
from rnneval.errors import CheckpointError, UsageError, VocabularyError
from rnneval.metrics.diagnostics import gates
from rnneval.metrics.diagnostics.summary import LIMITS
from rnneval.models.numpy.chain import HALVES, Chain, Entry, activation_name, chain_of, not_for_numpy
from rnneval.models.numpy.layers import FUNCTIONS, GATES, SLOTS, Floats, one_blas_thread
from rnneval.models.numpy.network import Block, Blueprint, Network, NumpyScorer, through
from rnneval.models.protocol import (
    CARRIED,
    SCALED,
    GatedCell,
    LanguageModel,
    LayerState,
    Layout,
    Sees,
    Shape,
    Vectors,
    input_in_words,
    input_kind_of,
    require_finite,
    require_next_token,
)
from rnneval.options import OpenOptions
from rnneval.processes import without_current_folder
from rnneval.records.run import Checkpoint, LayerRecord
from rnneval.records.wiring import Slot
from rnneval.text import Vocabulary, find_vocabulary, given_vocabulary

Weights = Mapping[str, NDArray[Any]]
"""The arrays of one layer by their role: `kernel`, `recurrent_kernel`, `bias`, `embeddings`, `gamma`, `beta`."""
_BROKEN = (TypeError, ValueError, LookupError, AttributeError, ArithmeticError)
"""Errors on a configuration that obeys the rules on files and is no model's: Keras may say what is wrong with it."""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class NumpyLM(LanguageModel):
    """A recurrent language model of known layers, run by NumPy."""

    backend: ClassVar[str] = "numpy"
    blueprint: Blueprint

    @cached_property
    def network(self) -> Network:
        """Its arithmetic."""
        return Network(self.blueprint)

    @cached_property
    def layout(self) -> Layout:
        """The states and gates of its layers."""
        return _layout(self.blueprint)

    @property
    def slots(self) -> tuple[Slot, ...]:
        """The layer and slot of each leaf of the state."""
        return tuple(Slot(layer=layer.name, slot=slot) for layer in self.layers for slot in layer.slots)

    def start(self) -> Vectors:
        """Return the initial state, zeros, `(D,)`."""
        return np.zeros(self.network.size, self.network.dtype)

    def scorer(
        self, shape: Shape, *, kernel: str = "auto", padded: bool = True, sees: Sees = "losses", parallel: bool = True
    ) -> NumpyScorer:
        """Prepare for steps of at most one shape; `kernel` and `padded` change nothing, since there is one kernel."""
        layout = self.layout if sees == "gates" else replace(self.layout, cells={})
        return NumpyScorer(self.network, layout, sees=sees, shape=shape, parallel=parallel)

    def initial_state(self, batch: int) -> tuple[Floats, ...]:
        """Return the leaves of the initial state, `(batch, units)` each, in the order of `slots`."""
        sizes = (layer.units for layer in self.layers for _ in layer.slots)
        return tuple(np.zeros((batch, units), self.network.dtype) for units in sizes)

    def step(self, ids: ArrayLike, state: Sequence[ArrayLike]) -> tuple[Floats, tuple[Floats, ...]]:
        """Read ids `(batch, time ≥ 1)` from a state; return logits `(batch, time, V)` and the new state."""
        given, known = np.asarray(ids, np.int32), min(self.width, self.network.ids)
        outside = given[(given < 0) | (given >= known)]
        if outside.size:
            raise UsageError(
                f"{outside.size:,} ids that the model does not have, the first {outside[0]}: its ids run from 0 to "
                f"{known - 1:,}"
            )
        leaves = (np.array(leaf, self.network.dtype) for leaf in state)
        states = [[next(leaves) for _ in layer.slots] for layer in self.layers]
        batch, time = given.shape
        logits = np.empty((time, batch, self.width), self.network.dtype)

        def take(start: int, hidden: Floats) -> None:
            flat = through(self.network.head, hidden.reshape(-1, hidden.shape[2]))
            logits[start : start + len(hidden)] = flat.reshape(len(hidden), batch, self.width)

        with one_blas_thread():
            Block(self.network, batch).run(np.ascontiguousarray(given.T), states, take)
        return logits.swapaxes(0, 1), tuple(part for parts in states for part in parts)

    def __getstate__(self) -> dict[str, Any]:
        """Take what the arithmetic is made from to another process, which reads ids and needs no vocabulary."""
        fields = {name: value for name, value in vars(self).items() if name not in {"network", "layout"}}
        return {**fields, "vocabulary": None}


def open_numpy(artefact: Artefact, options: OpenOptions) -> NumpyLM:
    """Open a private copy of a `.keras` or `.h5` file of known layers, without TensorFlow and Keras.

    Raises:
        NotForNumpyError: only Keras can run it; names the first layer that NumPy does not run.
    """
    shown = str(artefact.path)
    if options.builder is not None or artefact.format not in FULL_MODELS:
        raise not_for_numpy(shown, "a model that is made by code of your own (--builder)")
    if options.window is not None:
        raise not_for_numpy(shown, "a window model (--window)")
    with without_current_folder(), private_model(artefact) as model:
        given = given_vocabulary(options.vocabulary, options.vocabulary_from)
        try:
            lm = _opened(model, artefact, given)
            lm.start()  # arranges the weights, or says why the chain cannot be run
        except _BROKEN as error:
            why = f"its configuration cannot be read ({type(error).__name__}: {error})"
            raise not_for_numpy(shown, why) from error
    return lm


def _opened(model: FullModel, artefact: Artefact, vocabulary: Vocabulary | None) -> NumpyLM:
    """Make the language model of a private copy of the file."""
    shown, config = str(artefact.path), model.config
    notes: tuple[str, ...] = ()
    if model.keras2:
        config, notes = rewrite(config, path=shown, version=model.version)
    chain = chain_of(config, shown)
    dtype = _dtype(chain, shown)
    weights, more = _read_weights(chain, model, shown=shown, dtype=dtype)
    notes = (*notes, *more)
    if halves := sorted(name for name in chain.policies if name.removeprefix("mixed_") in HALVES):
        notes = (*notes, f"saved under the policy {' and '.join(halves)}: evaluated in float32")
    width = _width_of(chain, weights, shown)
    kind = _input_kind(chain, width, shown)
    contract = 3 if any(entry.get("stateful") for entry in chain.recurrent) else 4
    notes = (*notes, CARRIED[contract], input_in_words(kind, width))
    entries, last, output_kind = chain.entries, chain.entries[-1], "logits"
    if last.kind == "Softmax" or activation_name(last.get("activation")) == "softmax":
        output_kind, entries = "probabilities-as-logits", entries[:-1]
        if last.kind == "Dense":
            entries = (*entries, replace(last, settings={**last.settings, "activation": "linear"}))
        output_said = f"outputs are probabilities: the softmax of layer {last.own_name} is left out, which gives logits"
    else:
        output_said = "outputs are logits (rows do not sum to one)"
    scaled = width if kind == SCALED else None
    blueprint = Blueprint(layers=tuple(zip(entries, weights, strict=False)), scaled=scaled, dtype=dtype)
    layers = tuple(
        LayerRecord(name=e.name, path=e.path, kind=e.kind, units=int(e.get("units")), slots=SLOTS[e.kind])
        for e in chain.recurrent
    )
    why_no_vocabulary = ""
    try:
        vocabulary = (vocabulary or find_vocabulary(artefact.path, width)).fit(width)
    except VocabularyError as error:
        if vocabulary is not None:
            raise
        why_no_vocabulary = str(error)
    return NumpyLM(
        width=width,
        vocabulary=vocabulary,
        why_no_vocabulary=why_no_vocabulary,
        input_kind=kind,
        output_kind=output_kind,
        assumptions=(*notes, output_said),
        checkpoint=Checkpoint(
            path=shown,
            sha256=artefact.sha256,
            format=artefact.format,
            contract=contract,
            parameters=sum(values.size for held in weights for values in held.values()),
            dtype="float32" if chain.model_dtype in HALVES else chain.model_dtype,
            layers=layers,
        ),
        blueprint=blueprint,
    )


def _dtype(chain: Chain, shown: str) -> Any:
    wide = chain.computed - {"float32", *HALVES}
    if not wide:
        return np.float32
    if chain.computed - wide - ({"float32"} if chain.model_dtype == "float32" else set()):
        raise not_for_numpy(shown, f"layers of the types {' and '.join(sorted(chain.computed))}")
    return np.float64


def _width_of(chain: Chain, weights: Sequence[Weights], shown: str) -> int:
    """Return V, the width of the last layer."""
    width = next(int(entry.get("units")) for entry in reversed(chain.entries) if "units" in entry.settings)
    known = int(weights[0]["embeddings"].shape[0]) if chain.entries[0].kind == "Embedding" else width
    require_next_token(known, width, f"{shown}: ")
    return width


def _input_kind(chain: Chain, width: int, shown: str) -> str:
    """Return the form in which ids go in."""
    shape, first = chain.input_shape, chain.entries[0]
    ids = shape is None or len(shape) != 3
    if ids != (first.kind == "Embedding") or (shape is not None and len(shape) not in {2, 3}):
        raise not_for_numpy(shown, f"layer {first.name} ({first.kind}) reads inputs of shape {shape}")
    return input_kind_of(shape, width, f"{shown}: ")


def _layout(blueprint: Blueprint) -> Layout:
    """Describe the states and gates of the recurrent layers, in the order in which they run."""
    layout = Layout()
    for entry, held in blueprint.layers:
        if entry.kind not in SLOTS:
            continue
        bounded = activation_name(entry.get("activation", "tanh")) == "tanh"
        for slot in SLOTS[entry.kind]:
            limit = LIMITS[slot] if bounded else None
            state = LayerState(layer=entry.name, slot=slot, units=int(entry.get("units")), limit=limit)
            layout.states[state.key] = state
        layout.cells[entry.name] = ()
        if entry.kind != "SimpleRNN":
            arrays: dict[str, NDArray[np.float32]] = {role: np.asarray(a, np.float32) for role, a in held.items()}
            gated = gates.Gated(
                kind=entry.kind, kernel=arrays["kernel"], recurrent=arrays["recurrent_kernel"], bias=arrays.get("bias")
            )
            gate = activation_name(entry.get("recurrent_activation", "sigmoid"))
            function = None if gate == "sigmoid" else FUNCTIONS[gate]
            cell = GatedCell(prefix="", weights=gated, activation=function, slot=0, below=None)
            layout.cells[entry.name] = (cell,)
    return layout


def _read_weights(chain: Chain, model: FullModel, *, shown: str, dtype: Any) -> tuple[list[Weights], tuple[str, ...]]:
    """Read the weights of every layer of a chain, and compare them with what the configuration asks for.

    Returns the arrays of each layer, in the order of the chain, and assumptions, a sentence each.
    """
    notes: dict[str, None] = {}
    if model.path.suffix == ".h5":
        stored = _by_layer(chain, read_layers(model.weights, shown=Path(shown)), shown, notes, in_order=model.keras2)
    else:
        stored = _by_path(chain, model.weights, shown)
    found: list[Weights] = []
    inputs: int | None = None  # how many numbers the layer before gives for each token
    for entry, held in zip(chain.entries, stored, strict=True):
        if inputs is None:  # the kernel of the first layer alone says it
            inputs = held[0].shape[0] if held and held[0].ndim else 0
        wanted, arrays = _shapes(entry, inputs), held
        if entry.kind in SLOTS and len(arrays) == 3 and is_cudnn(arrays[2].shape, wanted["bias"]):
            notes[REARRANGED] = None
            arrays = list(from_cudnn(arrays[0], arrays[1], arrays[2], wanted["bias"]))
        for array, (role, shape) in zip(arrays, wanted.items(), strict=True):
            if tuple(array.shape) != shape or array.dtype.kind not in "fiu":
                raise not_for_numpy(
                    shown,
                    f"layer {entry.name} ({entry.kind}) has a {role} of type {array.dtype} and shape "
                    f"{tuple(array.shape)}, where its settings ask for {shape}",
                )
        require_finite(((f"{entry.own_name}/{role}", a) for role, a in zip(wanted, arrays, strict=True)), shown)
        found.append({role: np.ascontiguousarray(a, dtype) for role, a in zip(wanted, arrays, strict=True)})
        inputs = entry.get("units") or entry.get("output_dim") or inputs
    return found, tuple(notes)


def _shapes(entry: Entry, inputs: int = 0) -> dict[str, tuple[int, ...]]:
    """Return the shape of each weight by its role, in Keras' order, for a layer that reads so many numbers a token."""
    if entry.kind == "Embedding":
        return {"embeddings": (int(entry.get("input_dim", 0)), int(entry.get("output_dim", 0)))}
    if entry.kind == "LayerNormalization":
        return {role: (inputs,) for role, asked in (("gamma", "scale"), ("beta", "center")) if entry.get(asked, True)}
    if entry.kind not in GATES and entry.kind != "Dense":
        return {}
    units = int(entry.get("units", 0) or 0)
    columns = GATES.get(entry.kind, 1) * units
    shapes: dict[str, tuple[int, ...]] = {"kernel": (inputs, columns)}
    if entry.kind in GATES:
        shapes["recurrent_kernel"] = (units, columns)
    if entry.get("use_bias", True):
        shapes["bias"] = (2, columns) if entry.kind == "GRU" and entry.get("reset_after", True) else (columns,)
    return shapes


def _by_path(chain: Chain, path: Path, shown: str) -> list[list[NDArray[Any]]]:
    """Read weights by their places in the weights of a `.keras` file: layers are named after classes, and counted."""
    stored = set(checked_hdf5(path, shown=Path(shown)).weights)
    places = [[f"{entry.group}/{number}" for number in range(len(_shapes(entry)))] for entry in chain.entries]
    for entry, names in zip(chain.entries, places, strict=True):
        if not stored.issuperset(names):
            raise not_for_numpy(shown, f"layer {entry.name} ({entry.kind}) has no weights at {entry.group}")
    if unused := sorted(stored.difference(*places)):
        raise not_for_numpy(shown, f"the file has weights that belong to no known layer: {', '.join(unused[:3])}")
    try:
        with h5py.File(path, "r") as file:
            return [[_values(file[name]) for name in names] for names in places]
    except BROKEN as error:
        raise CheckpointError(f"{shown}: a damaged or truncated HDF5 file ({error}): copy or save it again") from error


def _values(dataset: Any) -> NDArray[Any]:
    """Read an array; bfloat16, which HDF5 has not, is stored as two bytes and becomes float32."""
    values: NDArray[Any] = dataset[()]
    if values.dtype.kind == "V" and values.dtype.itemsize == 2:
        return (values.view(np.uint16).astype(np.uint32) << np.uint32(16)).view(np.float32)
    return values


def _by_layer(
    chain: Chain, stored: Sequence[StoredLayer], shown: str, notes: dict[str, None], *, in_order: bool
) -> list[list[NDArray[Any]]]:
    """Read weights of an `.h5` file, where each layer of the outermost model has a group with its name.

    In files of Keras 2 layers may have other names than in the configuration; they then meet in their order.
    """
    holders = [(holder, list(entries)) for holder, entries in groupby(chain.entries, lambda entry: entry.holder)]
    weighted = [(holder, entries) for holder, entries in holders if any(map(_shapes, entries))]
    named = {layer.name: layer for layer in stored}
    if {holder for holder, _ in weighted} == set(named):
        pairs = [(named[holder], entries) for holder, entries in weighted]
    elif in_order and len(stored) == len(weighted):
        pairs = [(layer, entries) for layer, (_, entries) in zip(stored, weighted, strict=True)]
        notes[IN_ORDER] = None
    else:
        listed = ", ".join(layer.name for layer in stored[:8])
        raise not_for_numpy(shown, f"the file has weights of the layers {listed}, and the configuration has others")
    arrays = {id(entry): values for layer, entries in pairs for entry, values in _dealt(layer, entries, shown)}
    return [arrays.get(id(entry), []) for entry in chain.entries]


def _dealt(layer: StoredLayer, entries: Sequence[Entry], shown: str) -> Iterator[tuple[Entry, list[NDArray[Any]]]]:
    """Yield the weights of each entry in a group: of a model inside of the model, there are several."""
    wanted = [(entry, role) for entry in entries for role in _shapes(entry)]
    if len(wanted) != len(layer.weights) or (len(entries) > 1 and any(entry.frozen for entry in entries)):
        raise not_for_numpy(shown, f"layer {layer.name} has {len(layer.weights)} weights in an order that is not known")
    rest = iter(layer.weights)
    for entry in entries:
        held = [next(rest) for _ in _shapes(entry)]
        for role, weight in zip(_shapes(entry), held, strict=True):
            if weight.role in {"kernel", "recurrent_kernel", "bias", "embeddings", "gamma", "beta"} - {role}:
                raise not_for_numpy(shown, f"layer {entry.name} ({entry.kind}) has a {weight.role} for its {role}")
        yield entry, [weight.values for weight in held]
