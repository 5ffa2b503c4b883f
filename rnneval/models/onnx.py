"""An ONNX graph as a step function: which input takes ids, which output has the logits, and which inputs take a state.

What an input or output is, its shapes in two trial calls show. `GraphStep` calls the graph with the new state at the
inputs that a pairing names.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import product
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from rnneval.checkpoints.graphs import GraphFile, require_loads
from rnneval.errors import CheckpointError, type_and_message
from rnneval.text import Vocabulary

Arrays = Mapping[str, NDArray[Any]]
_TYPES = {
    "tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(double)": np.float64, "tensor(bool)": np.bool_,
    "tensor(int32)": np.int32, "tensor(int64)": np.int64, "tensor(int8)": np.int8, "tensor(uint8)": np.uint8,
}  # fmt: skip
_POSITIONS = {"position_ids", "cache_position", "past_sequence_length"}
_LENGTHS = {"sequence_lens", "sequence_lengths", "seq_lens", "lengths"}
_PAST = "number of tokens before"  # the key of the state under which it is carried, where positions are asked for
_IDS = ("input_ids", "ids", "tokens", "token_ids", "input", "x")
_TRIALS = (5, 3)  # tokens of the trial calls
_LOOSENED = (7, 3)
_TINY = 1e-30
_MOST_NUMBERS = 1 << 28  # of an input or output
_INTEGERS = {6, 7}  # int32 and int64, as ONNX numbers its types
_Size = int | str | None


@dataclass(frozen=True, kw_only=True)
class Port:
    """An input or output of a graph."""

    name: str
    dtype: type[Any]
    sizes: tuple[_Size, ...]  # a number, the name of a symbol, or None
    default: NDArray[Any] | None = field(default=None, compare=False, repr=False)  # that the file has for an input


@dataclass(frozen=True, kw_only=True, eq=False)
class OnnxGraph:
    """A graph whose inputs and outputs are recognised."""

    file: GraphFile
    session: Any = field(repr=False)
    ids: Port
    logits: str
    states: tuple[Port, ...]  # the inputs that take a state
    extras: tuple[Port, ...]  # masks, positions, lengths and other inputs of each token, which rnneval makes
    axes: str  # of the ids: `rt` for rows and tokens, `tr` for tokens first, `r` for one token or `t` for one row
    shapes: Mapping[str, tuple[int, ...]]  # of states and of the outputs that may be one, in the trial call
    dtypes: Mapping[str, np.dtype[Any]]
    width: int
    rows: int | None  # the number of rows, where it is fixed
    tokens: int | None  # the number of tokens of a call, where it is fixed
    last_only: bool  # whether there are logits after the last token of a call alone
    probabilities: bool
    flat: bool  # whether the logits have one axis for tokens and rows
    loosened: bool = False  # whether the file fixes the number of tokens, and the graph computes with any other

    @cached_property
    def outputs(self) -> list[str]:
        """The outputs that may be a state."""
        return [name for name in self.shapes if name not in {port.name for port in self.states}]

    @cached_property
    def scales_calls(self) -> bool:
        """True if it has dynamic int8, with one scale for all numbers of a call."""
        return any(node.op_type.startswith("DynamicQuantize") for node in self.file.model.graph.node)

    @property
    def by_token(self) -> bool:
        """True if every token needs a call of its own."""
        return self.tokens == 1 or self.last_only

    @property
    def only_some(self) -> bool:
        """True if it reads several tokens a call, and always as many: no text can be evaluated in such calls."""
        return self.tokens is not None and self.tokens > 1

    def fits(self, into: str, output: str) -> bool:
        """Return whether an output, "" for none, can be given to an input: equal type, and shape but for what grows."""
        if not output:
            return True
        return self.dtypes[into] == self.dtypes[output] and _alike(self.shapes[into], self.shapes[output])

    def start(self, rows: int, past: int = 0) -> dict[str, NDArray[Any]]:
        """Return the default of every input that takes a state, else zeros; `past` is the number of tokens before."""
        rows = self.rows or rows
        batch = dict(zip(self.axes, self.ids.sizes, strict=False)).get("r")
        state = {}
        for port in self.states:
            state[port.name] = np.zeros(_shape(port, batch, rows, past), port.dtype)
            if port.default is not None and port.default.size:
                state[port.name][:] = port.default
        return state | ({_PAST: np.full(rows, past, np.int64)} if self.extras else {})

    def call(self, ids: NDArray[np.int32], state: Arrays) -> tuple[NDArray[Any], dict[str, NDArray[Any]]]:
        """Run the graph once; return the logits `(rows, time, V)` and every other output."""
        rows, time = ids.shape
        given = np.repeat(ids, self.rows, axis=0) if self.rows and rows == 1 else ids
        outputs = self.run(given, state)
        logits = outputs.pop(self.logits)
        axes = self.axes if logits.ndim > len(self.axes) else self.axes.replace("t", "")
        logits = logits.swapaxes(0, 1) if axes == "tr" else logits
        logits = np.expand_dims(logits, [at for at, axis in enumerate("rt") if axis not in axes])[:rows]
        if self.probabilities:
            logits = np.log(np.maximum(logits, _TINY))
        return logits, outputs | ({_PAST: state[_PAST] + time} if self.extras else {})

    def run(self, ids: NDArray[np.int32], state: Arrays) -> dict[str, NDArray[Any]]:
        """Run the graph once on ids `(rows, time)`; return its outputs as they are."""
        feed = {self.ids.name: self._arranged(_as_input(ids, self.ids, self.width))}
        feed |= {port.name: np.asarray(state[port.name], port.dtype) for port in self.states}
        feed |= {port.name: self._arranged(_extra(port, self.ids, ids.shape, state[_PAST])) for port in self.extras}
        names = [self.logits, *self.outputs] if self.logits else [each.name for each in self.session.get_outputs()]
        try:
            outputs: list[NDArray[Any]] = self.session.run(names, feed)
        except Exception as error:
            shapes = ", ".join(f"{name} {array.shape}" for name, array in feed.items())
            seen = f"onnxruntime cannot run the graph on {shapes}: {type_and_message(error)[:300]}"
            raise CheckpointError(f"{self.file.path}: {seen}") from error
        if self.flat:
            outputs[0] = outputs[0].reshape(*feed[self.ids.name].shape[:2], -1)
        return dict(zip(names, outputs, strict=True))

    def _arranged(self, array: NDArray[Any]) -> NDArray[Any]:
        """Return an array `(rows, time, …)` with the axes of the ids."""
        if array.ndim < 2 or self.axes == "rt":
            return array
        return array.swapaxes(0, 1) if self.axes == "tr" else array[:, 0] if self.axes == "r" else array[0]


@dataclass(frozen=True, kw_only=True, eq=False)
class GraphStep:
    """The step function of a graph: it gives each output to the input that is its partner."""

    graph: OnnxGraph
    pairs: Mapping[str, str]  # the output that each input of a state gets, "" for zeros

    @property
    def scales_calls(self) -> bool:
        """True if the graph has one scale for all numbers of a call."""
        return self.graph.scales_calls

    def __call__(self, ids: NDArray[np.int32], state: Arrays) -> tuple[NDArray[Any], dict[str, NDArray[Any]]]:
        """Read ids `(rows, time)` from a state, in one call or token by token."""
        length = 1 if self.graph.by_token else self.graph.tokens or ids.shape[1]
        logits, kept = [], dict(state)
        for at in range(0, ids.shape[1], length):
            scores, outputs = self.graph.call(ids[:, at : at + length], kept)
            logits.append(scores)
            kept = self.carried(kept, outputs)
        return np.concatenate(logits, axis=1), kept

    def carried(self, before: Arrays, outputs: Arrays) -> dict[str, NDArray[Any]]:
        """Return the state after a call; an input without a partner keeps what it had."""
        return {name: outputs.get(self.pairs.get(name, name), array) for name, array in before.items()}


@dataclass(frozen=True, kw_only=True)
class Pairing:
    """Pairs of states, how they were proposed, and what the behaviour of the graph says of them."""

    pairs: Mapping[str, str]
    how: str  # `--state-pairs`, `genai_config.json`, `names`, `shapes` or `order`
    verdict: Literal["pass", "fail", "inconclusive"]
    message: str  # what is seen of it
    rule: str = ""  # the fault, if there is one
    needs_text: bool = False


@dataclass(frozen=True, kw_only=True, eq=False)
class PairedGraph:
    """A graph with the pairs of its states."""

    graph: OnnxGraph
    pairing: Pairing
    vocabulary: Vocabulary | None
    why_no_vocabulary: str


@dataclass(frozen=True, kw_only=True, eq=False)
class PairedStep(GraphStep):
    """The step function of a graph that remembers how its pairs were found."""

    opened: PairedGraph


def session_of(file: GraphFile) -> Any:
    """Return a session of onnxruntime, in one thread; a child process loads the graph before."""
    import onnx
    import onnxruntime

    try:
        serialized = file.model.SerializeToString()
        onnx.checker.check_model(serialized) if len(serialized) < 1 << 20 else None
    except ValueError as error:
        raise CheckpointError(f"{file.path}: no valid graph ({type_and_message(error)[:300]})") from error
    except onnx.checker.ValidationError:
        pass  # onnxruntime is the judge: it also runs operators that the checker does not know
    require_loads(file.path, serialized)
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 4, 1
    try:
        return onnxruntime.InferenceSession(serialized, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise CheckpointError(f"{file.path}: onnxruntime refuses it: {type_and_message(error)[:300]}") from error


def recognised(file: GraphFile, *, vocabulary: int | None = None, states: Iterable[str] = ()) -> OnnxGraph:
    """Recognise inputs and outputs of a graph; one with a fixed number of tokens is loosened if that is possible.

    `vocabulary` is the number of tokens, if it is known, and `states` are inputs that the user's pairs name.

    Raises:
        CheckpointError: it is no language model, or an input is neither ids nor a state.
    """
    graph = _recognised(file, session_of(file), vocabulary, frozenset(states))
    if graph.tokens is None or graph.last_only or "t" not in graph.axes:
        return graph
    return _loosened(graph, vocabulary) or graph


def _recognised(file: GraphFile, session: Any, vocabulary: int | None, states: frozenset[str]) -> OnnxGraph:
    """Recognise inputs and outputs by two trial calls."""
    inputs, outputs = ([_port(file, each) for each in ports] for ports in (session.get_inputs(), session.get_outputs()))
    inputs += _with_default(file, session, outputs)
    named = [port for port in inputs if port.name not in states]
    ids = _ids(file, [port for port in named if port.default is None and not filling(port, None)], vocabulary)
    extras = tuple(port for port in named if port is not ids and port.default is None and filling(port, ids))
    taking = tuple(port for port in inputs if port is not ids and port not in extras)
    width = ids.sizes[-1] if len(ids.sizes) == 3 else vocabulary or 2
    blank = OnnxGraph(
        file=file, session=session, ids=ids, logits="", states=taking, extras=extras, axes="", shapes={}, dtypes={},
        width=int(width or 2), rows=None, tokens=None, last_only=False, probabilities=False, flat=False,
    )  # fmt: skip
    blank, trials = _trials(blank, outputs)
    count, first = blank.rows or 2, trials[0]
    times = (blank.tokens,) if blank.tokens else _TRIALS
    whole = [tuple(count if axis == "r" else time for axis in blank.axes) for time in times]
    last = [tuple(count for axis in blank.axes if axis == "r")] * len(times)
    kept = [tuple(count if axis == "r" else 1 for axis in blank.axes)] * len(times)
    flat = [(count * time,) for time in times]
    leads = {name: [trial[name].shape[:-1] for trial in trials] for name, array in first.items() if array.ndim}
    floats = [name for name in leads if first[name].dtype.kind == "f"]
    candidates = [name for name in floats if leads[name] in (whole, last, kept, flat)]
    start = blank.start(count)
    wide = ids.sizes[2] if len(ids.sizes) == 3 else vocabulary
    sources = {name: _sources(file.model.graph, name) for name in candidates}

    def unlikely(name: str) -> tuple[bool, ...]:
        array = first[name]
        taken = any(_alike(state.shape, array.shape) for state in start.values())
        read_on = any(sources[name] < sources[other] for other in candidates)
        return "logits" not in name.lower(), array.shape[-1] != wide, taken, array.ndim <= len(blank.axes), read_on

    if not candidates:
        listed = ", ".join(f"{name} {array.shape}" for name, array in first.items())
        raise CheckpointError(f"{file.path}: no output is logits (rows, time, V): it has {listed}")
    logits = min(candidates, key=unlikely)
    scores, lead = first[logits], leads[logits]
    sums = bool((scores >= 0).all() and np.allclose(scores.sum(axis=-1, dtype=np.float64), 1, atol=1e-3))
    possible = {name: array for name, array in first.items() if name != logits}
    taking = tuple(port for port in taking if port.name in states or _is_state(file, port, start[port.name], possible))
    known = {port.name: start[port.name] for port in taking} | possible
    return replace(
        blank,
        states=taking,
        logits=logits,
        shapes={name: array.shape for name, array in known.items()},
        dtypes={name: array.dtype for name, array in known.items()},
        width=scores.shape[-1],
        last_only=lead in (last, kept) and lead != whole,
        probabilities=sums and scores.shape[-1] > 1,
        flat=lead == flat and lead not in (whole, last),
    )


def _with_default(file: GraphFile, session: Any, outputs: Sequence[Port]) -> list[Port]:
    """Return the inputs for which the file has a default, and whose declared type and sizes are those of an output."""
    from onnx import numpy_helper

    stored = {tensor.name: tensor for tensor in file.model.graph.initializer}
    ports = []
    for declared in session.get_overridable_initializers():
        port, default = _port(file, declared), numpy_helper.to_array(stored[declared.name])
        sizes = tuple(size if at <= 1 else at for size, at in zip(port.sizes, default.shape, strict=True))
        if any(port.dtype == each.dtype and _may_be(sizes, each.sizes) for each in outputs):
            ports.append(replace(port, sizes=sizes, default=default))
    return ports


def _is_state(file: GraphFile, port: Port, start: NDArray[Any], outputs: Arrays) -> bool:
    """Return whether an input takes a state: what has a default may be a weight, and one number is a setting.

    Raises:
        CheckpointError: it is a setting without a default, as a temperature may be.
    """
    if any(start.dtype == array.dtype and _alike(start.shape, array.shape) for array in outputs.values()):
        return True
    if port.default is None and start.size and math.prod(size for size in port.sizes if isinstance(size, int)) == 1:
        seen = f"{port.name} {port.sizes} takes one number, which no output gives and for which the file has no default"
        append = f"model.graph.initializer.append(onnx.numpy_helper.from_array(array, {port.name!r}))"
        raise CheckpointError(f"{file.path}: {seen}: add one by {append}, or export the graph without it")
    return port.default is None


def _trials(graph: OnnxGraph, outputs: Sequence[Port]) -> tuple[OnnxGraph, list[dict[str, NDArray[Any]]]]:
    """Return a graph whose axes and fixed numbers are known, and the outputs of trial calls.

    An exporter may declare a free axis and compute with a fixed number: that of the outputs, or one.
    """
    free = any(not isinstance(size, int) for port in graph.states for size in port.sizes)
    orders = ["r"] if free or not graph.states else ["t"]
    if (sizes := graph.ids.sizes)[1:]:  # the size of the axis of rows is one of each state's
        orders = ["rt", "tr"]
        orders.sort(key=lambda axes: sum(sizes[axes.index("r")] not in port.sizes for port in graph.states))
    computed = [size for port in outputs if len(port.sizes) == 3 for size in port.sizes[:2] if isinstance(size, int)]
    refused: list[CheckpointError] = []
    layouts = product(orders, dict.fromkeys([None, *computed, 1]), (None, 1))
    for axes, tokens, rows in sorted(layouts, key=lambda layout: -layout.count(None)):  # what fixes least, first
        of = {"r": 1, "t": 1} | dict(zip(axes, sizes, strict=False))
        fixed = [size if isinstance(size, int) and size > 0 else None for size in (of["r"], of["t"])]
        layout = replace(graph, axes=axes, rows=fixed[0] or rows, tokens=fixed[1] or tokens)
        try:
            return layout, [_outputs(layout, time) for time in ((layout.tokens,) if layout.tokens else _TRIALS)]
        except CheckpointError as error:
            refused.append(error)
    raise refused[0]


def _port(file: GraphFile, declared: Any) -> Port:
    if declared.type not in _TYPES:
        raise CheckpointError(f"{file.path}: {declared.name} is a {declared.type}: tensors of numbers are needed")
    sizes = tuple(size if isinstance(size, int | str) else None for size in declared.shape or ())
    if (numbers := math.prod(size for size in sizes if isinstance(size, int))) > _MOST_NUMBERS:
        seen = f"{declared.name} declares the shape {declared.shape}, {numbers:,} numbers"
        raise CheckpointError(f"{file.path}: {seen}: at most {_MOST_NUMBERS:,} are read")
    return Port(name=declared.name, dtype=_TYPES[declared.type], sizes=sizes)


def _ids(file: GraphFile, inputs: Sequence[Port], vocabulary: int | None) -> Port:
    """Return the input that takes ids: whole numbers, floats that a table is read with, or one-hot rows."""
    rank = {port.name: len(port.sizes) for port in inputs}
    integers = _cast_to_integers(file.model.graph)
    whole = [port for port in inputs if np.dtype(port.dtype).kind in "iu" and rank[port.name] in (1, 2)]
    floats = [port for port in inputs if np.dtype(port.dtype).kind == "f" and rank[port.name] == 2]
    one_hot = [port for port in inputs if np.dtype(port.dtype).kind == "f" and rank[port.name] == 3]
    choices = [
        *(port for name in _IDS for port in whole if port.name.lower() == name),
        *(port for port in whole if rank[port.name] == 2),
        *(port for name in _IDS for port in one_hot if port.name.lower() == name),
        *(port for port in floats if port.name in integers),
        *whole,
        *(port for port in one_hot if vocabulary is not None and port.sizes[2] == vocabulary),
        *(port for port in one_hot if isinstance(port.sizes[2], int)),
    ]
    if not choices:
        listed = ", ".join(f"{port.name} {port.sizes}" for port in inputs) or "none"
        raise CheckpointError(f"{file.path}: no input takes ids (rows, time): it has {listed}")
    return choices[0]


def _sources(graph: Any, name: str) -> set[str]:
    """Return the names of all that an output is computed from."""
    makers = {output: node for node in graph.node for output in node.output}
    sources, waiting = set[str](), [name]
    while waiting:
        node = makers.get(waiting.pop())
        new = {*node.input} - sources if node is not None else set[str]()
        sources |= new
        waiting += new
    return sources


def filling(port: Port, ids: Port | None) -> str:
    """Return what an input gets that is neither ids nor a state: `positions`, `lengths`, `ones` or `zeros`; "" if none.

    An input with the free axes of the ids has a number for each token.
    """
    name = port.name.lower()
    if name in _POSITIONS | _LENGTHS:
        return "positions" if name in _POSITIONS else "lengths"
    if len(port.sizes) == 2 and "mask" in name:
        return "ones"
    if ids is None or len(port.sizes) != 2 or port.sizes != ids.sizes[:2] or isinstance(port.sizes[1], int):
        return ""
    return "zeros" if np.dtype(port.dtype).kind in "iu" else "ones"


def _cast_to_integers(graph: Any) -> set[str]:
    """Return the names of what a graph casts to int32 or int64."""
    return {
        node.input[0]
        for node in graph.node
        if node.op_type == "Cast" and any(each.name == "to" and each.i in _INTEGERS for each in node.attribute)
    }


def _shape(port: Port, batch: _Size, rows: int, past: int) -> tuple[int, ...]:
    """Return the shape of a state: a symbol stands for the rows, or for past tokens."""
    symbols = [size for size in port.sizes if not isinstance(size, int)]
    at = symbols.index(batch) if batch in symbols else 0
    names = iter(range(len(symbols)))
    return tuple(size if isinstance(size, int) else rows if next(names) == at else past for size in port.sizes)


def _alike(one: Sequence[int], other: Sequence[int]) -> bool:
    """Return whether two shapes are equal but for an axis without numbers, which grows."""
    return len(one) == len(other) and all(a in (b, 0) for a, b in zip(one, other, strict=True))


def _may_be(one: Sequence[_Size], other: Sequence[_Size]) -> bool:
    """Return whether declared sizes may be equal."""
    pairs = zip(one, other, strict=False)
    return len(one) == len(other) and all(a == b or {type(a), type(b)} != {int} for a, b in pairs)


def _as_input(ids: NDArray[np.int32], port: Port, width: int) -> NDArray[Any]:
    return np.eye(width, dtype=port.dtype)[ids] if len(port.sizes) == 3 else ids.astype(port.dtype)


def _extra(port: Port, ids: Port, shape: tuple[int, ...], past: NDArray[Any]) -> NDArray[Any]:
    """Return what fills an input for ids of this shape, after `past` tokens of each row."""
    fill, (rows, time) = filling(port, ids), shape
    if fill == "lengths":
        return np.full(rows, time, port.dtype)
    if fill != "positions":
        before = 0 if port.sizes == ids.sizes[:2] else int(past.max())
        return np.full((rows, before + time), fill == "ones", port.dtype)
    positions = past[:, None] + np.arange(time)
    return np.asarray(positions if len(port.sizes) == 2 else positions[0, : time if port.sizes else 1], port.dtype)


def _outputs(graph: OnnxGraph, time: int) -> dict[str, NDArray[Any]]:
    """Return the outputs of a call over so many tokens from a state of zeros."""
    rows = graph.rows or 2
    return graph.run(np.arange(rows * time, dtype=np.int32).reshape(rows, time) % 2, graph.start(rows))


def _loosened(graph: OnnxGraph, vocabulary: int | None) -> OnnxGraph | None:
    """Return a graph whose declared number of tokens is a symbol, if it then computes with any number."""
    import onnx

    model = onnx.ModelProto()
    model.CopyFrom(graph.file.model)
    for value in model.graph.input:
        if value.name == graph.ids.name:
            value.type.tensor_type.shape.dim[graph.axes.index("t")].dim_param = "time"
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")
    del model.graph.value_info[:]
    names = frozenset(port.name for port in graph.states)
    try:
        file = replace(graph.file, model=model)
        loose = replace(_recognised(file, session_of(file), vocabulary, names), file=graph.file)
        if loose.logits != graph.logits or loose.tokens is not None or loose.last_only:
            return None
        long, short = (_outputs(loose, time) for time in _LOOSENED)
    except CheckpointError:
        return None
    a, b = long[graph.logits].take(range(_LOOSENED[1]), loose.axes.index("t")), short[graph.logits]
    same = all(long[name].shape == short[name].shape == graph.shapes[name] for name in graph.outputs)
    close = np.allclose(a, b, rtol=1e-3, atol=1e-3 * float(np.abs(b).max(initial=0)))
    return replace(loose, loosened=True) if same and close else None
