"""The provenance of states: from a recording to the sources of each state that went into its events.

Sources are found in three ways: by the tape and by the numbers alone (`origins_of`), and by altering one emitted state
at a time and comparing the runs (`by_intervention`). The tape is the rule. The others are used where TensorFlow's op
callbacks are missing or a tensor went through an opaque op. Intervention is also the oracle of the tape's tests.

On the tape, the ops are taken in the order in which they ran, so that each tensor is worked out once, after all that it
was made of: which emitted numbers are in it, and where. *Labels* say for each element of a tensor which emitted number
is in it: k for the k-th number that stubs emitted, −1 for none. A *trail* holds the labels of a tensor, and the events
and inputs that it was computed from.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rnneval.wiring.facts import Arrival, Source
from rnneval.wiring.keras.probe import MARKS, Emissions, Op, Recording, StubRun

Labels = NDArray[np.int64]
Descent = tuple[frozenset[int], frozenset[str]]  # events and inputs of the model
IDENTITY = frozenset(
    {
        "Identity", "IdentityN", "StopGradient", "PreventGradient", "Cast", "CheckNumerics", "EnsureShape", "Snapshot",
        "Copy", "DeepCopy",
    }
)  # fmt: skip


class Moving(NamedTuple):
    """An op that moves elements without changing them, with label arrays in place of its inputs."""

    labels: list[Labels]  # −1 everywhere for an input without labels
    inputs: Sequence[Any]
    attributes: Mapping[str, Any]

    def value(self, k: int) -> NDArray[Any]:
        """Return the numbers of an input that is a shape, an axis, or places."""
        return np.asarray(self.inputs[k])


Move = Callable[[Moving], Labels | list[Labels]]
"""The op in NumPy → labels of its output, or of each of its outputs; −1 is no label."""


def _split_sizes(op: Moving) -> list[Labels]:
    axis = int(op.value(2))
    sizes = op.value(1).astype(int)
    left = op.labels[0].shape[axis] - int(sizes[sizes >= 0].sum())
    return list(np.split(op.labels[0], np.cumsum(np.where(sizes < 0, left, sizes))[:-1], axis))


def _slice(op: Moving) -> Labels:
    parts = zip(op.value(1), op.value(2), strict=True)
    return op.labels[0][tuple(slice(begin, None if size < 0 else begin + size) for begin, size in parts)]


def _strided_slice(op: Moving) -> Labels:
    def flag(mask: str, at: int) -> bool:
        return bool(int(op.attributes.get(mask, 0)) >> at & 1)

    places: list[Any] = []
    for at, (first, last, step) in enumerate(zip(op.value(1), op.value(2), op.value(3), strict=True)):
        if flag("ellipsis_mask", at):
            places.append(Ellipsis)
        elif flag("new_axis_mask", at):
            places.append(None)
        elif flag("shrink_axis_mask", at):
            places.append(int(first))
        else:
            begin, end = (None if flag(f"{name}_mask", at) else to for name, to in (("begin", first), ("end", last)))
            places.append(slice(begin, end, step))
    moved: Labels = op.labels[0][tuple(places)]
    return moved


def _gather(op: Moving) -> Labels:
    whole, places, axis = op.labels[0], op.value(1), int(op.value(2))
    batch = int(op.attributes.get("batch_dims", 0) or 0)
    if batch > 1:
        raise NotImplementedError("batch_dims above one")
    if batch == 1:
        return np.stack([np.take(row, at, axis - 1) for row, at in zip(whole, places, strict=True)])
    return np.take(whole, places, axis)


def _scatter_update(op: Moving) -> Labels:
    updated: Labels = op.labels[0].copy()
    updated[tuple(np.moveaxis(op.value(1), -1, 0))] = op.labels[2]
    return updated


def _pad(op: Moving) -> Labels:
    return np.pad(op.labels[0], op.value(1), constant_values=-1)


MOVES: Mapping[str, Move] = {
    "Reshape": lambda op: op.labels[0].reshape(op.value(1).tolist()),
    "Squeeze": lambda op: np.squeeze(op.labels[0], tuple(op.attributes.get("squeeze_dims") or ()) or None),
    "ExpandDims": lambda op: np.expand_dims(op.labels[0], int(op.value(1))),
    "Pack": lambda op: np.stack(op.labels, op.attributes.get("axis", 0)),
    "Unpack": lambda op: list(np.moveaxis(op.labels[0], op.attributes.get("axis", 0), 0)),
    "ConcatV2": lambda op: np.concatenate(op.labels[:-1], int(op.value(-1))),
    "Split": lambda op: list(np.split(op.labels[1], op.attributes["num_split"], int(op.value(0)))),
    "SplitV": _split_sizes,
    "Slice": _slice,
    "StridedSlice": _strided_slice,
    "Transpose": lambda op: np.transpose(op.labels[0], op.value(1)),
    "GatherV2": _gather,
    "GatherNd": lambda op: op.labels[0][tuple(np.moveaxis(op.value(1), -1, 0))],
    "Tile": lambda op: np.tile(op.labels[0], op.value(1)),
    "ReverseV2": lambda op: np.flip(op.labels[0], tuple(op.value(1).ravel().tolist())),
    "Roll": lambda op: np.roll(op.labels[0], *(tuple(np.ravel(op.value(k)).tolist()) for k in (1, 2))),
    "BroadcastTo": lambda op: np.broadcast_to(op.labels[0], op.value(1).tolist()),
    "Pad": _pad,
    "PadV2": _pad,
    "TensorScatterUpdate": _scatter_update,
}
"""The ops that move elements, done on labels.

A slice that is off by four, or a reshape that mixes batch and layer, is found with no special case: the labels end up
where the numbers do.
"""

ELEMENTWISE = frozenset(
    {
        "Add", "AddV2", "AddN", "Sub", "Mul", "RealDiv", "Div", "DivNoNan", "TruncateDiv", "FloorDiv", "Mod",
        "FloorMod", "Pow", "Maximum", "Minimum", "MulNoNan", "SquaredDifference", "Neg", "Abs", "Sign", "Exp",
        "Expm1", "Log", "Log1p", "Sqrt", "Rsqrt", "Square", "Reciprocal", "Inv", "Tanh", "Sigmoid", "Relu", "Relu6",
        "LeakyRelu", "Elu", "Selu", "Softplus", "Softsign", "Erf", "Erfc", "Sin", "Cos", "Tan", "Asinh", "Atan",
        "Sinh", "Cosh", "Round", "Rint", "Floor", "Ceil", "ClipByValue", "Select", "SelectV2", "BiasAdd", "Xlogy",
        "Atan2", "FakeQuantWithMinMaxVars", "QuantizeAndDequantizeV2",
    }
)  # fmt: skip
"""The ops whose every output element is made of the input elements in its own place."""

RANDOM = ("Random", "TruncatedNormal", "Multinomial", "Bernoulli", "StatelessTruncated", "StatelessParameterized")
"""Parts of the types of ops that draw random numbers."""

VALUELESS = frozenset(["Shape", "ShapeN", "Size", "Rank", "ZerosLike", "OnesLike"])  # fmt: skip
"""The ops that read only the shape of their input."""

OPAQUE = ("PartitionedCall", "StatefulPartitionedCall", "While", "StatelessWhile", "If", "StatelessIf", "Case",
          "EagerPyFunc", "PyFunc", "PyFuncStateless", "XlaLaunch", "__inference_", "__forward_")  # fmt: skip
"""The beginnings of the types of ops that hide a whole function."""


_MOST_PLANES = 8  # a blend of more states than this keeps its sources and loses their places


@dataclass(frozen=True, kw_only=True, eq=False)
class Trail:
    """The states that are in one tensor, and its other origins."""

    planes: tuple[Labels, ...] = ()
    """Label arrays of the tensor's shape, −1 for no label; an element that is made of several states has several."""
    pool: frozenset[Source] = frozenset()  # sources whose places are lost
    transformed: bool = False
    random: bool = False
    noisy: frozenset[Source] = frozenset()  # the states in it that met random numbers
    variable: bool = False
    born: int | None = None  # the call in which it was made, where no state is in it
    origins: frozenset[Any] = frozenset()
    """The model's inputs and the events that it was computed from (events not through whole numbers)."""
    opaque: str = ""

    @property
    def recurrent(self) -> bool:
        """True if any state is in the tensor."""
        return bool(self.planes or self.pool)


class Walk:
    """Trails by tensor; tensors must be kept alive by the tape, since they are known by identity."""

    def __init__(self, emissions: Emissions) -> None:
        self._emissions = emissions
        self._trails: dict[int, Trail] = {}
        self._variables: dict[int, Trail] = {}
        self._by_bytes: dict[bytes, Trail] = {}
        self._kept: list[Any] = []

    def seed(self, tensor: Any, trail: Trail) -> None:
        """Set the trail of a tensor that no op made: an emission, or the model's input."""
        self._trails[id(tensor)] = trail
        self._kept.append(tensor)

    def trail(self, tensor: Any, call: int) -> Trail:
        """Return the trail of a tensor; one that no op made is looked up by its numbers.

        That one is from NumPy, from Python numbers, or of a variable read past the callbacks.
        """
        if id(tensor) not in self._trails:
            values, known = _values(tensor), None
            if values is not None and 0 < values.size <= self._emissions.count:  # larger than all states: a weight
                known = self._by_bytes.get(_bytes(tensor))
                labels = None if known is not None else self._emissions.find(values)
                if labels is not None:
                    known = Trail(planes=(labels,))
            self.seed(tensor, known or Trail(born=call))
        return self._trails[id(tensor)]

    def step(self, op: Op) -> None:
        """Work out the outputs of one op."""
        if op.name in {"VarHandleOp", "DestroyResourceOp", "NoOp"}:
            return
        if op.name.startswith("Assign") and op.name.endswith("VariableOp"):
            value = self.trail(op.inputs[1], op.call)
            if op.name != "AssignVariableOp":  # something is added to the variable's value
                before = self._variables.get(id(op.inputs[0]), Trail())
                value = Trail(
                    planes=before.planes + value.planes,
                    pool=before.pool | value.pool,
                    transformed=True,
                    noisy=before.noisy | value.noisy,
                )
                if before.random or value.random:
                    value = replace(value, noisy=self.sources(value))
            self._variables[id(op.inputs[0])] = value
            self._kept.append(op.inputs[0])
            return
        if op.name == "ReadVariableOp":
            trails = [self._variables.get(id(op.inputs[0]), Trail(variable=True))]
        else:
            trails = self._outputs(op)
        for tensor, trail in zip(op.outputs, trails, strict=True):
            made = trail
            if not trail.recurrent and trail.born is None and not trail.variable:
                made = replace(trail, born=op.call)
            self.seed(tensor, made)
            if any(not source.incoming for source in self.sources(made)):
                self._by_bytes[_bytes(tensor)] = made

    def _outputs(self, op: Op) -> list[Trail]:
        trails = [self.trail(tensor, op.call) for tensor in op.inputs]
        base = _flags(op, trails)
        recurrent = [trail for trail in trails if trail.recurrent]
        if not recurrent or op.name in VALUELESS:
            return [base] * len(op.outputs)
        traced = self._moved(op, trails) or self._blended(op, trails)
        if not traced:  # sources stay, places are lost
            pool = frozenset[Source]().union(*(self.sources(trail) for trail in trails))
            traced = [Trail(pool=pool, transformed=True)] * len(op.outputs)
        noisy = frozenset[Source]().union(*(t.noisy for t in recurrent))
        # Random numbers beside a state in one tensor leave it as it is; random places do not.
        beside = [
            t for tensor, t in zip(op.inputs, trails, strict=True) if op.name not in MOVES or not _is_float(tensor)
        ]
        if any(t.random for t in beside if not t.recurrent):
            noisy = frozenset[Source]().union(*(self.sources(trail) for trail in trails))
        opaque = next((t.opaque for t in recurrent if t.opaque), "") or (op.name if op.name.startswith(OPAQUE) else "")
        base_of = replace(base, noisy=noisy, opaque=opaque, born=None)
        return [
            replace(base_of, planes=t.planes, pool=t.pool, transformed=t.transformed) if _is_float(tensor) else base
            for tensor, t in zip(op.outputs, traced, strict=True)
        ]

    def _moved(self, op: Op, trails: list[Trail]) -> list[Trail] | None:
        """Return the trails of an op that only moves elements, by the same op on labels; None for any other op."""
        if op.name in IDENTITY:
            return list(trails[: len(op.outputs)])
        move = MOVES.get(op.name)
        if move is None:
            return None
        planes = max(len(trail.planes) for trail in trails)
        pool = frozenset[Source]().union(*(trail.pool for trail in trails))
        transformed = any(trail.transformed for trail in trails)
        moved = []
        for plane in range(planes):
            try:
                given = [
                    trail.planes[plane] if plane < len(trail.planes) else np.full(tuple(tensor.shape), -1, np.int64)
                    for trail, tensor in zip(trails, op.inputs, strict=True)
                ]
                found = move(Moving(given, op.inputs, op.attributes))
                moved.append(found if isinstance(found, list) else [found])
            except (ValueError, IndexError, NotImplementedError, TypeError):
                return None  # an argument this file does not know: the sources stay, the places go
        labelled = [tuple(plane[at] for plane in moved if (plane[at] >= 0).any()) for at in range(len(op.outputs))]
        return [Trail(planes=planes, pool=pool, transformed=transformed) for planes in labelled]

    def _blended(self, op: Op, trails: list[Trail]) -> list[Trail] | None:
        """Return the trail of an op that works element by element: labels keep their places, values change."""
        if op.name not in ELEMENTWISE or len(op.outputs) != 1:
            return None
        shape = tuple(op.outputs[0].shape)
        pool = frozenset[Source]().union(*(trail.pool for trail in trails))
        planes: list[Labels] = []
        for plane in (plane for trail in trails for plane in trail.planes):
            try:
                wide = np.broadcast_to(plane, shape)
            except ValueError:
                return None
            if not any(np.array_equal(wide, other) for other in planes):
                planes.append(wide)
        if len(planes) > _MOST_PLANES:
            return None
        return [Trail(planes=tuple(planes), pool=pool, transformed=True)]

    def sources(self, trail: Trail) -> frozenset[Source]:
        """Return every state that is in a tensor."""
        found = set(trail.pool)
        for plane in trail.planes:
            found |= self._emissions.sources(plane[plane >= 0])
        return frozenset(found)


def _flags(op: Op, trails: list[Trail]) -> Trail:
    """Return the part of a trail that passes through any op, recurrent or not."""
    origins = frozenset[Any]().union(*(trail.origins for trail in trails))
    if op.outputs and not _is_float(op.outputs[0]):
        origins = frozenset(origin for origin in origins if isinstance(origin, str))  # a sampled token is no state
    if op.name in VALUELESS:
        return Trail(born=op.call)
    moves = op.name in IDENTITY or op.name in MOVES
    plain = next((trail for trail in trails if not trail.recurrent), None)
    return Trail(
        random=any(word in op.name for word in RANDOM) or any(trail.random for trail in trails),
        variable=moves and bool(plain and plain.variable),
        born=plain.born if moves and plain is not None else op.call,
        origins=origins,
    )


def _is_float(tensor: Any) -> bool:
    dtype = getattr(tensor, "dtype", None)
    return dtype is not None and (dtype.is_floating or dtype.is_complex or dtype.name == "variant")


def _values(tensor: Any) -> NDArray[Any] | None:
    dtype = getattr(tensor, "dtype", None)
    if dtype is None or not getattr(dtype, "is_floating", False):
        return None
    values = np.asarray(tensor.numpy())  # np.asarray fails for one number of bfloat16
    return values if np.issubdtype(values.dtype, np.floating) else values.astype(np.float32)


def _bytes(tensor: Any) -> bytes:
    try:
        values = np.ascontiguousarray(np.asarray(tensor))
    except (ValueError, TypeError, RuntimeError):  # a variant has no values
        return b""
    return f"{values.dtype}{values.shape}".encode() + values.tobytes()


class Origins(NamedTuple):
    """The sources of every state and every input in a recording; an *event* is one run of a layer or free cell."""

    arrivals: tuple[Arrival, ...]  # each part of the state that went into each event
    returned: tuple[frozenset[Source], ...]  # the sources of the states that each call returned
    descents: tuple[Descent, ...]
    """The events and the model's inputs that the input sequence of each event was computed from."""


def origins_of(recording: Recording, *, by_tape: bool) -> Origins:
    """Go through the recorded items in order, and return what went into each state and what each call returned.

    Without ops on the tape, elements are known by their numbers alone, and descent is not seen.
    """
    emissions = recording.emissions
    walk = Walk(emissions)
    for name, tensor in recording.texts if by_tape else ():
        walk.seed(tensor, Trail(origins=frozenset({name}), born=0))
    for run in recording.runs:
        origins = frozenset({run.event})
        for tensor, labels in zip(run.emitted, run.labels, strict=True):
            walk.seed(tensor, Trail(planes=(labels,), origins=origins))
        for tensor, marks in run.outputs:
            walk.seed(tensor, Trail(planes=() if marks is None else (marks,), origins=origins))
    arrivals: list[Arrival] = []
    returned: list[frozenset[Source]] = []
    calls: list[int] = []
    descents: list[Descent] = []
    for item in recording.items:
        if isinstance(item, Op):
            walk.step(item)
        elif isinstance(item, StubRun):
            calls.append(item.call)
            arrivals += [_arrival(item, slot, walk, recording, calls) for slot in range(len(item.states))]
            for slot, tensor in enumerate(item.states):
                trail = walk.trail(tensor, item.call)
                if not trail.recurrent and not trail.variable:
                    # Marked, an initial state can be told from a new one if it is returned and passed in again.
                    marks = emissions.mark(Source(item.event, slot, incoming=True), tuple(tensor.shape))
                    walk.seed(tensor, replace(trail, planes=(marks,)))
            descents.append(_descent(walk.trail(item.inputs, item.call), descents))
        else:
            tensors = [leaf for leaf in item.leaves if hasattr(leaf, "dtype")]
            found = frozenset[Source]().union(*(walk.sources(walk.trail(leaf, item.call)) for leaf in tensors))
            returned.append(frozenset(source for source in found if not source.incoming))
    return Origins(tuple(arrivals), tuple(returned), tuple(descents))


def _descent(trail: Trail, before: Sequence[Descent]) -> Descent:
    """Return the events and the texts from which an input descends, directly or through earlier events."""
    events = {origin for origin in trail.origins if isinstance(origin, int)}
    texts = {origin for origin in trail.origins if isinstance(origin, str)}
    for event in tuple(events):
        events |= before[event][0]
        texts |= before[event][1]
    return frozenset(events), frozenset(texts)


def _arrival(run: StubRun, slot: int, walk: Walk, recording: Recording, calls: Sequence[int]) -> Arrival:
    """Return what went into one part of the state of a run: emitted states and their places, or none."""
    tensor, emissions = run.states[slot], recording.emissions
    trail = walk.trail(tensor, run.call)
    every = walk.sources(trail)
    sources = frozenset(source for source in every if not source.incoming)
    if not sources or _is_constant(tensor, trail):
        computed = frozenset(origin for origin in trail.origins if isinstance(origin, int))
        made = frozenset() if sources else computed
        born = trail.born  # the call in which a state that holds no other was made; None for a variable
        if trail.variable:
            born = None
        elif every and not sources:
            born = min(calls[source.event] for source in every)
        elif computed or trail.recurrent or born is None:
            born = run.call  # what is computed from outputs is no initial state of an earlier call
        return Arrival(event=run.event, slot=slot, random=trail.random, born=born, outputs=made)
    planes = [np.where(plane < MARKS, plane, -1) for plane in trail.planes]
    labelled = np.any([plane >= 0 for plane in planes], axis=0) if planes else None
    # Whatever arithmetic they went through, the numbers may be those emitted, to the bit.
    same = emissions.find(np.asarray(tensor)) if trail.transformed else None
    unchanged = same is not None and len(planes) == 1 and bool((same == planes[0]).all()) and not trail.pool
    return Arrival(
        event=run.event,
        slot=slot,
        sources=sources,
        in_place=all(_in_place(plane, emissions, one_row=recording.rows == 1) for plane in planes),
        missing=0.0 if labelled is None or trail.pool else float(1 - labelled.mean()),
        transformed=trail.transformed and not unchanged,
        noisy=not trail.noisy.isdisjoint(sources),
        unknown=f"went through {trail.opaque}" if trail.opaque else "",
    )


def _is_constant(tensor: Any, trail: Trail) -> bool:
    """Return whether arithmetic left nothing of the state: a state times zero is one number everywhere."""
    if not trail.transformed:
        return False
    values = np.asarray(tensor).astype(np.float64)
    return bool(values.size > 1 and (values == values.flat[0]).all())


def _in_place(plane: np.ndarray[Any, Any], emissions: Emissions, *, one_row: bool) -> bool:
    """Return whether each element is where it was; of one text that was repeated to several rows, any row may do."""
    flat = plane.ravel()
    places = np.flatnonzero(flat >= 0)
    found = emissions.offsets(flat[places])
    width = flat.size // len(plane) if one_row and plane.ndim > 1 else max(flat.size, int(found.max(initial=0)) + 1)
    return bool((found % width == places % width).all())


def by_intervention(
    recording: Recording, rerun: Callable[[Source | None], Recording], wanted: Iterable[tuple[int, int]]
) -> dict[tuple[int, int], frozenset[Source]]:
    """Return, for each wanted (event, slot), the emitted states that change it when they alone are altered.

    `rerun` runs the model again with one state's numbers altered (or none); if two runs without any alteration differ,
    nothing can be told: a RuntimeError.
    """
    wanted = tuple(wanted)

    def states(altered: Source | None) -> list[list[np.ndarray[Any, Any]]]:
        return [[np.asarray(state) for state in run.states] for run in rerun(altered).runs]

    plain, again = states(None), states(None)

    def same(other: list[list[np.ndarray[Any, Any]]], event: int, slot: int) -> bool:
        both = event < len(plain) and event < len(other)
        return both and np.array_equal(plain[event][slot], other[event][slot])

    places = [(event, slot) for event, run in enumerate(plain) for slot in range(len(run))]
    if len(plain) != len(again) or not all(same(again, *place) for place in places):
        raise RuntimeError("two equal runs differ: the model draws random numbers")
    found: dict[tuple[int, int], set[Source]] = {key: set() for key in wanted}
    last = max((event for event, _ in wanted), default=0)
    earlier = [run for run in recording.runs if run.event < last]
    for source in (Source(run.event, slot) for run in earlier for slot in range(len(run.emitted))):
        changed = states(source)
        for event, slot in wanted:
            if event > source.event and not same(changed, event, slot):
                found[event, slot].add(source)
    return {key: frozenset(sources) for key, sources in found.items()}
