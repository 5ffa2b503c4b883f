"""Which output of an ONNX graph goes to which input: the names propose, and the graph's behaviour decides.

The pairs that the user, the settings beside the file, names, shapes or order give are the *prior*. One call of 16
tokens must give the logits of several shorter calls that carry the state by these pairs. Where it does not, exchanges
and permutations are tried, and one that agrees names the states that are crossed. A graph that reads a fixed number of
tokens in every call is judged by its loss on a text instead.
"""

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import combinations, islice, permutations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp, stdtrit

from rnneval.arrays import Doubles
from rnneval.checkpoints.graphs import settings_beside
from rnneval.errors import UsageError
from rnneval.models.onnx import Arrays, GraphStep, OnnxGraph, Pairing
from rnneval.wiring.difference import ASSUMED_NOISE, HALF_TYPES, Limits, as_logits, context_spread, differences
from rnneval.wiring.subject import cut, ordinary_ids, other_ids

OutputOf = Mapping[str, str]  # by the input of a state; "" for one that gets zeros in every call
_CUTS = ((4, 12), (1,) * 16, (7, 9))
_TOKENS = 16
_PAST_TOKENS = 3  # for which a cache that grows has random keys and values
_MOST_PERMUTATIONS = 5000
_TIMES_SCALE = 4  # the noise of dynamic int8, whose scale depends on all numbers of a call
_BATCHES = 8
LEAST_TOKENS = 4000
"""Tokens of a text by whose loss pairs are judged."""
_ROLES = {
    *("in", "out", "input", "output", "past", "present", "prev", "previous", "next", "new", "cur", "current"),
    *("init", "initial", "final", "cache", "state", "hidden", "y"),
}
"""Words of names that say whether a state is read or written."""
_UNNAMED = ("shapes", "order")


def pairing_of(graph: OnnxGraph, state_pairs: OutputOf | None, text: NDArray[np.int32] | None = None) -> Pairing:
    """Propose pairs for a graph and judge them; `text` are ids whose loss judges a graph of fixed calls."""
    how, prior = _prior(graph, state_pairs)
    if not graph.states:
        seen = (
            f"stateless: every call begins afresh{'; no input takes ' * bool(graph.outputs)}{', '.join(graph.outputs)}"
        )
        return Pairing(pairs={}, how="", verdict="inconclusive", message=seen)
    judged = None if graph.tokens is not None else _by_behaviour(_Reader(graph), how, prior)
    by_loss = judged is None or (graph.loosened and judged.rule == "chunk-variance")
    if judged is None or by_loss:  # more tokens may be more than a loosened graph can compute
        judged = _by_loss(replace(graph, tokens=graph.tokens or 1), how, prior, text)
    if judged.verdict != "fail" and (alone := [into for into, output in judged.pairs.items() if not output]):
        seen = f"{judged.message}; {', '.join(alone)} gets zeros in every call"
        judged = replace(judged, message=seen, verdict="inconclusive" if by_loss else judged.verdict)
    return judged


# The prior


def _prior(graph: OnnxGraph, state_pairs: OutputOf | None) -> tuple[str, dict[str, str]]:
    """Return the source of the first proposal that is one-to-one and fits, and its pairs."""
    if state_pairs:
        _require_fit(graph, state_pairs)
        return "--state-pairs", {port.name: state_pairs.get(port.name, "") for port in graph.states}
    inputs = [port.name for port in graph.states]
    most = sum(bool(output) for output in _by_order(graph).values())
    sources = {
        "genai_config.json": _by_settings(settings_beside(graph.file.path)),
        "names": by_names(inputs, graph.outputs),
        "shapes": _by_shapes(graph),
    }
    for how, proposed in sources.items():
        pairs = {into: output for into, output in proposed.items() if into in graph.shapes and output in graph.shapes}
        if all(graph.fits(*pair) for pair in pairs.items()) and len({*pairs.values()}) == most:
            return how, dict.fromkeys(inputs, "") | pairs
    return "order", _by_order(graph)


def _require_fit(graph: OnnxGraph, pairs: OutputOf) -> None:
    inputs = [port.name for port in graph.states]
    for into, output in pairs.items():
        for name, known, what in ((into, inputs, "input that takes a state"), (output, graph.outputs, "output")):
            if name not in known:
                raise UsageError(f"--state-pairs {into}={output}: {name} is no {what}; there are {', '.join(known)}")
        if not graph.fits(into, output):
            shapes = f"{into} is {graph.shapes[into]} and {output} {graph.shapes[output]}"
            raise UsageError(f"--state-pairs {into}={output}: type or shape differ: {shapes}")
    left = {*graph.outputs} - {*pairs.values()}
    if missing := [name for name in inputs if name not in pairs and any(graph.fits(name, each) for each in left)]:
        raise UsageError(f"--state-pairs names no output for {', '.join(missing)}: give every input that takes a state")


def _by_settings(settings: Mapping[str, Any]) -> dict[str, str]:
    """Return the pairs of onnxruntime-genai: `past_…_names` of the inputs, `present_…_names` of the outputs."""
    pairs = {}
    for key, pattern in settings.get("inputs", {}).items():
        partner = settings["outputs"].get(key.replace("past_", "present_", 1))
        if key.startswith("past_") and isinstance(pattern, str) and isinstance(partner, str):
            for layer in range(settings["layers"] if "%d" in pattern else 1):
                pairs[pattern.replace("%d", str(layer))] = partner.replace("%d", str(layer))
    return pairs


def by_names(inputs: Sequence[str], outputs: Sequence[str]) -> dict[str, str]:
    """Pair inputs with the one output of the same name but for words that say read or written.

    Example:
        >>> by_names(["h0_in", "c0_in"], ["c0_out", "h0_out", "logits"])
        {'h0_in': 'h0_out', 'c0_in': 'c0_out'}
        >>> by_names(["h_0", "state"], ["h_n", "stateN"]), by_names(["a", "b"], ["a1", "b1"])
        ({'h_0': 'h_n', 'state': 'stateN'}, {})
        >>> by_names(["past_key_values.0.key", "past_key_values.0.value"], ["present.0.value", "present.0.key"])
        {'past_key_values.0.key': 'present.0.key', 'past_key_values.0.value': 'present.0.value'}
    """
    partners, pairs = [_key(name, drop="n") for name in outputs], []
    for drop in ("", "0"):
        keys = {name: _key(name, drop=drop) for name in inputs}
        single = {name: key for name, key in keys.items() if [*keys.values()].count(key) == partners.count(key) == 1}
        pairs.append({name: outputs[partners.index(key)] for name, key in single.items()})
    return max(pairs, key=len)


def _key(name: str, drop: str) -> tuple[str, ...]:
    """Return the words of a name but for those that say read or written; `drop` ends it: `h0` begins, `hn` ends."""
    split = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower().replace("past_key_values", "past")
    words = [word for word in re.findall(r"[a-z]+|\d+", split) if word not in _ROLES]
    if drop and words and words[-1] == drop:
        words.pop()
    elif drop == "n" and words and len(words[-1]) > 1:
        words[-1] = words[-1].removesuffix("n")
    return tuple(word for word in words if word not in _ROLES)


def _by_shapes(graph: OnnxGraph) -> dict[str, str]:
    fitting = {port.name: [name for name in graph.outputs if graph.fits(port.name, name)] for port in graph.states}
    return {into: names[0] for into, names in fitting.items() if len(names) == 1}


def _by_order(graph: OnnxGraph) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for port in graph.states:
        free = (name for name in graph.outputs if name not in pairs.values() and graph.fits(port.name, name))
        pairs[port.name] = next(free, "")
    return pairs


# The search


def neighbours(pairs: OutputOf, outputs: Sequence[str], fits: Callable[[str, str], bool]) -> Iterator[dict[str, str]]:
    """Yield the pairs with two outputs exchanged, or with one replaced by an output that no input gets."""
    for a, b in combinations(pairs, 2):
        if fits(a, pairs[b]) and fits(b, pairs[a]):
            yield {**pairs, a: pairs[b], b: pairs[a]}
    for into in pairs:
        for output in outputs:
            if output not in pairs.values() and fits(into, output):
                yield {**pairs, into: output}


def search(
    pairs: OutputOf,
    outputs: Sequence[str],
    fits: Callable[[str, str], bool],
    distance: Callable[[OutputOf], float],
    most: float,
) -> OutputOf | None:
    """Return pairs whose distance is at most `most`: climb by exchanges, then try permutations; None if none agrees."""
    best, least = pairs, distance(pairs)
    while least > most:
        near = [(distance(each), each) for each in neighbours(best, outputs, fits)]
        closest = min(near, key=lambda pair: pair[0], default=(math.inf, best))
        if closest[0] >= least:
            break
        least, best = closest
    if least <= most:
        return best
    nothing = [""] * [*pairs.values()].count("")
    every = islice(_permutations([*pairs], [*outputs, *nothing], fits), _MOST_PERMUTATIONS)
    return next((each for each in every if distance(each) <= most), None)


def _permutations(
    inputs: Sequence[str], outputs: Sequence[str], fits: Callable[[str, str], bool]
) -> Iterator[dict[str, str]]:
    if not inputs:
        yield {}
        return
    first, *rest = inputs
    for at, output in enumerate(outputs):
        if fits(first, output):
            for others in _permutations(rest, [*outputs[:at], *outputs[at + 1 :]], fits):
                yield {first: output, **others}


# Behaviour


class _Reader:
    """Calls of a graph over 16 tokens, cut in several ways."""

    def __init__(self, graph: OnnxGraph) -> None:
        self.graph, self.rows = graph, 1 if graph.rows else 2
        self.ids = ordinary_ids(graph.width, (self.rows, graph.tokens or _TOKENS), [0, 0])
        self.names = [port.name for port in graph.states]

    def read(self, pairs: OutputOf, lengths: Sequence[int], moved: Callable[[str, Any], Any] | None = None) -> Doubles:
        """Return the logits `(rows, positions, V)` of calls; `moved` alters what an input gets."""
        state, logits = self.graph.start(self.rows), []
        step = GraphStep(graph=self.graph, pairs=pairs)
        for piece in cut(self.ids, lengths):
            scores, outputs = self.graph.call(piece, state)
            logits.append(scores)
            state = step.carried(state, outputs)
            if moved is not None:
                state = {name: moved(name, array) for name, array in state.items()}
        return as_logits([logits[-1] if self.graph.last_only else np.concatenate(logits, axis=1)])[0]

    @cached_property
    def whole(self) -> Doubles:
        return self.read({}, (_TOKENS,))

    @cached_property
    def spread(self) -> float:
        if not self.graph.last_only:
            return context_spread(self.whole)
        start = self.graph.start(self.rows)
        every = [self.graph.call(each, start)[0] for each in cut(self.ids, _CUTS[1])]
        return context_spread(as_logits([np.concatenate(every, axis=1)])[0])

    @cached_property
    def tolerance(self) -> float:
        """The largest difference that is rounding."""
        half = "float16" if any(dtype == np.float16 for dtype in self.graph.dtypes.values()) else ""
        rounding = Limits.of_noise(5 * HALF_TYPES[half] if half else ASSUMED_NOISE, half=half).tolerance
        return max(rounding, _TIMES_SCALE * self._noise_of_scales()) if self.graph.scales_calls else rounding

    def _noise_of_scales(self) -> float:
        """Return how far other rows and later tokens of a call move the logits of the first row, by their scale."""
        kept = _TOKENS if self.graph.last_only else _TOKENS // 2
        others = other_ids(self.ids, self.graph.width)
        others[0, :kept] = self.ids[0, :kept]
        moved = as_logits([self.graph.call(others, self.graph.start(self.rows))[0]])[0]
        return float(differences(moved[:1, :kept], self.whole[:1, :kept], self.spread).max())

    def distance(self, pairs: OutputOf, cuts: Sequence[Sequence[int]] = _CUTS[:1], **moved: Any) -> float:
        """Return the largest difference between one call and several, in units of the context spread."""
        readings = (self.read(pairs, lengths, **moved) for lengths in cuts)
        return max(float(differences(each, self.whole, self.spread).max()) for each in readings)

    def agrees(self, pairs: OutputOf, **moved: Any) -> bool:
        """Return whether calls of all cuts give the logits of one call."""
        return self.distance(pairs, _CUTS, **moved) <= self.tolerance

    def outputs(self, ids: NDArray[np.int32], moved: str = "") -> tuple[Arrays, Arrays]:
        """Return the state before a call, random numbers, and its outputs; those of one input are drawn anew."""
        state = {}
        for at, (name, array) in enumerate(self.graph.start(self.rows, _PAST_TOKENS).items()):
            draws = np.random.default_rng([at, name == moved]).normal(0, 0.3, array.shape)
            state[name] = draws.astype(array.dtype) if array.dtype.kind == "f" else array + (name == moved)
        logits, outputs = self.graph.call(ids, state)
        return state, {**outputs, self.graph.logits: logits}

    def is_read(self, name: str) -> bool:
        """Return whether an input changes any output."""
        outputs, moved = (self.outputs(self.ids, which)[1] for which in ("", name))
        return any(not np.array_equal(outputs[each], moved[each], equal_nan=True) for each in outputs)


def _by_behaviour(reader: _Reader, how: str, prior: OutputOf) -> Pairing:
    """Judge pairs by calls of 16 tokens, cut in several ways."""
    graph, outputs = reader.graph, reader.graph.outputs
    if not np.isfinite(reader.whole).any() or not reader.spread:
        return Pairing(pairs=prior, how=how, verdict="inconclusive", message="the logits do not follow the text")
    found = prior if reader.agrees(prior) else search(prior, outputs, graph.fits, reader.distance, reader.tolerance)
    if found is None or (found is not prior and not reader.agrees(found)):
        rule, seen = _fault(reader, prior)
        return Pairing(pairs=prior, how=how, verdict="fail", rule=rule, message=seen)
    if found is not prior and how not in _UNNAMED:
        largest = reader.distance(prior, _CUTS)
        seen = f"{_crossed(prior, found)} (pairs by {how}; one call of {_TOKENS} tokens and several differ by "
        seen += f"{largest:.2g} of the context spread, and by no more than rounding with the exchanged pairs)"
        return Pairing(pairs=prior, how=how, verdict="fail", rule="crossed-state", message=seen)
    near = {str(each): (reader.distance(each, _CUTS), each) for each in neighbours(found, outputs, graph.fits)}
    doubts = [each for size, each in near.values() if size <= reader.tolerance and _matters(reader, found, each)]
    if doubts:
        seen = f"{_crossed(found, doubts[0])} as well: calls agree with both pairs to within {reader.tolerance:.2g}"
        return Pairing(pairs=found, how=how, verdict="inconclusive", message=f"it cannot be seen whether {seen}")
    nearest = min((size for size, _ in near.values() if size > reader.tolerance), default=None)
    seen = "confirmed by behaviour"
    if found is not prior:
        seen = f"found by behaviour, other than by {how}: {_crossed(prior, found)}"
    if nearest is not None:
        seen += f" (no other pairs agree; the nearest differ by {nearest:.2g} of the context spread)"
    return Pairing(pairs=found, how=how, verdict="pass", message=seen)


def _crossed(wrong: OutputOf, right: OutputOf) -> str:
    """Name the inputs that get another output than they need."""
    return "; ".join(
        f"{into} needs {right[into] or 'zeros'} and gets {output or 'zeros'}"
        for into, output in wrong.items()
        if right[into] != output
    )


def _matters(reader: _Reader, one: OutputOf, other: OutputOf) -> bool:
    """Return whether two pairings that agree carry different numbers into an input that is read."""
    given, outputs = reader.outputs(reader.ids)
    a, b = (GraphStep(graph=reader.graph, pairs=pairs).carried(given, outputs) for pairs in (one, other))
    return any(not np.array_equal(a[into], b[into]) and reader.is_read(into) for into in one)


def _fault(reader: _Reader, prior: OutputOf) -> tuple[str, str]:
    """Return the fault of a graph for which no pairs agree, and what is seen of it."""
    graph = reader.graph
    if seen := next(_lost(reader, prior), ""):
        return "ignored-state", seen
    for names, axis, order in _orders(graph):

        def moved(name: str, array: Any, *, names: Any = names, axis: int = axis, order: Any = order) -> Any:
            return np.take(array, order, axis) if name in names else array

        if reader.distance(prior, moved=moved) <= reader.tolerance and reader.agrees(prior, moved=moved):
            into, outputs = " and ".join(names), " and ".join(prior[name] for name in names)
            seen = f"the slices of axis {axis} of {outputs} are in another order than at {into}: {[*order]} agrees"
            return "misplaced-state", seen
    if alone := [into for into, output in prior.items() if not output]:
        return "ignored-state", f"{', '.join(alone)} gets nothing: no output is left that has its type and shape"
    size = reader.distance(prior, _CUTS)
    seen = f"no pairing makes the calls agree: one call of {_TOKENS} tokens and several differ by {size:.2g} of the "
    return "chunk-variance", f"{seen}context spread"


def _lost(reader: _Reader, prior: OutputOf) -> Iterator[str]:
    """Yield what shows that a state that has a partner is not given out, or not read."""
    state, outputs = reader.outputs(reader.ids)
    _, after = reader.outputs(other_ids(reader.ids, reader.graph.width))
    for into, output in prior.items():
        if not output:
            continue
        if np.array_equal(outputs[output], state[into]):
            yield f"{output} gives {into} back as it was: the new state is not given out"
        elif not outputs[output].any():
            yield f"{output}, which {into} gets, is all zeros"
        elif not reader.is_read(into):
            yield f"{into} is never read: no output depends on it"
        elif state[into].dtype.kind == "f" and np.array_equal(outputs[output], after[output]):  # counters never do
            yield f"{output}, which {into} gets, does not follow the text"


def _orders(graph: OnnxGraph) -> Iterator[tuple[tuple[str, ...], int, tuple[int, ...]]]:
    """Yield orders of the slices of a short axis, for all states that have it and for each of them."""
    places: dict[tuple[int, int], tuple[str, ...]] = {}
    for port in graph.states:
        for axis, size in enumerate(port.sizes):
            if isinstance(size, int) and 2 <= size <= 4:
                places[axis, size] = (*places.get((axis, size), ()), port.name)
    for (axis, size), names in places.items():
        for group in dict.fromkeys((names, *((name,) for name in names))):
            for order in islice(permutations(range(size)), 1, None):
                yield group, axis, order


# Loss


def _by_loss(graph: OnnxGraph, how: str, prior: OutputOf, text: NDArray[np.int32] | None) -> Pairing:
    """Judge the pairs of a graph that reads one token a call by its loss, in paired intervals over 8 batches."""
    if seen := next(_lost(_Reader(graph), prior), ""):
        return Pairing(pairs=prior, how=how, verdict="fail", rule="ignored-state", message=seen)
    tokens = "one token" if graph.tokens == 1 else f"{graph.tokens} tokens"
    calls = f"it reads {tokens} in every call, so no other calls can be compared"
    if text is None or len(text) <= LEAST_TOKENS:
        read = "" if text is None else f", and the text has {len(text):,}"
        seen = f"{calls}: give --text with more than {LEAST_TOKENS:,} tokens{read}"
        return Pairing(pairs=prior, how=how, verdict="inconclusive", message=seen, needs_text=True)
    best, losses = prior, _losses(graph, prior, text)
    while True:
        near = [(each, _losses(graph, each, text) - losses) for each in neighbours(best, graph.outputs, graph.fits)]
        quantile = stdtrit(_BATCHES - 1, 1 - 0.025 / max(len(near), 1))
        bounds = [(each, change.mean(), quantile * change.std(ddof=1) / math.sqrt(_BATCHES)) for each, change in near]
        better = min(bounds, key=lambda bound: bound[1], default=None)
        if better is None or not better[1] + better[2] < 0:
            break
        best, losses = better[0], _losses(graph, better[0], text)
    if best is not prior and how not in _UNNAMED:
        gain = losses.mean() - _losses(graph, prior, text).mean()
        seen = f"{_crossed(prior, best)} (pairs by {how}; the exchanged pairs change the loss by "
        seen += f"{gain:+.3f} nats/token)"
        return Pairing(pairs=prior, how=how, verdict="fail", rule="crossed-state", message=seen)
    doubts = [each for each, change, margin in bounds if not change - margin > 0]
    if doubts or not bounds:
        seen = f"no significant difference in loss tells whether {_crossed(best, doubts[0])}" if doubts else calls
        return Pairing(pairs=best, how=how, verdict="inconclusive", message=seen)
    _, change, margin = min(bounds, key=lambda bound: bound[1])
    seen = f"confirmed by loss (the nearest other pairs cost {change:+.3f} ± {margin:.3f} nats/token)"
    seen += f": {_crossed(prior, best)}" * (best is not prior)
    return Pairing(pairs=best, how=how, verdict="pass", message=seen)


def _losses(graph: OnnxGraph, pairs: OutputOf, text: NDArray[np.int32]) -> Doubles:
    """Return the mean loss of each of 8 batches of a text, `(8,)`, in nats a token."""
    length = graph.tokens or 1
    step, time = GraphStep(graph=graph, pairs=pairs), LEAST_TOKENS // _BATCHES // length * length
    starts = np.arange(_BATCHES) * ((len(text) - 1) // _BATCHES)
    ids = text[starts[:, None] + np.arange(time + 1)]
    means = []
    for rows in [ids] if graph.rows is None else np.split(ids, _BATCHES):
        logits = step(rows[:, :-1], graph.start(len(rows)))[0].astype(np.float64)
        chosen = np.take_along_axis(logits, rows[:, 1:, None], axis=2)[..., 0]
        means.append((logsumexp(logits, axis=2) - chosen).mean(axis=1))
    return np.concatenate(means)
