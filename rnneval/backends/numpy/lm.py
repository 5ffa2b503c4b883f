"""NumpyLM: a checkpoint of known layers as a language model, opened and run without TensorFlow and Keras."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rnneval import without_current_folder
from rnneval.backends.numpy.activations import Floats
from rnneval.backends.numpy.cells import gate_function
from rnneval.backends.numpy.chain import HALVES, SLOTS, Chain, Entry, activation_name, chain_of, not_for_numpy
from rnneval.backends.numpy.network import Block, Network, Recipe, through
from rnneval.backends.numpy.products import one_blas_thread
from rnneval.backends.numpy.scorer import NumpyScorer
from rnneval.backends.numpy.stored import Weights, read_weights
from rnneval.backends.numpy.team import Team
from rnneval.backends.protocol import GatedCell, LayerState, Layout, Sees, Shape, Vectors
from rnneval.errors import CheckpointError, UsageError, VocabularyError
from rnneval.files import Artefact, private_copy, require_builder
from rnneval.files.artefact import FULL_MODELS, FullModel, private_model, require_sha256
from rnneval.files.keras2 import rewrite
from rnneval.metrics.diagnostics import gates
from rnneval.metrics.diagnostics.summary import LIMITS
from rnneval.options import OpenOptions, on_path
from rnneval.records.run import Checkpoint, Layer
from rnneval.records.wiring import Slot, Wiring
from rnneval.text import Vocabulary, find_vocabulary, given_vocabulary
from rnneval.wiring.facts import Arrival, Event, Facts, Source, UnitFact, parse_declarations, require_known
from rnneval.wiring.judging import wiring_of

_BROKEN = (TypeError, ValueError, LookupError, AttributeError, ArithmeticError)
"""Errors on a configuration that obeys the rules on files and is no model's: Keras may say what is wrong with it."""
_CALLS = 4
"""Calls that the wiring check of Keras models makes, over which a state is carried."""
_SAID = {
    2: "state inputs: states go in and come out in the same order; the start is zeros",
    3: "stateful layers: each is given its state, and its own variables stay as they are",
    4: "stateless graph: each recurrent layer is given its state (tested on a random segment)",
}


@dataclass(frozen=True, kw_only=True, eq=False)
class NumpyLM:
    """A recurrent language model of known layers, run by NumPy: a `LanguageModel`."""

    width: int
    """V, the number of logits."""
    layers: tuple[Layer, ...]
    """The recurrent layers, in the order in which they run."""
    slots: tuple[Slot, ...]
    """The layer and slot of each leaf of the state."""
    input_kind: str
    output_kind: str
    assumptions: tuple[str, ...]
    """Assumptions that were made on opening, a sentence each."""
    checkpoint: Checkpoint
    vocabulary: Vocabulary | None = None
    why_no_vocabulary: str = ""
    """The places where no vocabulary was found, and what to give."""
    backend: str = "numpy"
    device: str = "CPU"
    mixable: bool = True
    repeatable: bool = True
    window: int | None = None
    network: Network = field(repr=False)
    recipe: Recipe = field(repr=False)
    layouts: Layout = field(repr=False)
    """The states and gates of its layers."""

    @property
    def memory_cells(self) -> bool:
        """True if a layer has memory cells, as an LSTM has."""
        return any("c" in layer.slots for layer in self.layers)

    def start(self) -> Vectors:
        """Return the initial state, zeros, `(D,)`."""
        return np.zeros(self.network.size, self.network.dtype)

    def scorer(
        self,
        shape: Shape,
        *,
        kernel: str = "auto",
        padded: bool = True,
        sees: Sees = "losses",
        parallel: bool = True,
    ) -> NumpyScorer:
        """Prepare for steps of at most one shape; `kernel` and `padded` change nothing, since there is one kernel."""
        layout = replace(self.layouts, cells=self.layouts.cells if sees == "gates" else {})
        team = Team(self.recipe, self.network) if parallel else None
        return NumpyScorer(self.network, layout, sees=sees, shape=shape, team=team)

    def initial_state(self, batch: int) -> tuple[Floats, ...]:
        """Return the leaves of the initial state, `(batch, units)` each, in the order of `slots`."""
        units = {layer.name: layer.units for layer in self.layers}
        return tuple(np.zeros((batch, units[slot.layer]), self.network.dtype) for slot in self.slots)

    def step(self, ids: ArrayLike, state: Sequence[ArrayLike]) -> tuple[Floats, tuple[Floats, ...]]:
        """Read ids `(batch, time ≥ 1)` from a state; return logits `(batch, time, V)` and the new state.

        Raises:
            UsageError: an id is negative or not below V.
        """
        given, known = np.asarray(ids, np.int32), min(self.width, self.network.ids)
        outside = np.argwhere((given < 0) | (given >= known))
        if len(outside):
            raise UsageError(
                f"{len(outside):,} ids that the model does not have, the first {given[tuple(outside[0])]}: its ids run "
                f"from 0 to {known - 1:,}"
            )
        place = {(slot.layer, slot.slot): k for k, slot in enumerate(self.slots)}
        states = [
            [np.array(state[place[layer.name, slot]], self.network.dtype) for slot in layer.slots]
            for layer in self.layers
        ]
        batch, time = given.shape
        logits = np.empty((time, batch, self.width), self.network.dtype)

        def take(start: int, hidden: Floats) -> None:
            flat = through(self.network.head, hidden.reshape(-1, hidden.shape[2]))
            logits[start : start + len(hidden)] = flat.reshape(len(hidden), batch, self.width)

        with one_blas_thread():
            Block(self.network, batch).run(np.ascontiguousarray(given.T), states, take)
        after = {
            (layer.name, slot): part
            for layer, parts in zip(self.layers, states, strict=True)
            for slot, part in zip(layer.slots, parts, strict=True)
        }
        return logits.swapaxes(0, 1), tuple(after[slot.layer, slot.slot] for slot in self.slots)

    def check_wiring(self, *, declare: Iterable[str] = (), seed: int = 0) -> Wiring:
        """Return the wiring, which is right by construction: each layer is given its own last state.

        The record says of flows and verdict what the check of the same Keras model says. Its tests of behaviour are
        left out: they are of the Keras model.

        Raises:
            UsageError: a declaration is not one, or names a layer that the model does not have.
        """
        declared = parse_declarations(declare)
        author = self.checkpoint.contract != 4
        units = tuple(
            UnitFact(
                name=layer.name,
                path=layer.path,
                kind=layer.kind,
                slots=layer.slots,
                stateful=self.checkpoint.contract == 3,
            )
            for layer in self.layers
        )
        require_known(declared, units)
        count = len(units)
        events = tuple(
            Event(unit=k, call=call, steps=2, descends=frozenset(range(call * count, call * count + k)))
            for call in range(_CALLS)
            for k in range(count)
        )
        arrivals = tuple(
            Arrival(
                event=number,
                slot=slot,
                sources=frozenset({Source(number - count, slot)} if author and event.call else ()),
                born=None if author and event.call else event.call,
            )
            for number, event in enumerate(events)
            for slot in range(len(units[event.unit].slots))
        )
        given = self.checkpoint.contract == 2
        return wiring_of(
            Facts(
                units=units,
                events=events,
                arrivals=arrivals,
                takes_states=given,
                gives_states=given,
                wired_by="author" if author else "rnneval",
                calls=_CALLS,
                declared=declared,
            )
        )


@on_path(OpenOptions)
def open_numpy(path: str | os.PathLike[str], options: OpenOptions) -> NumpyLM:
    """Open a saved model of known layers, without TensorFlow and Keras.

    Args:
        path: A `.keras` or `.h5` file of Keras 2 or 3.
        options: Keyword arguments, each a field of `OpenOptions`, as for `rnneval.open`.

    Raises:
        NotForNumpyError: only Keras can run it; names the first layer that NumPy does not run.
        CheckpointError: what is at `path` is no checkpoint, is damaged, or breaks a rule.
        VocabularyError: the vocabulary given is not a one-to-one map, or does not fit the model.
        UsageError: a builder is needed.
    """
    with without_current_folder(), private_copy(Path(path)) as artefact:
        sha256 = require_sha256(artefact, options.expect_sha256)
        if not isinstance(options.vocabulary, (Vocabulary, str, os.PathLike, Sequence, Mapping, type(None))):
            raise not_for_numpy(str(artefact.path), f"a vocabulary of class {type(options.vocabulary).__name__}")
        given = given_vocabulary(options.vocabulary, options.vocabulary_from)
        require_builder(artefact, has_builder=options.builder is not None)
        if options.builder is not None or artefact.format not in FULL_MODELS:
            raise not_for_numpy(str(artefact.path), "a model that is made by code of your own (--builder)")
        if options.window is not None:
            raise not_for_numpy(str(artefact.path), "a window model (--window)")
        with private_model(artefact) as model:
            try:
                lm = _opened(model, artefact, sha256)
            except _BROKEN as error:
                raise not_for_numpy(
                    str(artefact.path), f"its configuration cannot be read ({type(error).__name__}: {error})"
                ) from error
    if given is not None:
        return replace(lm, vocabulary=given.fit(lm.width))
    try:
        return replace(lm, vocabulary=find_vocabulary(artefact.path, lm.width).fit(lm.width))
    except VocabularyError as error:
        return replace(lm, why_no_vocabulary=str(error))


def _opened(model: FullModel, artefact: Artefact, sha256: str) -> NumpyLM:
    """Make the language model of a private copy of the file."""
    shown, config = str(artefact.path), model.config
    notes: tuple[str, ...] = ()
    if model.keras2:
        rewritten = rewrite(config, path=shown, version=model.version)
        config, notes = rewritten.config, rewritten.notes
    chain = chain_of(config, shown)
    dtype = _dtype(chain, shown)
    weights, more = read_weights(chain, model, shown=shown, dtype=dtype)
    notes = (*notes, *more, *_about_halves(chain))
    width = _require_tokens_out(chain, weights, shown)
    kind, said = _inputs(chain, width, shown)
    softmax = _final_softmax(chain.entries)
    entries = chain.entries if softmax is None else _linear(chain.entries, softmax)
    scaled = width if kind == "scaled" else None
    recipe = Recipe(entries=entries, weights=tuple(weights[: len(entries)]), scaled=scaled, dtype=dtype)
    network = recipe.network()
    layers = tuple(
        Layer(name=e.name, path=e.path, kind=e.kind, units=int(e.get("units")), slots=cell.cell.slots)
        for e, cell in zip(chain.recurrent, network.stages, strict=True)
    )
    contract = 2 if chain.states else 3 if any(entry.get("stateful") for entry in chain.recurrent) else 4
    own = tuple(Slot(layer=layer.name, slot=slot) for layer in layers for slot in layer.slots)
    return NumpyLM(
        width=width,
        layers=layers,
        slots=tuple(Slot(layer=leaf.layer, slot=leaf.slot) for leaf in chain.states) or own,
        input_kind=kind,
        output_kind="logits" if softmax is None else "probabilities-as-logits",
        assumptions=(*notes, _SAID[contract], said, _output_said(softmax)),
        checkpoint=Checkpoint(
            path=shown,
            sha256=sha256,
            format=artefact.format,
            contract=contract,
            parameters=sum(values.size for held in weights for values in held.values()),
            dtype="float32" if chain.model_dtype in HALVES else chain.model_dtype,
            layers=layers,
        ),
        network=network,
        recipe=recipe,
        layouts=_layout(chain, weights),
    )


def _dtype(chain: Chain, shown: str) -> Any:
    """Return the type in which all layers compute."""
    wide = chain.computed - {"float32", *HALVES}
    if not wide:
        return np.float32
    if chain.computed - wide - ({"float32"} if chain.model_dtype == "float32" else set()):
        raise not_for_numpy(shown, f"layers of the types {' and '.join(sorted(chain.computed))}")
    return np.float64


def _about_halves(chain: Chain) -> tuple[str, ...]:
    named = sorted(name for name in chain.policies if name.removeprefix("mixed_") in HALVES)
    return (f"saved under the policy {' and '.join(named)}: evaluated in float32",) if named else ()


def _require_tokens_out(chain: Chain, weights: Sequence[Weights], shown: str) -> int:
    """Return V, the width of the last layer.

    Raises:
        CheckpointError: one output, or an embedding of more than twice as many ids as there are outputs.
    """
    width = next(int(entry.get("units")) for entry in reversed(chain.entries) if "units" in entry.settings)
    known = int(weights[0]["embeddings"].shape[0]) if chain.entries[0].kind == "Embedding" else width
    if width < 2 or known > 2 * width:
        raise CheckpointError(
            f"{shown}: it reads {known:,} different ids and gives {width:,} number{'s' * (width != 1)} a position: a "
            "classifier or a tagger, and no model of the next token, which gives one for each id"
        )
    return width


def _inputs(chain: Chain, width: int, shown: str) -> tuple[str, str]:
    """Return the form in which ids go in, and the assumption as a sentence."""
    shape = chain.input_shape
    ids = shape is None or len(shape) != 3
    embeds = chain.entries[0].kind == "Embedding"
    if ids != embeds or (shape is not None and len(shape) not in {2, 3}):
        raise not_for_numpy(
            shown, f"layer {chain.entries[0].name} ({chain.entries[0].kind}) reads inputs of shape {shape}"
        )
    if ids or shape is None:
        return "ids", "inputs are integer ids"
    if shape[2] == 1:
        return (
            "scaled",
            f"inputs are ids divided by {width}, the number of outputs (its input has a third axis of 1)",
        )
    if shape[2] != width:
        raise CheckpointError(
            f"{shown}: its input has rows of {shape[2]} numbers and its output {width}: one-hot rows are as long as "
            "the output, and numbers of another meaning cannot be made from a text: put the Embedding into the model"
        )
    return "one-hot", f"inputs are one-hot rows of {width} numbers (its input has a third axis of that length)"


def _final_softmax(entries: Sequence[Entry]) -> Entry | None:
    """Return the last layer if it makes probabilities."""
    last = entries[-1]
    is_softmax = last.kind == "Softmax" or activation_name(last.get("activation")) == "softmax"
    return last if is_softmax else None


def _linear(entries: Sequence[Entry], softmax: Entry) -> tuple[Entry, ...]:
    """Return the layers without the final softmax."""
    if softmax.kind != "Dense":
        return tuple(entries[:-1])
    return (*entries[:-1], replace(softmax, settings={**softmax.settings, "activation": "linear"}))


def _output_said(softmax: Entry | None) -> str:
    if softmax is None:
        return "outputs are logits (rows do not sum to one)"
    return f"outputs are probabilities: the softmax of layer {softmax.own_name} is left out, which gives logits"


def _layout(chain: Chain, weights: Sequence[Weights]) -> Layout:
    """Describe the states and gates of the recurrent layers, in the order in which they run."""
    layout = Layout()
    for entry, held in zip(chain.entries, weights, strict=True):
        if entry.kind not in SLOTS:
            continue
        bounded = activation_name(entry.get("activation", "tanh")) == "tanh"
        for slot in SLOTS[entry.kind]:
            limit = LIMITS[slot] if bounded else None
            state = LayerState(layer=entry.name, slot=slot, units=int(entry.get("units")), limit=limit)
            layout.states[state.key] = state
        layout.cells[entry.name] = () if entry.kind == "SimpleRNN" else (_gated(entry, held),)
    return layout


def _gated(entry: Entry, weights: Weights) -> GatedCell:
    held: dict[str, NDArray[np.float32]] = {role: np.asarray(array, np.float32) for role, array in weights.items()}
    gated = gates.Gated(
        kind=entry.kind, kernel=held["kernel"], recurrent=held["recurrent_kernel"], bias=held.get("bias")
    )
    function = gate_function(activation_name(entry.get("recurrent_activation", "sigmoid")))
    return GatedCell(prefix="", weights=gated, activation=function, slot=0, below=None)
