"""Protocol between `rnneval.evaluate` and a language model, whichever library runs the model.

All arrays are NumPy's. Scoring stays on the model's side: logits `(rows, time, V)` are large, and never cross. The
check of weights and the record of an opened model, which all backends share, stand here, too.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

import rnneval
from rnneval.errors import CheckpointError, UsageError
from rnneval.metrics.diagnostics import gates

if TYPE_CHECKING:  # worker processes that only score import this module
    from rnneval.records.opened import Opened
    from rnneval.records.run import Checkpoint, Warning  # noqa: A004 - the record's own word
    from rnneval.text import Vocabulary

Vectors = NDArray[np.floating[Any]]
"""States as vectors, `(rows, D)` or `(D,)`.

They are float64 only where a leaf is not float32, since float64 holds every smaller type exactly.
"""

_MOST_NAMED = 5  # weights that are not finite and are named, at most

CARRIED: Mapping[int, str] = {
    2: "state inputs: states go in and come out in the same order; the start is zeros",
    3: "stateful layers: each is given its state, and its own variables stay as they are",
    4: "stateless graph: each recurrent layer is given its state (tested on a random segment)",
}
"""How the state of a graph of layers is carried: a sentence by the number of its state contract, for the record."""

Sees = Literal["losses", "states", "gates"]
"""What is observed of a step: losses alone; the states of every layer too; the inputs of gated layers as well."""


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
        dtype = [(name, array.dtype) for name, array in zip(self._fields, self, strict=True)]
        records = np.empty(self.nats.shape, dtype)
        for name, array in zip(self._fields, self, strict=True):
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

    @property
    def key(self) -> str:
        """The name in a record."""
        return f"{self.layer}.{self.slot}"


@dataclass(frozen=True, kw_only=True, eq=False)
class GatedCell:
    """One gated cell of a layer."""

    prefix: str  # prefix of its names: `cells[i].` for a cell of a stack, empty for others
    weights: gates.Gated
    activation: Callable[[NDArray[np.float32]], NDArray[np.float32]] | None
    """The function of the gates; None for the logistic function."""
    slot: int  # the index of its h among the layer's states
    below: int | None  # the index of its input among the layer's states; None for the layer's own input

    @property
    def names(self) -> tuple[str, ...]:
        """The names of its gates."""
        return tuple(self.prefix + name for name in gates.NAMES[self.weights.kind])

    @property
    def keeps(self) -> str:
        """The gate whose logarithm is the time constant."""
        return self.prefix + gates.KEEPS[self.weights.kind]

    def activations(self, inputs: Any, before: Any) -> tuple[dict[str, Any], Any]:
        """Return each gate `(n, units)`, and ln of the one that keeps."""
        into = gates.preactivations(self.weights, inputs, before)
        if self.activation is None:
            found: dict[str, Any] = {self.prefix + name: gates.sigmoid(a) for name, a in into.items()}
            return found, gates.log_sigmoid(into[gates.KEEPS[self.weights.kind]])
        found = {self.prefix + name: self.activation(a) for name, a in into.items()}
        return found, np.log(np.maximum(found[self.keeps], np.finfo(np.float32).tiny))


@dataclass(kw_only=True)
class Layout:
    """The states and gates that the steps of a model show."""

    states: dict[str, LayerState] = field(default_factory=dict)  # by `LAYER.SLOT`
    cells: dict[str, tuple[GatedCell, ...]] = field(default_factory=dict)
    """The gated cells of each layer, by the layer's name."""
    missing: dict[str, str] = field(default_factory=dict)  # reasons why there is nothing to see, by layer or state


class Trajectory(NamedTuple):
    """A state after every token of a step, and before the first."""

    states: NDArray[Any]  # (rows, time, units)
    before: NDArray[Any]  # (rows, units)


class SeenRows(NamedTuple):
    """Observations of neighbouring rows of a step; the arrays may have more rows and tokens than were asked for."""

    rows: int  # number of rows of the step, from the first that is not in the part before
    layout: Layout
    states: Mapping[str, Trajectory]  # by the keys of `layout.states`
    inputs: Mapping[str, NDArray[Any]]  # inputs of each layer of `layout.cells` that has gates, `(rows, time, inputs)`


class Stepped(NamedTuple):
    """Result of one step; the arrays may have more rows and tokens than were asked for."""

    predicted: Predicted
    states: Vectors  # the state after the step, `(rows, D)`
    seen: tuple[SeenRows, ...] = ()  # what was observed, in parts; empty if only losses are


class Scorer(Protocol):
    """Runs a model step by step and scores its predictions."""

    @property
    def kernel(self) -> str:
        """The implementation that ran, for the record."""

    def begin(self) -> None:
        """Begin a reading: what is chosen for speed depends on nothing that was read before."""

    def score(self, ids: NDArray[np.int32], targets: NDArray[np.int32], states: Vectors, width: int) -> Stepped:
        """Read ids `(rows, time)` from states `(rows, D)` and score the targets `(rows, time)`, the token after each.

        Rows that end early repeat an id; what follows is not counted. `width` is the most rows that this run reads side
        by side, for backends that compile steps. It is a `CheckpointError` if the model's own code fails.
        """


class LanguageModel(Protocol):
    """A recurrent language model as `rnneval.evaluate` sees it."""

    @property
    def backend(self) -> str:
        """The library that runs it: `keras`, `numpy` or `step`."""

    @property
    def width(self) -> int:
        """V, the number of logits."""

    @property
    def vocabulary(self) -> "Vocabulary | None":
        """The vocabulary, without which no text can be read."""

    @property
    def why_no_vocabulary(self) -> str:
        """The places where no vocabulary was found, and what to give."""

    @property
    def assumptions(self) -> tuple[str, ...]:
        """Assumptions that were made on opening, a sentence each."""

    @property
    def warnings(self) -> "tuple[Warning, ...]":
        """Warnings of the file, for every record of a run."""

    @property
    def checkpoint(self) -> "Checkpoint":
        """The file that it came from, its layers and the number of its parameters."""

    @property
    def input_kind(self) -> str:
        """The form in which it reads a token, for the record."""

    @property
    def output_kind(self) -> str:
        """`logits`, `probabilities-as-logits` or `probabilities`; losses of the last are float64."""

    @property
    def mixable(self) -> bool:
        """True if rows of one batch may start at different times."""

    @property
    def batched(self) -> bool:
        """True if it reads several rows in one call."""

    @property
    def chunk(self) -> int:
        """Number of tokens that it reads at once inside of a call, where shorter calls cost as much; else 1."""

    @property
    def repeatable(self) -> bool:
        """True if the same ids give the same logits."""

    @property
    def window(self) -> int | None:
        """N of a window model, which predicts from the last N tokens; None where a state is carried."""

    @property
    def memory_cells(self) -> bool:
        """True if a layer has memory cells, as an LSTM has: such a model forgets slowly."""

    @property
    def device(self) -> str:
        """The kind of device that it runs on, such as `CPU`."""

    def start(self) -> Vectors:
        """Return the model's initial state, `(D,)`."""

    def scorer(
        self, shape: Shape, *, kernel: str = "auto", padded: bool = True, sees: Sees = "losses", parallel: bool = True
    ) -> Scorer:
        """Prepare the model for steps of at most one shape.

        `kernel` is the implementation that is asked for, as `--kernel` names it. `padded` says that short segments may
        be filled up to the length of `shape`, `parallel` that more than one core may be used; where it may not, no
        digit depends on the machine.
        """


class Ids(Protocol):
    """Source of the ids of a text."""

    def ids(self, start: int, stop: int) -> NDArray[np.int32]:
        """Return the ids of tokens start to stop."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """A position in a text, and the state there."""

    at: int  # position of the next input token
    state: Vectors  # the state before it, `(D,)`


def about_transformer(name: str, layer: str) -> str:
    """Return the message about a model with attention that carries no state."""
    return (
        f"{name} is a Transformer (attention in {layer}) that carries no state from one call to the next: use "
        "lm-evaluation-harness, or rnneval.from_losses for losses that you have; if it keeps a cache of keys and "
        "values, rnneval.from_step with the cache as the state, or rnneval.from_transformers"
    )


class ShownModel:
    """A model that Python shows in three lines, and a notebook as the table of `rnneval open`."""

    def __repr__(self) -> str:
        """Return its name and size, its layers or else its state, and its vocabulary."""
        lm: Any = self
        found = lm.checkpoint
        layers = ", ".join(f"{layer.name} ({layer.kind} {layer.units})" for layer in found.layers)
        known = (
            f"{lm.vocabulary.size:,} tokens ({lm.vocabulary.source})" if lm.vocabulary else "none: give vocabulary=…"
        )
        size = f"{found.parameters:,} parameters, " if found.parameters else ""
        return (
            f"<{type(self).__name__} {found.path or self._name()!r}: {size}{lm.width:,} logits\n"
            f"  {f'layers: {layers}' if layers else f'state: {self._state_in_words()}'}\n"
            f"  vocabulary: {known}>"
        )

    def _name(self) -> str:
        """Return the name of a model that is no file."""
        return "model in memory"

    def _state_in_words(self) -> str:
        """Return what is known of the state of a model whose layers are not seen."""
        return "no layer seen"

    def _repr_html_(self) -> str:
        return rnneval.as_html(self)


def require_carried(lm: LanguageModel, what: str) -> None:
    """Refuse a window model for a command that needs a carried state."""
    if lm.window is not None:
        raise UsageError(
            f"a window model predicts from the last {lm.window} tokens alone: it carries no state to {what}; "
            "rnneval evaluate measures it"
        )


def require_finite(weights: Iterable[tuple[str, Any]], shown: str = "") -> None:
    """Refuse weights, names and arrays, of which a number is not finite; arrays of whole numbers pass.

    >>> require_finite([("gru/bias", np.array([0.0, np.nan, -np.inf]))], "model.keras")
    Traceback (most recent call last):
    ...
    rnneval.errors.CheckpointError: model.keras: weight gru/bias has 1 NaN and 1 infinite: the training diverged; \
take an earlier checkpoint
    """
    faults = []
    for name, given in weights:
        values = np.asarray(given)
        if values.dtype.kind not in "fV":
            continue
        numbers = values if values.dtype.kind == "f" else values.astype(np.float32)  # bfloat16 is of kind V
        if not np.isfinite(numbers).all():
            nans, infinite = int(np.isnan(numbers).sum()), int(np.isinf(numbers).sum())
            counts = [f"{count} {what}" for count, what in ((nans, "NaN"), (infinite, "infinite")) if count]
            faults.append(f"weight {name} has {' and '.join(counts)}")
    if faults:
        listed = "; ".join([*faults[:_MOST_NAMED], *(["…"] if len(faults) > _MOST_NAMED else [])])
        where = f"{shown}: " if shown else ""
        raise CheckpointError(f"{where}{listed}: the training diverged; take an earlier checkpoint")


def opened(lm: LanguageModel) -> "Opened":
    """Return the record of what was recognised in a model, which `rnneval open` shows."""
    from rnneval.records.opened import Opened
    from rnneval.records.run import InputRecord, OutputRecord, VocabularyRecord

    return Opened(
        checkpoint=lm.checkpoint,
        input=InputRecord(kind=lm.input_kind),
        output=OutputRecord(kind=lm.output_kind),
        width=lm.width,
        vocabulary=VocabularyRecord.of(lm.vocabulary),
        why_no_vocabulary=lm.why_no_vocabulary or None,
        assumptions=lm.assumptions,
        warnings=lm.warnings or None,
    )
