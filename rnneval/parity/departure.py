"""The first part of two models whose states differ by more than rounding, on the way to the first difference."""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from rnneval.arrays import Doubles
from rnneval.errors import CheckpointError
from rnneval.models.protocol import Shape
from rnneval.models.state import as_array, leaves_of
from rnneval.models.step import StepLM
from rnneval.parity.reading import CalledModel, TokenColumns
from rnneval.records.parity import Departure
from rnneval.text import EncodedText

_MOST_TOKENS = 1 << 14  # tokens of a document up to the first difference: more are not read again
_MOST_NUMBERS = 1 << 26
_FAR, _OTHER_SIZE = 1e9, 1e12  # costs of pairs
_ROUNDING = 2e-5  # relative; weights that move by one unit in the last place move states by a tenth of it

ValuesByState = dict[str, NDArray[np.inexact[Any]]]
"""Values of each state after some tokens, `(tokens, numbers)`, real or complex, in the order in which layers run."""


def first_departure(
    first: CalledModel, second: CalledModel, text: EncodedText, columns: TokenColumns, at: int
) -> Departure | None:
    """Return the part that departs first up to a position; None where states are not seen, or agree."""
    token = columns.token_at(at)
    start = int(text.document_starts[np.searchsorted(text.document_starts, token, side="right") - 1])
    length = token - start
    if length > _MOST_TOKENS:
        return None
    ids = text.ids(start, start + length)
    # A step around a module shows arrays of all layers, and the module itself the states of each: these pair with none.
    shown = (True, False) if any(getattr(side.lm, "observer", None) for side in (first, second)) else (True,)
    of_most_pairs = max((_departures(first, second, ids, start, observed) for observed in shown), key=len)
    departures = [each for each in of_most_pairs if each is not None]
    return min(departures, key=lambda each: each.token, default=None)


def _departures(
    first: CalledModel, second: CalledModel, ids: NDArray[np.int32], start: int, observed: bool
) -> list[Departure | None]:
    """Return where each pair of states departs, None of one that does not; no pairs where states are not seen.

    The states are those that an observer sees, where a model has one, or else the arrays that are handed on.
    """
    try:
        (tokens, one), (others, other) = (_states(side, ids, observed) for side in (first, second))
    except CheckpointError:
        return []
    common = np.intersect1d(tokens, others)
    one, other = (
        {name: values[np.searchsorted(seen, common)] for name, values in states.items()}
        for seen, states in ((tokens, one), (others, other))
    )
    pairs, paired_by = _paired(one, other)
    departures: list[Departure | None] = []
    for name, match in pairs:
        difference = _differences(one[name], other[match])
        above = np.flatnonzero(~(difference <= _ROUNDING))
        if not above.size:
            departures.append(None)
            continue
        token, relative = int(start + common[above[0]]), float(np.nan_to_num(difference[above[0]], posinf=1e30))
        departures.append(
            Departure(part=name, in_candidate=match, token=token, difference=relative, paired_by=paired_by)
        )
    return departures


def _differences(a: NDArray[np.inexact[Any]], b: NDArray[np.inexact[Any]]) -> Doubles:
    """Return the largest difference after each token, relative to the first; numbers of equal shape."""
    size = np.maximum(np.abs(a).max(axis=1, initial=0), 1e-30)
    return np.asarray(np.abs(a - b).max(axis=1, initial=0) / size)


def _paired(
    one: ValuesByState, other: ValuesByState
) -> tuple[list[tuple[str, str]], Literal["name", "order and shape", "values"]]:
    """Pair the states of two models by name where all names are alike, else those of one size that begin nearest.

    An exporter may list states by their names. Before the first hand-over all but the wrong ones agree.
    """
    if set(one) == set(other) and all(one[name].shape == other[name].shape for name in one):
        return [(name, name) for name in one], "name"
    distances = [
        [_differences(a[:1], b[:1])[0] if a.shape == b.shape else np.inf for b in other.values()] for a in one.values()
    ]
    costs = np.nan_to_num(np.reshape(distances, (len(one), len(other))), nan=_FAR, posinf=_OTHER_SIZE)
    rows, columns = linear_sum_assignment(costs)
    pairs = [([*one][row], [*other][column]) for row, column in zip(rows, columns, strict=True)]
    same_size = [(a, b) for a, b in pairs if one[a].shape == other[b].shape]
    return same_size, "order and shape" if (np.diff(columns) > 0).all() else "values"


def _states(side: CalledModel, ids: NDArray[np.int32], observed: bool) -> tuple[NDArray[np.int64], ValuesByState]:
    """Read ids in calls; return the tokens after which states are seen, and their values."""
    ids = ids if side.ids is None else side.ids[ids]
    lm = side.lm
    if isinstance(lm, StepLM) and (not observed or lm.observer is None or not lm.mixable):
        return _after_calls(side, lm, ids)
    scorer, start = lm.scorer(Shape(rows=1, segment=side.segment), padded=False, sees="states"), lm.start()[None]
    if getattr(lm, "moved", ()) or len(ids) * start.size > _MOST_NUMBERS:
        raise CheckpointError("the states are not seen, or are too many")
    parts: dict[str, list[NDArray[Any]]] = {}
    state = start
    for first in range(0, len(ids), side.segment):
        piece = ids[None, first : first + side.segment]
        stepped = scorer.score(piece, np.zeros_like(piece), state if side.carries else start, 1)
        state = stepped.states[:1]
        for key, trajectory in stepped.trajectories.states.items() if stepped.trajectories else ():
            parts.setdefault(key, []).append(trajectory.states[0, : piece.shape[1]].reshape(piece.shape[1], -1))
    return np.arange(len(ids)), {key: np.concatenate(rows).astype(np.float64) for key, rows in parts.items()}


def _after_calls(side: CalledModel, lm: StepLM, ids: NDArray[np.int32]) -> tuple[NDArray[np.int64], ValuesByState]:
    """Return the arrays of a step function's state after each call."""
    start = lm.initial_state(1)
    paths, state = [leaf.path for leaf in lm.leaves if leaf.kind == "state"], start
    rows: dict[str, list[NDArray[Any]]] = {path: [] for path in paths}
    ends = [min(first + side.segment, len(ids)) for first in range(0, len(ids), side.segment)]
    for first, end in zip(range(0, len(ids), side.segment), ends, strict=True):
        _, state = lm.step(ids[None, first:end], state if side.carries else start)
        leaves = leaves_of(state)
        for path in paths:
            array = as_array(leaves[path], path)
            rows[path].append(array.astype(np.promote_types(array.dtype, np.float64)).ravel())  # may be complex
    named = {".".join(lm.named(path)): np.array(values) for path, values in rows.items()}
    return np.array(ends) - 1, named
