"""NumpyLM: a checkpoint of known layers as a language model, opened and run without TensorFlow and Keras."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import h5py
import numpy as np
from numpy.typing import ArrayLike, NDArray

from rnneval.checkpoints import Artefact
from rnneval.checkpoints.checked import FullModel, private_model
from rnneval.checkpoints.hdf5 import BROKEN, checked_hdf5
from rnneval.checkpoints.keras2 import IN_ORDER, REARRANGED, from_cudnn, is_cudnn, read_layers, rewrite
from rnneval.checkpoints.places import FULL_MODELS
from rnneval.errors import CheckpointError, VocabularyError
from rnneval.metrics.diagnostics import gates
from rnneval.metrics.diagnostics.summary import LIMITS
from rnneval.models.numpy.chain import Entry, NotForNumpyError, activation_name, chain_of
from rnneval.models.numpy.layers import FUNCTIONS, GATES, SLOTS, Floats, one_blas_thread
from rnneval.models.numpy.network import Block, Layers, Network, NumpyScorer, through
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
    require_ids,
    require_next_token,
)
from rnneval.options import OpenOptions
from rnneval.processes import without_current_folder
from rnneval.records.run import Checkpoint, LayerRecord
from rnneval.records.wiring import Slot
from rnneval.text import Vocabulary, find_vocabulary, given_vocabulary

Weights = Mapping[str, Floats]
"""The arrays of one layer by their role: `kernel`, `recurrent_kernel`, `bias`, `embeddings`, `gamma`, `beta`."""
_BROKEN = (TypeError, ValueError, LookupError, AttributeError, ArithmeticError)
"""Errors on a configuration that obeys the rules on files and is no model's: Keras may say what is wrong with it."""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class NumpyLM(LanguageModel):
    """A recurrent language model of known layers, run by NumPy."""

    backend: ClassVar[str] = "numpy"
    kernel: ClassVar[str] = "numpy"
    chain: Layers

    @cached_property
    def network(self) -> Network:
        """Its arithmetic."""
        return Network(self.chain, self.width if self.input_kind == SCALED else None)

    @property
    def slots(self) -> tuple[Slot, ...]:
        """The layer and slot of each leaf of the state."""
        return tuple(Slot(layer=layer.name, slot=slot) for layer in self.layers for slot in layer.slots)

    def start(self) -> Vectors:
        """Return the initial state, zeros, `(D,)`."""
        return np.zeros(self.network.size, np.float32)

    def scorer(self, shape: Shape, *, padded: bool = True, sees: Sees = "losses") -> NumpyScorer:
        """Prepare for steps of at most one shape; `padded` changes nothing."""
        return NumpyScorer(self.network, _layout(self.chain, sees), sees=sees, shape=shape)

    def initial_state(self, batch: int) -> tuple[Floats, ...]:
        """Return the leaves of the initial state, `(batch, units)` each, in the order of `slots`."""
        return tuple(np.zeros((batch, layer.units), np.float32) for layer in self.layers for _ in layer.slots)

    def step(self, ids: ArrayLike, state: Sequence[ArrayLike]) -> tuple[Floats, tuple[Floats, ...]]:
        """Read ids `(batch, time ≥ 1)` from a state; return logits `(batch, time, V)` and the new state."""
        given = np.asarray(ids, np.int32)
        require_ids(given, min(self.width, self.network.ids))
        leaves = (np.array(leaf, np.float32) for leaf in state)
        states = [[next(leaves) for _ in layer.slots] for layer in self.layers]
        batch, time = given.shape
        logits = np.empty((time, batch, self.width), np.float32)

        def take(start: int, hidden: Floats) -> None:
            flat = through(self.network.head, hidden.reshape(-1, hidden.shape[2]))
            logits[start : start + len(hidden)] = flat.reshape(len(hidden), batch, self.width)

        with one_blas_thread():
            Block(self.network, batch).run(np.ascontiguousarray(given.T), states, take)
        return logits.swapaxes(0, 1), tuple(part for parts in states for part in parts)

    def __getstate__(self) -> dict[str, Any]:
        """Take what the arithmetic is made from to another process, which reads ids and needs no vocabulary."""
        return {**{name: value for name, value in vars(self).items() if name != "network"}, "vocabulary": None}


def _layout(chain: Layers, sees: Sees) -> Layout:
    """Describe the states and, where they are seen, the gates of the layers, in the order in which they run."""
    layout = Layout()
    for entry, held in chain:
        if entry.kind not in SLOTS:
            continue
        bounded = activation_name(entry.get("activation", "tanh")) == "tanh"
        for slot in SLOTS[entry.kind]:
            limit = LIMITS[slot] if bounded else None
            state = LayerState(layer=entry.name, slot=slot, units=int(entry.get("units")), limit=limit)
            layout.states[state.key] = state
        if sees == "gates":
            layout.cells[entry.name] = () if entry.kind == "SimpleRNN" else (_gated(entry, held),)
    return layout


def _gated(entry: Entry, held: Weights) -> GatedCell:
    recurrent, gate = held["recurrent_kernel"], activation_name(entry.get("recurrent_activation", "sigmoid"))
    weights = gates.Gated(kind=entry.kind, kernel=held["kernel"], recurrent=recurrent, bias=held.get("bias"))
    activation = None if gate == "sigmoid" else FUNCTIONS[gate]
    return GatedCell(prefix="", weights=weights, activation=activation, slot=0, below=None)


# Opening


def open_numpy(artefact: Artefact, options: OpenOptions) -> NumpyLM:
    """Open a private copy of a `.keras` or `.h5` file of known layers, without TensorFlow and Keras.

    Raises:
        NotForNumpyError: only Keras can run it; names the first layer that NumPy does not run.
    """
    try:
        _require_chain(artefact, options)
        with without_current_folder(), private_model(artefact) as model:
            lm = _opened(model, artefact, given_vocabulary(options.vocabulary, options.vocabulary_from))
            lm.start()  # arranges the weights, or says why the chain cannot be run
            return lm
    except (NotForNumpyError, *_BROKEN) as error:
        why = f"its configuration cannot be read ({type(error).__name__}: {error})"
        raise NotForNumpyError(
            f"{artefact.path}: {error if isinstance(error, NotForNumpyError) else why}: it is run by Keras alone: pip "
            "install 'rnneval[tensorflow]' (and leave out --backend numpy)"
        ) from error


def _require_chain(artefact: Artefact, options: OpenOptions) -> None:
    if options.builder is not None or artefact.format not in FULL_MODELS:
        raise NotForNumpyError("a model that is made by code of your own (--builder)")
    if options.window is not None:
        raise NotForNumpyError("a window model (--window)")


def _opened(model: FullModel, artefact: Artefact, vocabulary: Vocabulary | None) -> NumpyLM:
    """Make the language model of a private copy of the file."""
    shown, config = str(artefact.path), model.config
    notes: tuple[str, ...] = ()
    if model.keras2:
        config, notes = rewrite(config, path=shown, version=model.version)
    entries, shape = chain_of(config)
    weights, more = _read_weights(entries, model, shown)
    width = next(int(entry.get("units")) for entry in reversed(entries) if "units" in entry.settings)
    known = int(weights[0]["embeddings"].shape[0]) if entries[0].kind == "Embedding" else width
    require_next_token(known, width, f"{shown}: ")
    reads_ids = shape is None or len(shape) != 3
    if reads_ids != (entries[0].kind == "Embedding") or (shape is not None and len(shape) not in {2, 3}):
        raise NotForNumpyError(f"layer {entries[0].name} ({entries[0].kind}) reads inputs of shape {shape}")
    kind = input_kind_of(shape, width, f"{shown}: ")
    recurrent = [entry for entry in entries if entry.kind in SLOTS]
    contract = 3 if any(entry.get("stateful") for entry in recurrent) else 4
    run, output_kind, output_said = _without_softmax(entries)
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
        assumptions=(*notes, *more, CARRIED[contract], input_in_words(kind, width), output_said),
        checkpoint=Checkpoint(
            path=shown,
            sha256=artefact.sha256,
            format=artefact.format,
            contract=contract,
            parameters=sum(values.size for held in weights for values in held.values()),
            dtype="float32",
            layers=tuple(
                LayerRecord(name=e.name, path=e.path, kind=e.kind, units=int(e.get("units")), slots=SLOTS[e.kind])
                for e in recurrent
            ),
        ),
        chain=tuple(zip(run, weights, strict=False)),
    )


def _without_softmax(entries: Sequence[Entry]) -> tuple[Sequence[Entry], str, str]:
    """Return the layers whose output is logits, what the model's own output is, and a sentence about it."""
    *before, last = entries
    if last.kind != "Softmax" and activation_name(last.get("activation")) != "softmax":
        return entries, "logits", "outputs are logits (rows do not sum to one)"
    if last.kind == "Dense":
        before.append(replace(last, settings={**last.settings, "activation": "linear"}))
    said = f"outputs are probabilities: the softmax of layer {last.own_name} is left out, which gives logits"
    return before, "probabilities-as-logits", said


def _read_weights(entries: Sequence[Entry], model: FullModel, shown: str) -> tuple[list[Weights], tuple[str, ...]]:
    """Read the weights of every layer, compare them with what the configuration asks for, and return assumptions."""
    notes: dict[str, None] = {}
    stored = _by_layer(entries, model, shown, notes) if model.path.suffix == ".h5" else _by_path(entries, model, shown)
    found: list[Weights] = []
    inputs: int | None = None  # how many numbers the layer before gives for each token
    for entry, arrays in zip(entries, stored, strict=True):
        if inputs is None:  # the kernel of the first layer alone says it
            inputs = arrays[0].shape[0] if arrays and arrays[0].ndim else 0
        wanted = _shapes(entry, inputs)
        if entry.kind in SLOTS and len(arrays) == 3 and is_cudnn(arrays[2].shape, wanted["bias"]):
            notes[REARRANGED] = None
            arrays = list(from_cudnn(arrays[0], arrays[1], arrays[2], wanted["bias"]))  # noqa: PLW2901
        for array, (role, shape) in zip(arrays, wanted.items(), strict=True):
            if tuple(array.shape) != shape or array.dtype.kind not in "fiu":
                raise NotForNumpyError(
                    f"layer {entry.name} ({entry.kind}) has a {role} of type {array.dtype} and shape "
                    f"{tuple(array.shape)}, where its settings ask for {shape}"
                )
        require_finite(((f"{entry.own_name}/{role}", a) for role, a in zip(wanted, arrays, strict=True)), shown)
        found.append({role: np.ascontiguousarray(a, np.float32) for role, a in zip(wanted, arrays, strict=True)})
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


def _by_path(entries: Sequence[Entry], model: FullModel, shown: str) -> list[list[NDArray[Any]]]:
    """Read weights by their places in the weights of a `.keras` file: layers are named after classes, and counted."""
    stored = set(checked_hdf5(model.weights, shown=Path(shown)).weights)
    places = [[f"{entry.group}/{number}" for number in range(len(_shapes(entry)))] for entry in entries]
    for entry, names in zip(entries, places, strict=True):
        if not stored.issuperset(names):
            raise NotForNumpyError(f"layer {entry.name} ({entry.kind}) has no weights at {entry.group}")
    if unused := sorted(stored.difference(*places)):
        raise NotForNumpyError(f"the file has weights that belong to no known layer: {', '.join(unused[:3])}")
    try:
        with h5py.File(model.weights, "r") as file:
            return [[file[name][()] for name in names] for names in places]
    except BROKEN as error:
        raise CheckpointError(f"{shown}: a damaged or truncated HDF5 file ({error}): copy or save it again") from error


def _by_layer(
    entries: Sequence[Entry], model: FullModel, shown: str, notes: dict[str, None]
) -> Iterator[list[NDArray[Any]]]:
    """Read weights of an `.h5` file, where each layer has a group with its name; in files of Keras 2, else by order."""
    stored = read_layers(model.weights, shown=Path(shown))
    weighted, named = [entry for entry in entries if _shapes(entry)], {layer.name: layer for layer in stored}
    if {entry.path for entry in weighted} != set(named):
        if not model.keras2 or len(stored) != len(weighted):
            listed = ", ".join(layer.name for layer in stored[:8])
            raise NotForNumpyError(f"the file has weights of the layers {listed}, and the configuration has others")
        named = {entry.path: layer for entry, layer in zip(weighted, stored, strict=True)}
        notes[IN_ORDER] = None
    for entry in entries:
        roles, held = list(_shapes(entry)), named[entry.path].weights if _shapes(entry) else ()
        if len(roles) != len(held):
            raise NotForNumpyError(f"layer {entry.path} has {len(held)} weights, and {len(roles)} are needed")
        for role, weight in zip(roles, held, strict=True):
            if weight.role in {"kernel", "recurrent_kernel", "bias", "embeddings", "gamma", "beta"} - {role}:
                raise NotForNumpyError(f"layer {entry.name} ({entry.kind}) has a {weight.role} for its {role}")
        yield [weight.values for weight in held]
