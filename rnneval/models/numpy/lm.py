"""NumpyLM: a checkpoint of known layers as a language model, opened and run without TensorFlow and Keras."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, ClassVar

import h5py
import numpy as np
from numpy.typing import ArrayLike, NDArray

from rnneval.arrays import Floats
from rnneval.checkpoints import Artefact
from rnneval.checkpoints.checked import FullModel, private_model
from rnneval.checkpoints.hdf5 import BROKEN, checked_hdf5
from rnneval.checkpoints.keras2 import REARRANGED, from_cudnn, is_cudnn, read_layers, rewrite, role_of
from rnneval.checkpoints.places import FULL_MODELS, failure
from rnneval.errors import VocabularyError
from rnneval.metrics.diagnostics import gates
from rnneval.metrics.diagnostics.summary import LIMITS
from rnneval.models.numpy.chain import FUNCTIONS, GATES, SLOTS, Entry, NotForNumpyError, activation_name, chain_of
from rnneval.models.numpy.layers import through
from rnneval.models.numpy.network import ForwardPass, Layers, Network, NumpyScorer
from rnneval.models.numpy.products import one_blas_thread
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
    one_unit_off,
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
        return Network(self.chain, divisor=self.width if self.input_kind == SCALED else None)

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
        with one_blas_thread():
            return self._step(ForwardPass(self.network, np.shape(ids)[0]), ids, state)

    def stepper(self) -> Callable[[ArrayLike, Sequence[ArrayLike]], tuple[Floats, tuple[Floats, ...]]]:
        """Return `step` for one row, with buffers that are made once; the caller limits the threads."""
        return partial(self._step, ForwardPass(self.network, 1))

    def _step(
        self, forward: ForwardPass, ids: ArrayLike, state: Sequence[ArrayLike]
    ) -> tuple[Floats, tuple[Floats, ...]]:
        given = np.asarray(ids, np.int32)
        require_ids(given, min(self.width, self.network.ids))
        leaves = (np.array(leaf, np.float32) for leaf in state)
        states = [[next(leaves) for _ in layer.slots] for layer in self.layers]
        batch, time = given.shape
        logits = np.empty((time, batch, self.width), np.float32)

        def consume(start: int, hidden: Floats) -> None:
            flat = through(self.network.head, hidden.reshape(-1, hidden.shape[2]))
            logits[start : start + len(hidden)] = flat.reshape(len(hidden), batch, self.width)

        forward.run(np.ascontiguousarray(given.T), states, consume)
        return logits.swapaxes(0, 1), tuple(part for parts in states for part in parts)

    def weights_moved(self, draw: int) -> "NumpyLM":
        """Return a copy with each weight moved by ± one unit in the last place."""
        return self._with_weights(partial(one_unit_off, generator=np.random.default_rng(draw)))

    def in_dtype(self, dtype: str) -> "NumpyLM | None":
        """Return a copy whose weights are rounded to half precision; arithmetic is in float32 always."""
        if dtype == "float16":
            return self._with_weights(lambda values: values.astype(np.float16).astype(np.float32))
        if dtype == "bfloat16":  # the upper half of a float32, rounded to even
            return self._with_weights(_in_bfloat16)
        return self if dtype == "float32" else None

    def _with_weights(self, change: Callable[[Floats], Floats]) -> "NumpyLM":
        chain = tuple((entry, {role: change(values) for role, values in held.items()}) for entry, held in self.chain)
        return replace(self, chain=chain)

    def __getstate__(self) -> dict[str, Any]:
        """Take what the arithmetic is made from to another process, which reads ids and needs no vocabulary."""
        return {**{name: value for name, value in vars(self).items() if name != "network"}, "vocabulary": None}


def _in_bfloat16(values: Floats) -> Floats:
    bits = np.ascontiguousarray(values).view(np.uint32)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) & np.uint32(0xFFFF0000)
    return np.asarray(rounded.view(np.float32))


def _layout(chain: Layers, sees: Sees) -> Layout:
    """Describe the states and, where they are seen, the gates of the layers, in the order in which they run."""
    layout = Layout()
    for entry, held in chain:
        bounded = activation_name(entry.get("activation", "tanh")) == "tanh"
        for slot in SLOTS.get(entry.kind, ()):
            limit = LIMITS[slot] if bounded else None
            state = LayerState(layer=entry.name, slot=slot, units=int(entry.get("units")), limit=limit)
            layout.states[state.key] = state
        if sees == "gates" and entry.kind in SLOTS:
            layout.cells[entry.name] = ()
            if entry.kind != "SimpleRNN":
                kernel, recurrent, bias = held["kernel"], held["recurrent_kernel"], held.get("bias")
                weights = gates.Gated(kind=entry.kind, kernel=kernel, recurrent=recurrent, bias=bias)
                gate = activation_name(entry.get("recurrent_activation", "sigmoid"))
                activation = None if gate == "sigmoid" else FUNCTIONS[gate]
                cell = GatedCell(prefix="", weights=weights, activation=activation, slot=0, below=None)
                layout.cells[entry.name] = (cell,)
    return layout


# Opening


def open_numpy(artefact: Artefact, options: OpenOptions) -> NumpyLM:
    """Open a private copy of a `.keras` or `.h5` file of known layers, without TensorFlow and Keras.

    Raises:
        NotForNumpyError: only Keras can run it; names the first layer that NumPy does not run.
    """
    try:
        _require_chain(artefact, options)
        with without_current_folder(), private_model(artefact) as model:
            lm = _language_model_of(model, artefact, given_vocabulary(options.vocabulary, options.vocabulary_from))
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


def _language_model_of(model: FullModel, artefact: Artefact, vocabulary: Vocabulary | None) -> NumpyLM:
    label, config = str(artefact.path), model.config
    notes: tuple[str, ...] = ()
    if model.keras2:
        config, notes = rewrite(config, path=label, version=model.version)
    entries, shape = chain_of(config)
    weights, more = _read_weights(entries, model, label)
    width = next(int(entry.get("units")) for entry in reversed(entries) if "units" in entry.settings)
    known = int(weights[0]["embeddings"].shape[0]) if entries[0].kind == "Embedding" else width
    require_next_token(known, width, f"{label}: ")
    axes = 2 if shape is None else len(shape)
    if axes != (2 if entries[0].kind == "Embedding" else 3):
        raise NotForNumpyError(f"layer {entries[0].name} ({entries[0].kind}) reads inputs of shape {shape}")
    kind = input_kind_of(shape, width, f"{label}: ")
    recurrent = [entry for entry in entries if entry.kind in SLOTS]
    contract = 3 if any(entry.get("stateful") for entry in recurrent) else 4
    run, output_kind, output_said = _without_softmax(entries)
    why_no_vocabulary = ""
    if vocabulary is not None:
        vocabulary = vocabulary.fit(width)
    else:
        try:
            vocabulary = find_vocabulary(artefact.path, width)
        except VocabularyError as error:
            why_no_vocabulary = str(error)
    return NumpyLM(
        width=width,
        vocabulary=vocabulary,
        why_no_vocabulary=why_no_vocabulary,
        input_kind=kind,
        output_kind=output_kind,
        assumptions=(*notes, *more, CARRIED[contract], input_in_words(kind, width), output_said),
        checkpoint=Checkpoint(
            path=label,
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
    said = f"outputs are probabilities: the softmax of layer {last.name} is left out, which gives logits"
    return before, "probabilities-as-logits", said


def _read_weights(entries: Sequence[Entry], model: FullModel, label: str) -> tuple[list[Weights], tuple[str, ...]]:
    """Read the weights of every layer, compare them with what the configuration asks for, and return assumptions."""
    notes: tuple[str, ...] = ()
    stored = (_by_layer if model.path.suffix == ".h5" else _by_path)(entries, model, label)
    layers: list[Weights] = []
    inputs = 0  # how many numbers the layer before gives for each token
    for entry, given in zip(entries, stored, strict=True):
        if not layers and given and given[0].ndim:  # the kernel of the first layer alone says it
            inputs = given[0].shape[0]
        wanted = _shapes(entry, inputs)
        if entry.kind in SLOTS and len(given) == 3 and is_cudnn(given[2].shape, wanted["bias"]):
            notes = (REARRANGED,)
            given[:] = from_cudnn(given[0], given[1], given[2], wanted["bias"])
        arrays = dict(zip(wanted, given, strict=True))
        for role, array in arrays.items():
            if array.shape != wanted[role] or array.dtype.kind not in "fiu":
                seen = f"has a {role} of type {array.dtype} and shape {array.shape}"
                raise NotForNumpyError(f"layer {entry.name} ({entry.kind}) {seen}: {wanted[role]} is needed")
        require_finite(((f"{entry.name}/{role}", array) for role, array in arrays.items()), label)
        layers.append({role: np.ascontiguousarray(array, np.float32) for role, array in arrays.items()})
        inputs = entry.get("units") or entry.get("output_dim") or inputs
    return layers, notes


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


def _by_path(entries: Sequence[Entry], model: FullModel, label: str) -> list[list[NDArray[Any]]]:
    """Read weights by their places in the weights of a `.keras` file: layers are named after classes, and counted."""
    stored = set(checked_hdf5(model.weights, label=Path(label)).weights)
    places = [[f"{entry.group}/{number}" for number in range(len(_shapes(entry)))] for entry in entries]
    if others := sorted(stored ^ {name for names in places for name in names}):
        raise NotForNumpyError(f"the file and its configuration differ in weights: {', '.join(others[:3])}")
    try:
        with h5py.File(model.weights, "r") as file:
            return [[file[name][()] for name in names] for names in places]
    except BROKEN as error:
        raise failure(Path(label), error, "HDF5 file") from error


def _by_layer(entries: Sequence[Entry], model: FullModel, label: str) -> list[list[NDArray[Any]]]:
    """Read weights of an `.h5` file, where each layer has a group with its name."""
    stored = read_layers(model.weights, label=Path(label))
    layers = []
    for entry in entries:
        roles = list(_shapes(entry))
        held = stored.pop(entry.path, {}) if roles else {}
        if len(roles) != len(held):
            raise NotForNumpyError(f"layer {entry.path} has {len(held)} weights, and {len(roles)} are needed")
        for role, other in zip(roles, map(role_of, held), strict=True):
            if other in {"kernel", "recurrent_kernel", "bias", "embeddings", "gamma", "beta"} - {role}:
                raise NotForNumpyError(f"layer {entry.name} ({entry.kind}) has a {other} for its {role}")
        layers.append([*held.values()])
    if stored:
        raise NotForNumpyError(f"the file has weights of layers that its configuration lacks: {', '.join(stored)}")
    return layers
