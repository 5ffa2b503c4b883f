"""Wiring check of a step function, by its behaviour alone: there are no layers to look into."""

import inspect
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import ModuleType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from rnneval.models.protocol import Vectors
from rnneval.models.state import StateLeaf, StatePacking
from rnneval.models.step import StepLM
from rnneval.models.step.probing import absolute_differences, largest_number
from rnneval.records.wiring import Oracle, Wiring
from rnneval.wiring.behaviour import LONG, Ids, Outputs, Pieces, Subject, run_behaviour, special_ids
from rnneval.wiring.difference import EPSILON, HALF_TYPES
from rnneval.wiring.evidence import Detection, Severity
from rnneval.wiring.facts import Declarations, Spot, parse_declarations, require_known
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

_LARGEST = 1e-5  # difference of two states that are alike, relative to the largest number
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


def check(lm: StepLM, *, declare: Iterable[str] = (), seed: int = 0) -> Wiring:
    """Test whether a step function carries its state right.

    A model may be declared to look ahead (`causal=false`), or to depend on how the text is cut (`chunked=true`).
    """
    declared = parse_declarations(declare)
    require_known(declared, ())
    oracles = run_behaviour(_Adapter(lm).subject(seed))
    found = [
        finding_of(fault, _detection(name, oracles[name].detail, declared, _spot(lm.function.step)))
        for name, fault in _FAULTS
        if _is_fault(name, oracles, declared)
    ]
    found.sort(key=lambda finding: SEVERITIES.index(finding.severity))
    errors = list(dict.fromkeys(finding.rule for finding in found if finding.severity == "error"))
    doubts = dict.fromkeys(oracle.detail for oracle in oracles.values() if oracle.verdict == "inconclusive")
    verdict: Literal["pass", "fail", "inconclusive"] = "fail" if errors else "inconclusive" if doubts else "pass"
    reason = (
        f"the behaviour of the step function is right: {LONG.tokens} tokens give the same logits however they are cut "
        f"into calls, and {len(oracles) - 1} other tests agree"
    )
    return Wiring(
        verdict=verdict,
        reason=", ".join(errors) or "; ".join(doubts) or reason,
        layers=(),
        flow=(),
        findings=tuple(found),
        oracles=oracles,
        declared=declared.given,
        calls=max(map(len, LONG.cuts)),
        wired_by="author",
    )


def _is_fault(name: str, oracles: dict[str, Oracle], declared: Declarations) -> bool:
    """Return whether a test failed that no declaration and no other test explains."""
    explained = {"causal": not declared.causal, "repeat": "fresh" in oracles and oracles["fresh"].verdict == "fail"}
    return name in oracles and oracles[name].verdict == "fail" and not explained.get(name)


def _detection(name: str, seen: str, declared: Declarations, at: Spot) -> Detection:
    severity: Severity | None = None
    if name == "chunk":
        # What is seen ahead depends on where a call ends.
        meant = declared.depends_on_cuts or not declared.causal
        severity, seen = ("warning", seen) if meant else (None, f"{seen} (declare chunked=true if that is meant)")
    sentence = seen if seen.startswith("state") else f"{seen[0].upper()}{seen[1:]}"  # a path stays as it is
    return Detection(seen=sentence, group=None, severity=severity, at=at)


def _spot(step: Callable[..., Any]) -> Spot:
    """Return file and line of the user's function, where they are known."""
    function = inspect.unwrap(step)
    code = getattr(function, "__code__", None) or getattr(type(function).__call__, "__code__", None)
    return Spot() if code is None else Spot(file=code.co_filename, line=code.co_firstlineno)


class _Adapter:
    """A step function as the suite of behaviour calls it."""

    def __init__(self, lm: StepLM) -> None:
        self.lm, self.packing = lm, lm.packing

    def subject(self, seed: int) -> Subject:
        """Return the model as the suite sees it."""
        lm, packing = self.lm, self.packing
        special, ordinary = special_ids(lm.width, lm.vocabulary.id_of("\n") if lm.vocabulary else None)
        halves = [name for name in HALF_TYPES for leaf in (packing.leaves if packing else ()) if name in _type(leaf)]
        return Subject(
            read=self.read,
            rows=2 if lm.batched else 1,
            ordinary=ordinary,
            special=special,
            plan=LONG,
            seed=seed,
            alone=2 if lm.batched else 0,
            half=halves[0] if halves else "",
            read_moved=None if packing is None else self.read_moved,
            moved="state",
            read_after=self.read_after,
            exchanged=self.exchanged if packing is not None and packing.leaves else None,
            unlike_parts=None if packing is None else self.unlike_parts,
        )

    def read(self, pieces: Pieces) -> Outputs:
        """Read pieces, the state handed on as it was returned."""
        return self._read_from(self.lm.initial_state(len(pieces[0])), pieces)[0]

    def _read_from(self, state: Any, pieces: Pieces) -> tuple[list[NDArray[Any]], Any]:
        outputs = []
        for ids in pieces:
            logits, state = self.lm.function(ids, state)
            outputs.append(logits)
        return outputs, state

    def read_moved(self, pieces: Pieces, draw: int) -> Outputs:
        """Read pieces, each number of the state moved after each call by ± one unit in the last place of its type."""
        packing, rows = self._packing(), len(pieces[0])
        generator = np.random.default_rng(draw)
        state, outputs = self.lm.initial_state(rows), []
        for ids in pieces:
            logits, state = self._read_from(state, [ids])
            outputs += logits
            vectors = packing.pack(state, rows)
            for leaf in packing.leaves:
                if leaf.dtype.kind in "fc":
                    columns = vectors[:, packing.columns(leaf)]
                    unit = next((HALF_TYPES[name] for name in HALF_TYPES if name in _type(leaf)), EPSILON)
                    columns *= 1 + unit * generator.choice([-1, 1], columns.shape)
            state = packing.unpack(vectors)
        return outputs

    def read_after(self, before: Pieces, pieces: Pieces) -> Outputs:
        """Read one document, then another from the initial state; return the logits of the second."""
        if before:
            self.read(before)
        return self.read(pieces)

    def exchanged(self, text: Ids, other: Ids, later: Ids) -> Iterator[tuple[str, Outputs]]:
        """Yield the logits of `later` after a text, and those with one array of the state from another text."""
        packing = self._packing()
        after, elsewhere = self._packed_after(text), self._packed_after(other)
        yield "", self._read_from(packing.unpack(after), [later])[0]
        for leaf in packing.leaves:
            columns = packing.columns(leaf)
            if leaf.counts or np.array_equal(after[:, columns], elsewhere[:, columns]):
                continue  # a position, say, which is the same in both texts
            mixed = after.copy()
            mixed[:, columns] = elsewhere[:, columns]
            yield leaf.path, self._read_from(packing.unpack(mixed), [later])[0]

    def unlike_parts(self, ids: Ids, firsts: Sequence[int]) -> str:
        """Name the arrays of the state that one call leaves unlike several calls of one token."""
        packing, rows = self._packing(), len(ids)
        state = self.lm.initial_state(rows)
        for at in range(max(firsts)):
            state = self.lm.function(ids[:, at : at + 1], state).state
            if at + 1 not in firsts:
                continue
            by_token, at_once = packing.pack(state, rows), self._packed_after(ids[:, : at + 1])
            wrong = []
            for leaf in packing.leaves:
                wanted, found = by_token[:, packing.columns(leaf)], at_once[:, packing.columns(leaf)]
                largest = absolute_differences(wanted, found).max(initial=0.0)
                if not leaf.counts and not largest <= _LARGEST * largest_number(wanted):
                    wrong.append(leaf.path)
            if wrong:
                return f"; {', '.join(wrong)} after one call of {at + 1} tokens is unlike that after {at + 1} calls"
        return ""

    def _packed_after(self, ids: Ids) -> Vectors:
        """Return the state after one call over ids, as vectors."""
        state = self.lm.function(ids, self.lm.initial_state(len(ids))).state
        return self._packing().pack(state, len(ids))

    def _packing(self) -> StatePacking:
        assert self.packing is not None  # noqa: S101 - else the suite gets no reader that needs it
        return self.packing


def _type(leaf: StateLeaf) -> str:
    """Return the name of the type of an array in its own library: NumPy may lack it."""
    return str(getattr(leaf.like, "dtype", ""))
