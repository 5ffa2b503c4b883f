"""The interface that `rnneval.evaluate` needs of a language model, whichever library runs the model.

All arrays are NumPy's. Scoring stays on the model's side: logits `(rows, time, V)` are large, and never cross. The
checks and sentences that all backends share stand here, too.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

import rnneval
from rnneval.errors import CheckpointError, UsageError
from rnneval.metrics.diagnostics import gates

if TYPE_CHECKING:  # worker processes that only score import this module
    from rnneval.records.run import Checkpoint, LayerRecord, Opened, Warning  # noqa: A004 - the record's own word
    from rnneval.text import Vocabulary

Vectors = NDArray[np.floating[Any]]
"""States as vectors, `(rows, D)` or `(D,)`.

They are float64 only where an array of the state is not float32, since float64 holds every smaller type exactly.
"""

TINY = 1e-30  # the smallest growth of a tangent in one step that is told apart from none
_MOST_NAMED = 5  # weights that are not finite and are named, at most

CARRIED: Mapping[int, str] = {
    2: "state inputs: states go in and come out in the same order; the start is zeros",
    3: "stateful layers: each is given its state, and its own variables stay as they are",
    4: "stateless graph: each recurrent layer is given its state (tested on a random segment)",
}
"""How the state of a graph of layers is carried: a sentence by the number of its state contract, for the record."""

IDS, ONE_HOT, SCALED = "ids", "one-hot", "scaled"  # the forms in which a model reads a token

Sees = Literal["losses", "shown", "states", "gates"]
"""What is observed of a step: losses alone; the states that a model shows at no cost, or those after every token, too;
the inputs of gated layers as well."""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """The shape of a step at its widest: rows side by side, and tokens per row, a segment."""

    rows: int
    segment: int


class Predicted(NamedTuple):
    """Loss, confidence and rank of each target; arrays of shape `(rows, segment)`, or `(n,)` for n tokens."""

    nats: NDArray[np.floating[Any]]
    confidence: NDArray[np.float32]
    rank: NDArray[np.int32]

    def packed(self) -> NDArray[Any]:
        """Return one array whose records have the fields `nats`, `confidence` and `rank`."""
        records = np.empty(self.nats.shape, [(name, array.dtype) for name, array in self._asdict().items()])
        for name, array in self._asdict().items():
            records[name] = array
        return records

    @classmethod
    def of(cls, records: NDArray[Any]) -> "Predicted":
        """Return the fields of records that `packed` made."""
        return cls(records["nats"], records["confidence"], records["rank"])


@dataclass(frozen=True, kw_only=True)
class LayerState:
    """One part of a layer's state: h, c, or what a cell of the author's own has."""

    layer: str
    slot: str
    units: int
    limit: float | None  # |h| beyond which a unit is saturated; None where it has no known bound
    is_memory: bool = False  # whether it is the last entry of an array that grows with the text, as a cache of keys

    @property
    def key(self) -> str:
        """The name in a record."""
        return f"{self.layer}.{self.slot}"


@dataclass(frozen=True, kw_only=True, eq=False)
class GatedCell:
    """One gated cell of a layer."""

    prefix: str = ""  # prefix of its names: `cells[i].` for a cell of a stack, empty for others
    suffix: str = ""  # what follows its names: `[i]` for a layer of a module of PyTorch that has several
    weights: gates.Gated
    activation: Callable[[NDArray[np.float32]], NDArray[np.float32]] | None
    """The function of the gates; None for the logistic function."""
    slot: int  # the index of its h among the layer's states
    below: int | None  # the index of its input among the layer's states; None for the layer's own input

    @property
    def names(self) -> tuple[str, ...]:
        """The names of its gates."""
        return tuple(map(self._named, gates.NAMES[self.weights.kind]))

    @property
    def keeps(self) -> str:
        """The gate whose logarithm is the time constant."""
        return self._named(gates.KEEPS[self.weights.kind])

    def _named(self, name: str) -> str:
        return self.prefix + name + self.suffix

    def activations(self, inputs: Any, before: Any) -> tuple[dict[str, Any], Any]:
        """Return each gate `(n, units)`, and ln of the one that keeps."""
        into = gates.preactivations(self.weights, inputs, before)
        function = gates.sigmoid if self.activation is None else self.activation
        values: dict[str, Any] = {self._named(name): function(a) for name, a in into.items()}
        if self.activation is None:
            return values, gates.log_sigmoid(into[gates.KEEPS[self.weights.kind]])
        return values, np.log(np.maximum(values[self.keeps], np.finfo(np.float32).tiny))


@dataclass(kw_only=True)
class Layout:
    """The states and gates that the steps of a model show."""

    states: dict[str, LayerState] = field(default_factory=dict)  # by `LAYER.SLOT`
    cells: dict[str, tuple[GatedCell, ...]] = field(default_factory=dict)  # the gated cells, by the layer's name
    missing: dict[str, str] = field(default_factory=dict)  # reasons why there is nothing to see, by layer or state
    call: int = 1  # tokens of the calls at whose ends alone states are known; 1 where they are known at every token


class Trajectory(NamedTuple):
    """A state after every token of a step, and before the first."""

    states: NDArray[Any]  # (rows, time, units); time is 1 where a state is known at the ends of calls alone
    before: NDArray[Any]  # (rows, units)


class Trajectories(NamedTuple):
    """Observations of a step; the arrays may have more rows and tokens than were asked for."""

    layout: Layout
    states: Mapping[str, Trajectory]  # by the keys of `layout.states`
    inputs: Mapping[str, NDArray[Any]]  # inputs of each layer of `layout.cells` that has gates, `(rows, time, inputs)`
    bytes: Mapping[str, NDArray[np.int64]] = {}  # of a row's memories, by the keys of `layout.states`, `(rows, time)`


class Stepped(NamedTuple):
    """Result of one step; the arrays may have more rows and tokens than were asked for."""

    predicted: Predicted
    states: Vectors  # the state after the step, `(rows, D)`
    trajectories: Trajectories | None = None  # None if only losses are observed


class Scorer(Protocol):
    """Runs a model step by step and scores its predictions."""

    def score(self, ids: NDArray[np.int32], targets: NDArray[np.int32], states: Vectors, width: int) -> Stepped:
        """Read ids `(rows, time)` from states `(rows, D)` and score the targets `(rows, time)`, the token after each.

        Rows that end early repeat an id; what follows is not counted. `width` is the most rows that this run reads side
        by side, for backends that compile steps. It is a `CheckpointError` if the model's own code fails.
        """


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class LanguageModel:
    """A recurrent language model as `rnneval.evaluate` sees it; a subclass for each library runs it."""

    backend: ClassVar[str]  # the library that runs it: `keras`, `numpy` or `step`
    kernel: ClassVar[str]  # the implementation of its layers, for the record: `layers` of Keras, `numpy` or `step`
    width: int  # V, the number of logits
    checkpoint: "Checkpoint"  # the file that it came from, its layers and the number of its parameters
    vocabulary: "Vocabulary | None" = None  # the vocabulary, without which no text can be read
    why_no_vocabulary: str = ""  # the places where no vocabulary was found, and what to give
    assumptions: tuple[str, ...] = ()  # assumptions that were made on opening, a sentence each
    warnings: "tuple[Warning, ...]" = ()  # warnings of the file, for every record of a run
    input_kind: str = "ids"  # the form in which it reads a token, for the record
    output_kind: str = "logits"  # or `probabilities-as-logits`, or `probabilities`, whose losses are float64
    mixable: bool = True  # whether rows of one batch may start at different times
    batched: bool = True  # whether it reads several rows in one call
    chunk: int = 1  # number of tokens that it reads at once inside of a call, where shorter calls cost as much; else 1
    differs_by_cut: str = ""  # how one call and several were seen to differ: measured only if the wiring check says why
    repeatable: bool = True  # whether the same ids give the same logits; else a run is not valid
    every_token: bool = False  # whether each token is a call, so that the state after it is seen
    window: int | None = None  # N of a window model, which predicts from the last N tokens alone

    @property
    def layers(self) -> "tuple[LayerRecord, ...]":
        """The recurrent layers, each at each of its places in a call, in the order in which they run."""
        return self.checkpoint.layers

    @property
    def memory_cells(self) -> bool:
        """True if a layer has memory cells, as an LSTM has: such a model forgets slowly."""
        return any(slot.rpartition(".")[2] == "c" for layer in self.layers for slot in layer.slots)

    @property
    def device(self) -> str:
        """The kind of device that it runs on, such as `CPU`."""
        return "CPU"

    def start(self) -> Vectors:
        """Return the model's initial state, `(D,)`."""
        raise NotImplementedError

    def scorer(self, shape: Shape, *, padded: bool = True, sees: Sees = "losses") -> Scorer:
        """Prepare the model for steps of at most one shape; `padded`: short segments may be filled up to its length."""
        raise NotImplementedError

    def initial_state(self, batch: int) -> Any:
        """Return the state before the first token of `batch` rows, as `step` takes it."""
        raise NotImplementedError

    def step(self, ids: Any, state: Any) -> tuple[Any, Any]:
        """Read ids `(batch, time)` from a state; return logits `(batch, time, V)` and the new state."""
        raise NotImplementedError

    def stepper(self) -> Callable[[NDArray[np.int32], Any], tuple[Any, Any]]:
        """Return what does as `step` does, fast in many calls of one length."""
        return self.step

    def weights_moved(self, draw: int) -> "LanguageModel | None":
        """Return a model with each weight moved by ± one unit in the last place; None if it shows no weights."""
        return None

    def in_dtype(self, dtype: str) -> "LanguageModel | None":
        """Return the model with its weights in another type; None if it cannot be made."""
        return None

    def __repr__(self) -> str:
        """Return its name and size, its layers, and its vocabulary."""
        layers = ", ".join(f"{layer.name} ({layer.kind} {layer.units})" for layer in self.layers)
        known = "none: give vocabulary=…"
        if self.vocabulary is not None:
            known = f"{self.vocabulary.size:,} tokens ({self.vocabulary.source})"
        size = f"{self.checkpoint.parameters:,} parameters, " if self.checkpoint.parameters else ""
        return (
            f"<{type(self).__name__} {self.checkpoint.title!r}: {size}{self.width:,} logits\n"
            f"  layers: {layers or 'none is seen'}\n"
            f"  vocabulary: {known}>"
        )

    def _repr_html_(self) -> str:
        return rnneval.as_html(self)


class IdSource(Protocol):
    """Source of the ids of a text."""

    def ids(self, start: int, stop: int) -> NDArray[np.int32]:
        """Return the ids of tokens start to stop."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """A position in a text, and the state there."""

    at: int  # position of the next input token
    state: Vectors  # the state before it, `(D,)`


def place_name(name: str, place: int) -> str:
    """Return the name of a layer at a place, counted from 1: `gru`, `gru#2`."""
    return name if place == 1 else f"{name}#{place}"


def places_of(steps: Sequence[int], tokens: int, linked: Callable[[int, int], bool]) -> tuple[int, ...]:
    """Return the place of each run of one layer in one call over `tokens` tokens, counted from 1.

    A layer that reads two streams has a state at each of its two places, each of which reads every token once. Runs of
    which each goes on from the state of the last are one place. `steps` are the tokens that each run read, in order;
    `linked` says of an earlier and a later run whether the state of the later was made by the earlier.

    Example:
        >>> places_of([5, 5], 5, lambda a, b: False), places_of([1, 1], 2, lambda a, b: True)  # two streams; a loop
        ((1, 2), (1, 1))
        >>> places_of([1, 1, 1, 1], 2, lambda a, b: b == a + 2)  # a loop over the tokens of two streams
        (1, 2, 1, 2)
    """
    count, one_place = len(steps), (1,) * len(steps)
    if all(linked(a, b) for a, b in pairwise(range(count))):
        return one_place
    if min(steps) >= tokens:
        return tuple(range(1, count + 1))
    places, rest = divmod(sum(steps), tokens)
    if rest or places < 2 or count % places:
        return one_place
    each = count // places  # runs at a place: one after the other, or by turns with those of other places
    by_turns = sum(linked(run, run + places) for run in range(count - places))
    in_blocks = sum(linked(run, run + 1) for run in range(count - 1) if (run + 1) % each)
    return tuple(run % places + 1 if by_turns >= in_blocks else run // each + 1 for run in range(count))


def about_transformer(name: str, layer: str) -> str:
    """Return the message about a model with attention that carries no state."""
    return (
        f"{name} is a Transformer (attention in {layer}) that carries no state from one call to the next: use "
        "lm-evaluation-harness, or rnneval.from_losses for losses that you have; if it keeps a cache of keys and "
        "values, rnneval.from_step with the cache as the state, or rnneval.from_transformers"
    )


def require_carried(lm: LanguageModel, what: str) -> None:
    """Refuse a window model for a command that needs a carried state."""
    if lm.window is not None:
        said = f"a window model predicts from the last {lm.window} tokens alone: it carries no state to {what}"
        raise UsageError(f"{said}; rnneval evaluate measures it")


def require_finite(weights: Iterable[tuple[str, Any]], place: str = "") -> None:
    """Refuse weights, names and arrays, of which a number is not finite; arrays of whole numbers pass.

    >>> require_finite([("gru/bias", np.array([0.0, np.nan, -np.inf]))], "model.keras")
    Traceback (most recent call last):
    ...
    rnneval.errors.CheckpointError: model.keras: weight gru/bias has 1 NaN and 1 infinite: the training diverged; \
take an earlier checkpoint
    """
    faults = []
    for name, weight in weights:
        values = np.asarray(weight)
        if values.dtype.kind in "fV":  # bfloat16 is of kind V
            numbers = values if values.dtype.kind == "f" else values.astype(np.float32)
            faulty = (np.isnan(numbers).sum(), "NaN"), (np.isinf(numbers).sum(), "infinite")
            if counts := [f"{count} {what}" for count, what in faulty if count]:
                faults.append(f"weight {name} has {' and '.join(counts)}")
    if faults:
        listed = "; ".join(faults[:_MOST_NAMED]) + "; …" * (len(faults) > _MOST_NAMED)
        where = f"{place}: " if place else ""
        raise CheckpointError(f"{where}{listed}: the training diverged; take an earlier checkpoint")


def one_unit_off(values: NDArray[Any], generator: np.random.Generator) -> NDArray[Any]:
    """Return weights, each moved by ± one unit in the last place."""
    ends = generator.choice(np.array([-np.inf, np.inf], values.dtype), values.shape)
    return np.asarray(np.nextafter(values, ends))


def require_ids(ids: NDArray[Any], size: int) -> None:
    """Refuse ids that are negative or not below `size`."""
    outside = np.argwhere((ids < 0) | (ids >= size))
    if len(outside):
        first = tuple(outside[0].tolist())
        seen = f"{len(outside):,} ids that the model does not have, the first {ids[first]} at {first}"
        raise UsageError(f"{seen}: its ids run from 0 to {size - 1:,}")


def input_kind_of(shape: Sequence[int | None] | None, width: int, place: str = "") -> str:
    """Return the form in which a model with so many outputs reads a token, by the shape of its input."""
    if shape is None or len(shape) != 3:
        return IDS
    if shape[2] in (1, width):
        return SCALED if shape[2] == 1 else ONE_HOT
    seen = f"{place}its input has rows of {shape[2]} numbers and its output {width}"
    raise CheckpointError(f"{seen}: one-hot rows are as long as the output: put an Embedding into the model")


def input_in_words(kind: str, width: int) -> str:
    """Return the assumption about the inputs of a model, as a sentence."""
    return {
        IDS: "inputs are integer ids",
        ONE_HOT: f"inputs are one-hot rows of {width} numbers (its input has a third axis of that length)",
        SCALED: f"inputs are ids divided by {width}, the number of outputs (its input has a third axis of 1)",
    }[kind]


def require_next_token(inputs: int, width: int, place: str = "") -> None:
    """Refuse a model that reads `inputs` different ids and has one output, or many more ids than outputs."""
    if width < 2 or inputs > 2 * width:
        seen = f"{place}it reads {inputs:,} different ids and gives {width:,} number{'s' * (width != 1)} a position"
        raise CheckpointError(f"{seen}: a classifier or a tagger, and no model of the next token")


def opened(lm: LanguageModel) -> "Opened":
    """Return the record of what was recognised in a model, which `rnneval open` shows."""
    from rnneval.records.run import InputRecord, Opened, OutputRecord, VocabularyRecord

    return Opened(
        checkpoint=lm.checkpoint,
        input=InputRecord(kind=lm.input_kind),
        output=OutputRecord(kind=lm.output_kind),
        width=lm.width,
        vocabulary=VocabularyRecord.of(lm.vocabulary),
        why_no_vocabulary=None if lm.vocabulary else lm.why_no_vocabulary or None,
        assumptions=lm.assumptions,
        warnings=lm.warnings or None,
    )
