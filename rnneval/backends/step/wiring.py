"""Wiring check of a step function, by its behaviour alone: there are no layers to look into.

Each test reads the same ids in two ways that must give the same logits (or, for `used` and `leaves`, must not), and
names the first position at which they do not. Positions count from 0. The tests, under their keys in the record:

- `chunk`: one token a call, against one call over all tokens, calls of 1 to 65 tokens one after the other, and a first
  call of each of these lengths. Lengths are 1, 3, and powers of two and their neighbours, where chunked forms err.
- `causal`: a later token of a call is altered; the logits before it must stay.
- `batch`: all rows but row 0 are altered; row 0 must stay. `alone`: row 0 is read without the other rows.
- `used`: another text before; the logits must change.
- `leaves`: one array of the state is exchanged for that of another text; the logits must change.
- `repeat`: the same calls twice. `fresh`: a text is read again after another one.
"""

import inspect
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property, partial
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rnneval.backends.protocol import Vectors
from rnneval.backends.step.packing import StatePacking
from rnneval.backends.step.probing import absolute_differences, largest_number
from rnneval.errors import CheckpointError
from rnneval.records.wiring import Oracle, Wiring
from rnneval.wiring.evidence import Detection, Severity
from rnneval.wiring.facts import Spot, parse_declarations, require_known
from rnneval.wiring.faults import (
    always_random,
    batch_leak,
    chunk_variance,
    future_leak,
    leftover_state,
    unused_part,
    unused_state,
)
from rnneval.wiring.judging import SEVERITIES, finding_of

if TYPE_CHECKING:
    from rnneval.backends.step.model import StepLM

_LENGTHS = (1, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65)
"""Tokens of calls: 1, 3, and powers of two and their neighbours."""
_TOKENS = sum(_LENGTHS)
_FIRST = (1, 2, 3, 4, 5, *_LENGTHS[2:])  # tokens of a first call, which begins with the initial state
_AFTER = 8  # tokens of the call after it
_SHORT = (16, 64)  # calls of the other tests
_ALTERED = (1, 2, 15, 33, 63)  # tokens of the second short call that `causal` alters, each in a run of its own
_TOLERANCE, _OF_HALF_TYPES = 1e-4, 2e-2
"""Largest difference of equal logits, relative to the largest logit; right forms differ by 1e-6 in float32."""
_NUDGE = 1e-6
_COLUMNS = 2048  # logits of a token that are compared, at most: a state that is wrong moves them all
_FEWEST = 8  # tokens: fewer that can be compared leave `chunk` open
_FAULTS: tuple[tuple[str, ModuleType], ...] = (
    ("fresh", leftover_state),
    ("repeat", always_random),
    ("causal", future_leak),
    ("batch", batch_leak),
    ("alone", batch_leak),
    ("chunk", chunk_variance),
    ("used", unused_state),
    ("leaves", unused_part),
)
"""The fault that each test finds, in the order of findings."""

Ids = NDArray[np.int32]
Logits = NDArray[np.float64]  # (rows, time, V)


def check(lm: "StepLM", *, declare: Iterable[str] = (), seed: int = 0) -> Wiring:
    """Test whether a step function carries its state right; a model may be declared to look ahead (`causal=false`)."""
    declared = parse_declarations(declare)
    require_known(declared, ())
    oracles = _Tests(lm, seed).run()
    found = []
    for name, fault in _FAULTS:
        if name in oracles and oracles[name].verdict == "fail" and (declared.causal or name != "causal"):
            # What is seen ahead depends on where a call ends.
            severity: Severity | None = "warning" if name == "chunk" and not declared.causal else None
            seen = oracles[name].detail
            sentence = seen if seen.startswith("state") else f"{seen[0].upper()}{seen[1:]}"  # a path stays as it is
            at = _spot(lm.function.step)
            found.append(finding_of(fault, Detection(seen=sentence, group=None, severity=severity, at=at)))
    found.sort(key=lambda finding: SEVERITIES.index(finding.severity))
    errors = list(dict.fromkeys(finding.rule for finding in found if finding.severity == "error"))
    doubts = dict.fromkeys(oracle.detail for oracle in oracles.values() if oracle.verdict == "inconclusive")
    verdict: Literal["pass", "fail", "inconclusive"] = "fail" if errors else "inconclusive" if doubts else "pass"
    reason = (
        f"the behaviour of the step function is right: {_TOKENS} tokens give the same logits however they are cut into "
        f"calls, and {len(oracles) - 1} other tests agree"
    )
    return Wiring(
        verdict=verdict,
        reason=", ".join(errors) or "; ".join(doubts) or reason,
        layers=(),
        flow=(),
        findings=tuple(found),
        oracles=oracles,
        declared=declared.given,
        calls=len(_LENGTHS),
        wired_by="author",
    )


def _spot(step: Callable[..., Any]) -> Spot:
    """Return file and line of the user's function, where they are known."""
    function = inspect.unwrap(step)
    code = getattr(function, "__code__", None) or getattr(type(function).__call__, "__code__", None)
    return Spot() if code is None else Spot(file=code.co_filename, line=code.co_firstlineno)


class _Difference(NamedTuple):
    """The comparison of two readings of the same ids."""

    what: str  # which readings they are
    largest: float  # relative to the largest logit; infinite where a number is not finite
    position: int | None  # the first position beyond the tolerance; None where they agree

    def __str__(self) -> str:
        if self.position is None:
            size = f"{self.largest:.2g} of the largest logit" if self.largest else "no difference"
            return f"{self.what}: {size}"
        at = f"at position {self.position}, by up to {self.largest:.2g} of the largest logit"
        return f"{self.what}: they differ first {at}"


class _Tests:
    """The tests of one model; a model whose code fails leaves a test open."""

    def __init__(self, lm: "StepLM", seed: int) -> None:
        self.lm, self.packing, self.seed = lm, lm.packing, seed
        self.ids = lm.function.random_ids(2 if lm.batched else 1, _TOKENS, seed)  # the text that all tests read
        types = [str(getattr(leaf.like, "dtype", "")) for leaf in lm.packing.leaves] if lm.packing is not None else []
        # Largest difference of logits that agree, for the types of the state.
        self.tolerance = _OF_HALF_TYPES if any("float16" in name for name in types) else _TOLERANCE

    @cached_property
    def by_token(self) -> Logits:
        return self.read(self.ids, [1] * _TOKENS)

    @cached_property
    def short(self) -> Logits:
        return self.read(self.ids, _SHORT)

    def run(self) -> dict[str, Oracle]:
        """Run all tests; where equal calls differ, nothing else can be compared."""
        repeat = self._guarded(self.repeat)
        tests = {"chunk": self.chunk, "causal": self.causal, "batch": self.batch, "used": self.used}
        if self.lm.batched:
            tests["alone"] = self.alone
        if self.packing is not None and self.packing.leaves:
            tests["leaves"] = partial(self.leaves, self.packing)
        tests["fresh"] = self.fresh
        if repeat.verdict == "fail":
            why = "step gives other logits for the same calls, so nothing else can be compared"
            return {**{name: self._open(why) for name in tests}, "repeat": repeat}
        return {**{name: self._guarded(test) for name, test in tests.items()}, "repeat": repeat}

    def read(self, ids: Ids, lengths: Sequence[int], state: Any = None, *, begins: bool = True) -> Logits:
        """Read ids in calls of these lengths, the state handed on as it was returned."""
        state = self.lm.initial_state(len(ids)) if begins else state
        found, at = [], 0
        for length in lengths:
            logits, state = self.lm.function(ids[:, at : at + length], state)
            found.append(logits[..., :: -(-self.lm.width // _COLUMNS)].astype(np.float64))
            at += length
        return np.concatenate(found, axis=1)

    def chunk(self) -> Oracle:
        limit = _TOKENS
        differences = self._of_cuts(limit)
        if any(difference.position is not None for difference in differences):
            limit = self._horizon()
            differences = self._of_cuts(limit)
        if limit < _FEWEST:
            return self._open(f"a change of {_NUDGE:g} in the state changes the logits after {limit} tokens")
        failed = [difference for difference in differences if difference.position is not None]
        worst = max(differences, key=lambda difference: difference.largest)
        said = "; ".join(map(str, sorted(failed, key=lambda difference: difference.position or 0) or [worst]))
        after = "" if limit == _TOKENS else f" (only the first {limit}: later, rounding of the state grows)"
        parts = self._wrong_parts() if failed else ""
        return self._oracle(f"one token a call against {said}{after}{parts}", worst.largest, fails=bool(failed))

    def _of_cuts(self, limit: int) -> list[_Difference]:
        """Compare every way to cut the text with one token a call, up to a position."""
        wanted = self.by_token[:, :limit]
        whole = self.read(self.ids, [_TOKENS])[:, :limit]
        several = self._compare("", wanted, self.read(self.ids, _LENGTHS)[:, :limit])
        found = [
            self._compare(f"one call over {_TOKENS} tokens", wanted, whole),
            several._replace(what=f"calls of {_place(several.position)}"),
        ]
        for first in _FIRST:
            logits = self.read(self.ids[:, : first + _AFTER], [first, _AFTER])[:, :limit]
            what = f"a first call of {first} {'token' if first == 1 else 'tokens'} and one of {_AFTER}"
            difference = self._compare(what, wanted[:, : logits.shape[1]], logits)
            if difference.position is not None:
                return [*found, difference]
        return found

    def _wrong_parts(self) -> str:
        """Name the arrays of the state that one call leaves unlike several calls of one token."""
        packing, rows = self.packing, len(self.ids)
        if packing is None:
            return ""
        state = self.lm.initial_state(rows)
        for at in range(max(_FIRST)):
            state = self.lm.function(self.ids[:, at : at + 1], state).state
            if at + 1 not in _FIRST:
                continue
            by_token, at_once = packing.pack(state, rows), self._packed_after(packing, self.ids[:, : at + 1])
            wrong = []
            for leaf in packing.leaves:
                wanted, found = by_token[:, packing.columns(leaf)], at_once[:, packing.columns(leaf)]
                largest = absolute_differences(wanted, found).max(initial=0.0)
                if not leaf.counts and not largest <= self.tolerance * largest_number(wanted):
                    wrong.append(leaf.path)
            if wrong:
                return f"; {', '.join(wrong)} after one call of {at + 1} tokens is unlike that after {at + 1} calls"
        return ""

    def _packed_after(self, packing: StatePacking, ids: Ids) -> Vectors:
        """Return the state after one call over ids, as vectors."""
        return packing.pack(self.lm.function(ids, self.lm.initial_state(len(ids))).state, len(ids))

    def _horizon(self) -> int:
        """Return how many tokens are read until a change of 1e-6 in the state changes the logits."""
        packing = self.packing
        if packing is None:
            return _TOKENS
        vectors = self._packed_after(packing, self.ids[:, :1])
        noise = np.random.default_rng(self.seed).standard_normal(vectors.shape) * _NUDGE * (1 + np.abs(vectors))
        for leaf in packing.leaves:
            if leaf.dtype.kind in "fc":
                vectors[:, packing.columns(leaf)] += noise[:, packing.columns(leaf)].astype(vectors.dtype)
        nudged = self.read(self.ids[:, 1:], [1] * (_TOKENS - 1), packing.unpack(vectors), begins=False)
        found = self._compare("", self.by_token[:, 1:], nudged)
        return _TOKENS if found.position is None else found.position + 1

    def causal(self) -> Oracle:
        found = []
        for altered in _ALTERED:
            at = _SHORT[0] + altered
            ids = self.ids[:, : sum(_SHORT)].copy()
            ids[:, at] = self._other(ids[:, at])
            what = f"the token at position {at} altered, the logits before it"
            found.append(self._compare(what, self.short[:, :at], self.read(ids, _SHORT)[:, :at]))
        return self._judged(max(found, key=lambda each: (each.position is not None, each.largest)))

    def batch(self) -> Oracle:
        if not self.lm.batched:
            return Oracle(verdict="pass", tolerance=self.tolerance, detail="step reads one row at a time")
        ids = self.ids.copy()
        ids[1:] = self._other(ids[1:])
        what = "the other rows altered, the logits of row 0"
        return self._judged(self._compare(what, self.short[:1], self.read(ids, _SHORT)[:1]))

    def alone(self) -> Oracle:
        what = "row 0 with and without the other rows"
        return self._judged(self._compare(what, self.short[:1], self.read(self.ids[:1], _SHORT)))

    def repeat(self) -> Oracle:
        return self._judged(self._compare("the same calls, made twice", self.short, self.read(self.ids, _SHORT)))

    def fresh(self) -> Oracle:
        self.read(self._other(self.ids), (5, 2))
        what = "a text read again from the initial state, after another text"
        return self._judged(self._compare(what, self.short, self.read(self.ids, _SHORT)))

    def used(self) -> Oracle:
        ids = self.ids.copy()
        ids[:, : _SHORT[0]] = self._other(ids[:, : _SHORT[0]])
        difference = self._compare("", self.short[:, _SHORT[0] :], self.read(ids, _SHORT)[:, _SHORT[0] :])
        used = difference.position is not None
        said = "the logits differ" if used else f"the logits of the next {_SHORT[1]} tokens are equal"
        return self._oracle(f"another text before: {said}", difference.largest, fails=not used)

    def leaves(self, packing: StatePacking) -> Oracle:
        text, later = self.ids[:, : _SHORT[0]], self.ids[:, _SHORT[0] : sum(_SHORT)]
        after, elsewhere = self._packed_after(packing, text), self._packed_after(packing, self._other(text))
        wanted = self.read(later, [_SHORT[1]], packing.unpack(after), begins=False)
        unused, exchanged, smallest = [], 0, np.inf
        for leaf in packing.leaves:
            columns = packing.columns(leaf)
            if leaf.counts or np.array_equal(after[:, columns], elsewhere[:, columns]):
                continue  # a position, say, which is the same in both texts
            mixed = after.copy()
            mixed[:, columns] = elsewhere[:, columns]
            seen = self.read(later, [_SHORT[1]], packing.unpack(mixed), begins=False)
            effect = self._compare("", wanted, seen).largest
            exchanged, smallest = exchanged + 1, min(smallest, effect)
            if not effect > 0:
                unused.append(leaf.path)
        said = f"each of {exchanged} arrays of the state exchanged: the logits differ"
        if unused:
            equal = f"the logits of the next {_SHORT[1]} tokens are equal"
            said = f"{', '.join(unused)}: with that of another text in its place, {equal}"
        return self._oracle(said, smallest, fails=bool(unused))

    def _compare(self, what: str, wanted: Logits, seen: Logits) -> _Difference:
        """Compare logits `(rows, time, V)` position by position."""
        found = absolute_differences(wanted, seen).max(axis=(0, 2)) / largest_number(self.short)
        found = np.where(np.isfinite(found), found, np.inf)
        beyond = np.flatnonzero(found > self.tolerance)
        return _Difference(what, float(found.max(initial=0.0)), int(beyond[0]) if beyond.size else None)

    def _other(self, ids: Ids) -> Ids:
        """Return another id at each position, not 0 unless there are but two."""
        low = 1 if self.lm.width > 2 else 0
        span = self.lm.width - low
        other: Ids = ((ids - low + 1 + (span > 3)) % span + low).astype(np.int32)
        return other

    def _guarded(self, test: Callable[[], Oracle]) -> Oracle:
        try:
            return test()
        except CheckpointError as error:
            return self._open(str(error))

    def _open(self, why: str) -> Oracle:
        return Oracle(verdict="inconclusive", tolerance=self.tolerance, detail=why)

    def _judged(self, found: _Difference) -> Oracle:
        """Return the result of a test that passes if there is no difference."""
        return self._oracle(str(found), found.largest, fails=found.position is not None)

    def _oracle(self, detail: str, largest: float, *, fails: bool) -> Oracle:
        finite = largest if np.isfinite(largest) else None
        verdict: Literal["pass", "fail"] = "fail" if fails else "pass"
        return Oracle(verdict=verdict, largest_difference=finite, tolerance=self.tolerance, detail=detail)


def _place(position: int | None) -> str:
    """Return the lengths of the calls, with the call that holds a position."""
    lengths = f"{', '.join(map(str, _LENGTHS[:3]))}, … {_LENGTHS[-1]} tokens"
    if position is None:
        return lengths
    ends = np.cumsum(_LENGTHS)
    call = int(np.searchsorted(ends, position, side="right"))
    return f"{lengths} (in the call of {_LENGTHS[call]} after {int(ends[call]) - _LENGTHS[call]})"
