"""`from_step`: a language model of any framework, given as a function from ids and a state to logits and a state.

`probe` of step_function.py tries the function and returns the carrier of its state (state.py). `StepLM` is the model
that `rnneval.evaluate` runs. A `StepScorer` makes one call for each segment; between two calls each row has a vector:

```text
                     ids (rows, time) ──────────┐
                                                ▼                      ┌─► logits ── score_logits ─► Predicted
vectors (rows, D) ── carrier.unpack ─► state ─► StepFunction (the user's)
                                                                       └─► state ── carrier.pack ─► vectors (rows, D)
```

The first vectors are `carrier.start()`, once for each row. Rows that cannot share a call are divided by
`carrier.groups`. Where states are observed after each token, a segment is read in calls of one token.
"""

import hashlib
import math
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rnneval.checkpoints.places import hash_of
from rnneval.errors import CheckpointError, UsageError
from rnneval.models.protocol import (
    LanguageModel,
    LayerState,
    Layout,
    Predicted,
    Sees,
    Shape,
    Stepped,
    Trajectories,
    Trajectory,
    Vectors,
)
from rnneval.models.scoring import score_logits
from rnneval.models.state import StateCarrier, StateLeaf, as_array, leaves_of
from rnneval.models.step_function import StepFunction, probe
from rnneval.records.run import Checkpoint
from rnneval.text import Vocabulary, given_vocabulary

if TYPE_CHECKING:
    from rnneval.models.torch.recurrent import RecurrentModules

_ROWS, _TOKENS = 2, 64  # of the text whose logits tell one model from another
_OPAQUE = "it is no nest of arrays that NumPy can read, or its containers change from call to call"


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class StepLM(LanguageModel):
    """A language model given as a step function; `from_step` makes it."""

    backend: ClassVar[str] = "step"
    kernel: ClassVar[str] = "step"
    function: StepFunction
    carrier: StateCarrier  # what carries its state from call to call
    observer: "RecurrentModules | None" = None  # what sees the states in calls of many tokens
    names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Names of arrays of the state by their paths, where modules of PyTorch made them: one for each layer."""

    @property
    def leaves(self) -> tuple[StateLeaf, ...]:
        """The arrays of its state, as far as they are known."""
        return self.carrier.leaves

    @property
    def memory_cells(self) -> bool:
        """True if a module of PyTorch holds c, as LSTMs do: they forget late."""
        return any(re.search(r"\.c(\[\d+\])?$", name) for names in self.names.values() for name in names)

    def initial_state(self, batch: int) -> Any:
        """Return the initial state of `batch` rows, as the user's function makes it."""
        return self.function.begin(batch)

    def step(self, ids: NDArray[np.int32], state: Any) -> tuple[NDArray[Any], Any]:
        """Read ids `(batch, time)` from a state; return logits `(batch, time, V)` of NumPy and the user's own state."""
        return self.function(ids, state)

    def weights_moved(self, draw: int) -> "StepLM | None":
        """Return a copy of a model of PyTorch with each weight moved by ± one unit in the last place."""
        return self._as_torch("moved_copy", draw)

    def in_dtype(self, dtype: str) -> "StepLM | None":
        """Return a copy of a model of PyTorch in another type."""
        return self._as_torch("widened", dtype)

    def _as_torch(self, method: str, argument: Any) -> "StepLM | None":
        """Return what a method of a step of PyTorch makes of the model; None of any other step."""
        copied: Callable[..., StepLM] | None = getattr(self.function.step, method, None)
        return None if copied is None else copied(self, argument)

    def start(self) -> Vectors:
        """Return the initial state, `(D,)`; zeros stand for one that has no vector of its own."""
        return self.carrier.start()

    def scorer(self, shape: Shape, *, padded: bool = True, sees: Sees = "losses") -> "StepScorer":
        """Prepare steps of at most one shape; `padded` changes nothing."""
        if sees == "losses":
            return StepScorer(self, None, None)
        if self.mixable and self.observer is not None:
            return StepScorer(self, self.observer.layout(sees, shape.segment), self.observer)
        return StepScorer(self, _layout(self, sees, call=1 if self.every_token else shape.segment), None)

    def named(self, path: str) -> tuple[str, str]:
        """Return the layer and the part of its state that a path stands for, by the path if no one layer has a name."""
        names = self.names.get(path, ())
        if len(names) != 1:
            return layer_and_slot(path)
        layer, _, slot = names[0].rpartition(".")
        return layer, slot


def from_step(
    step: Callable[[NDArray[np.int32], Any], Any],
    initial_state: Callable[[int], Any] | None = None,
    *,
    vocab_size: int | None = None,
    vocabulary: Vocabulary | str | os.PathLike[str] | Sequence[str] | Mapping[str, int] | None = None,
    name: str = "step",
    checkpoint: str | os.PathLike[str] | None = None,
    batched: bool = True,
    every_token: bool = False,
) -> StepLM:
    """Make a language model of a step function, so that a model of any framework can be evaluated.

    The function is called a few times at once, to find the batch axis of each array of its state. Arrays may be of any
    library that NumPy can read on the CPU (PyTorch, JAX, TensorFlow); the state that the function is given has the
    containers and the types that it returned.

    Args:
        step: Called as `step(ids, state)` with ids of type int32 and shape `(batch, time)`, time ≥ 1. Returns logits
            `(batch, time, V)` and the state after the last token: an array, or a tuple, list, dict, dataclass or other
            object that holds arrays, which it must not change: a state is used again. Three kinds of state are read in
            one row, which is slower: an array that grows with the text, as a cache does; containers that change from
            call to call, as a new list with one more item does; an object without arrays that NumPy can read, which
            `step` may change in place. Of the last two it is not tested whether each part is used.
        initial_state: Called as `initial_state(batch)` for the state before the first token; None where `step` takes
            None for that.
        vocab_size: V, the number of logits; by default the number of tokens of the vocabulary.
        vocabulary: A Vocabulary, the tokens in the order of their ids, a map from token to id, or a vocabulary file. It
            is needed to evaluate the model.
        name: Name of the model in messages, records and reports.
        checkpoint: File of the weights, for the record: its path and hash. By default the record has a hash of logits.
        batched: Whether `step` reads several rows; give False for a function that reads one row at a time.
        every_token: Whether the state is observed after every token, for summaries and traces of states. `step` is then
            called for one token at a time, which takes longer.

    Raises:
        CheckpointError: the function fails, returns other shapes, or has a state that cannot be carried.
        VocabularyError: the vocabulary is not a one-to-one map, or does not fit the number of logits.
        UsageError: neither `vocab_size` nor `vocabulary` is given.

    Example:
        A model whose logits prefer the token that was most frequent so far, by a running count:

        >>> def step(ids, counts):
        ...     seen = counts[:, None] + np.cumsum(np.eye(3)[ids], axis=1)
        ...     return np.log(1 + seen), seen[:, -1]
        >>> lm = from_step(step, lambda batch: np.zeros((batch, 3)), vocabulary=["a", "b", "c"])
        >>> lm.width, lm.start().tolist(), lm.mixable
        (3, [0.0, 0.0, 0.0], True)
    """
    tokens, source = given_vocabulary(vocabulary), ""
    if vocab_size is None:
        if tokens is None:
            raise UsageError("from_step needs the number of logits: give vocab_size=V, or a vocabulary")
        vocab_size, source = tokens.first_id + tokens.size, tokens.source
    function = StepFunction(step=step, initial_state=initial_state, width=vocab_size, source=source)
    carrier, repeatable = probe(function, separate=not batched)
    return StepLM(
        function=function,
        width=vocab_size,
        vocabulary=None if tokens is None else tokens.fit(vocab_size),
        why_no_vocabulary="" if tokens else "no vocabulary was given: give --vocab FILE",
        checkpoint=_checkpoint(function, checkpoint, name, rows=_ROWS if batched else 1),
        assumptions=_assumptions(carrier),
        carrier=carrier,
        repeatable=repeatable,
        mixable=carrier.mixable,
        batched=batched,
        every_token=every_token,
    )


def _assumptions(carrier: StateCarrier) -> tuple[str, ...]:
    """Return what the probe learnt of the state, a sentence each."""
    if not carrier.is_nest:
        return (f"its state is carried as it is, in one row: {_OPAQUE}",)
    counting = "counts tokens or calls and changes no prediction: it is not compared"
    sentences = [f"{leaf.path} {counting}" for leaf in carrier.leaves if leaf.kind == "counter"]
    if memory := [leaf for leaf in carrier.leaves if leaf.kind == "memory"]:
        more = f" and {len(memory) - 1} other arrays grow" if len(memory) > 1 else " grows"
        size = f"an attention memory of {sum(leaf.growth for leaf in memory):,} bytes a token"
        kept = "it is kept whole, and a text whose state is carried is read in one row"
        sentences.append(f"{memory[0].path}{more} with the text, {size}: {kept}")
    return tuple(sentences)


def _checkpoint(function: StepFunction, path: str | os.PathLike[str] | None, name: str, *, rows: int) -> Checkpoint:
    """Describe the origin of the weights: a file, or the logits of a fixed text."""
    logits, _ = function(function.random_ids(rows, _TOKENS), function.begin(rows))
    try:
        sha256 = hashlib.sha256(logits.tobytes()).hexdigest() if path is None else hash_of(Path(path))
    except OSError as error:
        raise CheckpointError(f"checkpoint {path} cannot be read: {error.strerror}") from error
    return Checkpoint(
        path="" if path is None else os.fspath(path),
        sha256=sha256,
        format="step",
        contract=1,
        parameters=0,
        dtype=logits.dtype.name,
        layers=(),
        name=name if path is None else None,
    )


def _layout(lm: StepLM, sees: Sees, *, call: int) -> Layout:
    """Describe the states that a step shows, and why it does not show others; of complex numbers it shows |s|."""
    layout = Layout(missing={"any gate": "a step function shows no gates"} if sees == "gates" else {}, call=call)
    if not lm.carrier.is_nest:
        layout.missing["any state"] = _OPAQUE
        return layout
    for leaf in lm.leaves:
        layer, slot = lm.named(leaf.path)
        units, is_memory = math.prod(leaf.shape), leaf.kind == "memory"
        state = LayerState(layer=layer, slot=slot, units=units, limit=None, is_memory=is_memory)
        if is_memory and leaf.along is None:
            layout.missing[state.key] = "it grows with the text, and not along one axis"
        elif leaf.kind in {"state", "memory"} and leaf.dtype.kind in "fc" and leaf.size:
            layout.states[state.key] = state
    return layout


def layer_and_slot(path: str) -> tuple[str, str]:
    """Return the layer and the part of its state that a path stands for; no two paths have the same.

    Example:
        >>> layer_and_slot("state['encoder'][0].h"), layer_and_slot("state['encoder.h']"), layer_and_slot("state")
        (('state.encoder[0]', 'h'), ('state', "['encoder.h']"), ('state', 'value'))
    """
    plain = re.sub(r"\['(\w+)'\](?=[.\[]|$)", r".\1", path)  # a key that could be an attribute is written as one
    # The last step is `.name`, `[number]`, or the bracket of a key that is no name.
    steps = re.fullmatch(r"(state.*?)(?:\.(\w+)|\[(\d+)\]|(\[(?:'(?:[^'\\]|\\.)*'|\"[^\"]*\"|[^\['\"]*)\]))", plain)
    if steps is None:
        return ("state", "value") if plain == "state" else ("state", plain.removeprefix("state"))
    outer, *last = steps.groups()
    return outer, next(filter(None, last))


class _Observed(NamedTuple):
    """One state as it is observed, by `LAYER.SLOT`."""

    states: dict[str, NDArray[Any]]  # `(rows, units)`
    bytes: dict[str, int]  # of one row, of each memory


class StepScorer:
    """Runs a step function, from the vectors of its states to the vectors after the call."""

    def __init__(self, lm: StepLM, layout: Layout | None, observer: "RecurrentModules | None") -> None:
        """Take the layout of what is observed: by the observer, or else in the states that the step returns."""
        self._lm, self._layout, self._observer = lm, layout, observer
        self._carrier = lm.carrier.fresh()
        self._leaves: dict[str, StateLeaf] = {}  # the arrays that are observed in returned states, by `LAYER.SLOT`
        if layout is not None and observer is None:
            leaf_of_key = {".".join(lm.named(leaf.path)): leaf for leaf in lm.leaves}
            self._leaves = {key: leaf_of_key[key] for key in layout.states}

    def score(self, ids: NDArray[np.int32], targets: NDArray[np.int32], states: Vectors, width: int) -> Stepped:
        """Read ids from states and score the targets; `width` changes nothing."""
        groups = self._carrier.groups(states)
        if len(groups) == 1:
            return self._read(ids, targets, states)
        order = np.argsort(np.concatenate(groups))
        read = [self._read(ids[rows], targets[rows], states[rows]) for rows in groups]

        def joined(*arrays: NDArray[Any]) -> NDArray[Any]:
            return np.concatenate(arrays)[order]

        predicted = Predicted(*map(joined, *(part.predicted for part in read)))
        after = joined(*(part.states for part in read))
        if self._layout is None:
            return Stepped(predicted, after)
        parts = [part.trajectories for part in read if part.trajectories is not None]  # of all: there is a layout
        by_key = {key: Trajectory(*map(joined, *(one.states[key] for one in parts))) for key in self._layout.states}
        inputs = {name: joined(*(one.inputs[name] for one in parts)) for name in self._layout.cells}
        return Stepped(predicted, after, Trajectories(self._layout, by_key, inputs))  # memories are never in groups

    def _read(self, ids: NDArray[np.int32], targets: NDArray[np.int32], vectors: Vectors) -> Stepped:
        """Read rows whose states can go into one call, and observe what the layout lists."""
        state, trajectories = self._carrier.unpack(vectors), None
        if self._layout is None:
            logits, state = self._called(ids, state)
        elif self._observer is not None:
            with self._observer.watching(every_token=self._layout.call == 1) as observations:
                logits, state = self._called(ids, state)
            trajectories = Trajectories(self._layout, *observations())
        else:
            observed = [self._observed(state, len(ids))]
            logits, state = self._called(ids, state, lambda after: observed.append(self._observed(after, len(ids))))
            trajectories = self._of_returned(self._layout, observed)
        return Stepped(score_logits(logits, targets), self._carrier.pack(state, len(ids)), trajectories)

    def _called(
        self, ids: NDArray[np.int32], state: Any, see: Callable[[Any], None] = lambda _: None
    ) -> tuple[NDArray[Any], Any]:
        """Call the step once, or for every token, and let `see` see each state that it returns."""
        pieces = np.arange(1, ids.shape[1] if self._lm.every_token else 1)
        outputs: list[NDArray[Any]] = []
        for number, piece in enumerate(np.split(ids, pieces, axis=1)):
            # The carrier may need the first state again; later ones were copied where they are observed.
            logits, state = self._lm.function(piece, state, last=number > 0)
            outputs.append(logits)
            see(state)
        return outputs[0] if len(outputs) == 1 else np.concatenate(outputs, axis=1), state

    def _of_returned(self, layout: Layout, observed: Sequence["_Observed"]) -> Trajectories:
        """Return the trajectories of the initial state and of those that the calls returned."""
        before, *after = observed
        states = {
            key: Trajectory(np.stack([each.states[key] for each in after], axis=1), before.states[key])
            for key in self._leaves
        }
        rows = len(next(iter(before.states.values()), ()))
        sizes = {key: np.array([[each.bytes[key] for each in after]] * rows) for key in before.bytes}
        return Trajectories(layout, states, {}, sizes)

    def _observed(self, state: Any, rows: int) -> "_Observed":
        """Return what is observed of one state: zeros where there is none yet, and of a memory its last entry."""
        observed: dict[str, NDArray[Any]] = {}
        bytes_of = dict.fromkeys((key for key, leaf in self._leaves.items() if leaf.along is not None), 0)
        arrays, types = leaves_of(state) if self._leaves else {}, self._carrier.observed_types
        for key, leaf in self._leaves.items():
            observed[key] = np.zeros((rows, math.prod(leaf.shape)), types[leaf])
            if leaf.path in arrays:
                array = as_array(arrays[leaf.path], leaf.path)
                if leaf.along is not None:
                    bytes_of[key] = array.size * leaf.itemsize // rows
                    if not array.size:
                        continue
                    array = array.take([-1], leaf.along)
                numbers = leaf.packed(array)
                is_complex = leaf.dtype.kind == "c"
                observed[key][:] = np.hypot(numbers[:, ::2], numbers[:, 1::2]) if is_complex else numbers
        return _Observed(observed, bytes_of)
