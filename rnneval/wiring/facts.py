"""The facts that one probing of a model gathered: frozen values without TensorFlow objects, the input of every finder.

A *unit* is a recurrent layer, or a cell called outside of one. An *event* is one run of a unit; events are numbered in
the order in which they ran. An *arrival* is one part of the state (an LSTM's h, say) that went into an event.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from rnneval.errors import UsageError
from rnneval.records.wiring import TestResult

ONE_ROW, TRAINING = "for a batch of one row", "with training=True"  # the other settings in which a model is probed
OF_A_LAYER = ("stateless", "shared", "mixed", "chunked")
_FLAGS: dict[str, dict[str, Any]] = {
    "causal=false": {"causal": False},
    "causal=true": {"causal": True},
    "chunked=false": {"depends_on_cuts": False},
    "chunked=true": {"depends_on_cuts": True},
    "scaled=call": {"depends_on_cuts": True, "scaled_by_call": True},
}
"""Declarations of no layer, and the fields that they set."""
_OFFERED = ("causal=false", "chunked=true", "scaled=call")  # those of them that change anything


@dataclass(frozen=True, kw_only=True)
class UnitFact:
    """A recurrent layer, or a cell called outside of one."""

    name: str
    path: str
    kind: str
    slots: tuple[str, ...]
    is_layer: bool = True
    stateful: bool = False
    twin: int | None = None  # number of the unit that is the other direction of the same Bidirectional
    layer: str = ""  # the layer's own name, if `name` is that of one of its places, such as `gru#2`
    place: int = 1  # number of the place in a call, from 1 (`places_of`): two streams have two
    reused: bool = False  # whether the layer reads, in one call, outputs of its own from that call
    cells: tuple[tuple[str, int], ...] = ()  # the place of each cell in it, and the number of the object

    @property
    def names(self) -> frozenset[str]:
        """The names that a declaration may use for it; that of a Bidirectional stands for both of its directions."""
        own = {self.name, self.path, self.layer or self.name}
        return frozenset(own if self.twin is None else own | {name.rpartition(".")[0] for name in own})


@dataclass(frozen=True, order=True, slots=True)
class StateSource:
    """One part of the new state that one event gave; if `incoming`, the initial state that went *into* the event."""

    event: int
    slot: int
    incoming: bool = False


@dataclass(frozen=True, kw_only=True)
class Spot:
    """A place in the model: the line of its author's source, or the layer, or both."""

    layer: str | None = None
    file: str | None = None
    line: int | None = None


@dataclass(frozen=True, kw_only=True)
class UnitEvent:
    """One run of a unit."""

    unit: int
    call: int
    steps: int  # number of tokens that it read: 1 for a cell
    at: Spot = Spot()  # the line that called it; a graph of layers has none
    descends: frozenset[int] = frozenset()  # the events of whose outputs its input was made, also through others
    reads: frozenset[str] = frozenset()  # the inputs of the model of which its input was made: `ids`, or `ids1`


@dataclass(frozen=True, kw_only=True)
class StateArrival:
    """One part of the state that went into one event."""

    event: int
    slot: int
    sources: frozenset[StateSource] = frozenset()
    in_place: bool = True  # whether each element that came from a state sits where it sat there (row and unit)
    missing: float = 0.0  # the share of elements that come from no state, where others do
    transformed: bool = False
    noisy: bool = False  # whether random numbers met the state on its way
    random: bool = False  # whether it was drawn at random, with no state in it
    born: int | None = None  # the call in which a tensor that comes from no state was made; None for a variable
    outputs: frozenset[int] = frozenset()  # the events of whose outputs it was made, where it comes from no state
    unknown: str = ""  # reason why its sources could not be seen; empty if they were seen
    kind: str = ""  # `carried`, `crossed`, `stale`, …: what `rnneval.wiring.evidence` makes of it
    foreign: tuple[StateSource, ...] = ()  # the sources that do not belong at this unit, once it has a kind


@dataclass(frozen=True, kw_only=True)
class Trace:
    """The comparison of a `tf.function` with eager execution: see the fault `frozen-trace`."""

    frozen: tuple[tuple[str, Spot], ...] = ()  # how traced logits differ from eager ones, in words, and the place
    uncompared: str = ""  # reason why a trace could not be compared; empty if all were compared
    trap: str = ""  # the function that would freeze the weights if it were called before the model is built


@dataclass(frozen=True, kw_only=True)
class Declarations:
    """Wiring that the author means on purpose: only this separates a right from a wrong bidirectional model."""

    causal: bool = True
    depends_on_cuts: bool = False  # `chunked=true`: the logits depend on how the text is cut into calls
    scaled_by_call: bool = False  # `scaled=call`: all numbers of a call share a scale, so they change each other
    stateless: frozenset[str] = frozenset()
    shared: frozenset[str] = frozenset()
    mixed: frozenset[str] = frozenset()
    chunked: frozenset[str] = frozenset()  # layers whose state is transformed between two calls
    entries: tuple[str, ...] = ()  # as they were written


@dataclass(frozen=True, kw_only=True)
class WiringFacts:
    """Everything that the finders of faults may look at."""

    units: tuple[UnitFact, ...] = ()
    events: tuple[UnitEvent, ...] = ()
    arrivals: tuple[StateArrival, ...] = ()
    returned: tuple[frozenset[StateSource], ...] = ()  # of each call, the sources among the states that it returned
    takes_states: bool = False
    gives_states: bool = False
    wired_by: Literal["author", "rnneval"] = "author"
    calls: int = 0
    tokens: int = 2  # number of tokens that each call read
    at_once: "WiringFacts | None" = None  # units, events and arrivals of one call over the whole text
    oracles: dict[str, TestResult] = field(default_factory=dict)
    spots: dict[str, Spot] = field(default_factory=dict)  # where an oracle fails, by its name, if known
    variants: "dict[str, tuple[WiringFacts, ...]]" = field(default_factory=dict)
    """The same model in other settings, `ONE_ROW` and `TRAINING`: a fault is what all runs of a setting show."""
    trace: Trace = Trace()
    declared: Declarations = Declarations()
    failure: str = ""  # reason why the model could not be run to the end, in one line

    def unit_of(self, part: StateArrival | StateSource) -> int:
        """Return the number of the unit that a state went into or came from."""
        return self.events[part.event].unit

    def named(self, part: StateArrival | StateSource) -> str:
        """Return the name of a part of a state, such as `gru.h`."""
        unit = self.units[self.unit_of(part)]
        return f"{unit.name}.{unit.slots[part.slot]}"


def parse_declarations(entries: Iterable[str]) -> Declarations:
    """Parse declarations, each `KEY=VALUE`, as `--declare` takes them.

    Raises:
        UsageError: a key or value that is not allowed.
    """
    declared = Declarations(entries=tuple(entries))
    for declaration in declared.entries:
        key, separator, value = (part.strip() for part in declaration.partition("="))
        if flag := _FLAGS.get(f"{key}={value.lower()}"):
            declared = replace(declared, **flag)
        elif key in OF_A_LAYER and value:
            declared = replace(declared, **{key: getattr(declared, key) | {value}})
        else:
            what = declaration if separator else f"{declaration} (there is no = in it)"
            allowed = ", ".join([*_OFFERED, *(f"{key}=LAYER" for key in OF_A_LAYER)])
            raise UsageError(f"--declare {what}: allowed are {allowed}")
    return declared


def require_known(declared: Declarations, units: Sequence[UnitFact]) -> None:
    """Refuse a declaration about a layer that the model does not have: it would be believed to hold."""
    named = declared.stateless | declared.shared | declared.mixed | declared.chunked
    unknown = ", ".join(sorted(named.difference(*(unit.names for unit in units))))
    if unknown:
        layers = ", ".join(sorted({unit.name for unit in units}))
        known = f"its recurrent layers are: {layers}" if layers else f"it shows none: allowed are {', '.join(_OFFERED)}"
        raise UsageError(f"--declare: the model has no layer {unknown}; {known}")
