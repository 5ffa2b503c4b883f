"""The wiring record: is each layer's state given back to the same layer? Schema `rnneval.wiring/1`."""

from typing import TYPE_CHECKING, Literal

import msgspec

from rnneval.records._base import Count, Stored, Value, shortened

if TYPE_CHECKING:
    from rnneval.records.run import WiringSummary


class Finding(Value, frozen=True, kw_only=True):
    """One fault, its place, and what to write instead."""

    rule: str
    severity: Literal["error", "warning", "info"]
    layer: str | None = None
    source_layer: str | None = None
    file: str | None = None
    line: Count | None = None
    message: str
    help: str


_IN_OTHER_CALLS = frozenset({"cache-operation", "call-variance", "packing-leak", "padding-leak"})
"""Rules of faults in calls that no run makes: it reads rows without padding, from states as the model returned them."""


def breaks_runs(wiring: "Wiring | WiringSummary", segment: int | None = None) -> bool:
    """Return whether a model that fails does so in calls of `segment` tokens, as runs make: no score is valid then."""
    if segment == 1 and wiring.right_by_token:
        return False
    errors = {finding.rule for finding in wiring.findings if finding.severity == "error"}
    return not errors or not errors <= _IN_OTHER_CALLS


class WiredLayer(Value, frozen=True, kw_only=True):
    """A recurrent layer, or a cell called outside of one."""

    name: str
    path: str
    kind: str
    slots: tuple[str, ...]


class Slot(Value, frozen=True, kw_only=True):
    """One state of one layer, such as `h` or `c`."""

    layer: str
    slot: str


class Flow(Value, frozen=True, kw_only=True):
    """One entry of the flow matrix: a state that was given to a layer, and its origin."""

    into: Slot
    source: Slot | str = msgspec.field(name="from")  # A layer's state, or a word: `initial`, `unknown`, …
    kind: str  # `carried`, `carried-transformed`, `crossed`, `swapped`, `mixed`, `misplaced`, `stale`, `fresh`, …
    calls: tuple[Count, ...]  # Segments in which it was seen.


class TestResult(Value, frozen=True, kw_only=True):
    """One behavioural test of the whole model: no hooks, only logits compared."""

    verdict: Literal["pass", "fail", "inconclusive"]
    largest_difference: float | None = None
    tolerance: float
    detail: str


class Wiring(Stored, frozen=True, kw_only=True, tag_field="schema", tag="rnneval.wiring/1"):
    """Observed wiring, and the verdict."""

    command: tuple[str, ...] | None = None  # The command that wrote the record; absent if it was made in Python.
    verdict: Literal["pass", "fail", "inconclusive"]
    reason: str
    layers: tuple[WiredLayer, ...]
    flow: tuple[Flow, ...]
    findings: tuple[Finding, ...]
    oracles: dict[str, TestResult]
    declared: tuple[str, ...]  # The declarations that the verdict rests on, as given to `--declare`.
    calls: Count  # Number of segments that were run.
    wired_by: Literal["author", "rnneval"]
    right_by_token: bool | None = None  # True if a model fails, but calls of one token agree with one of all.
    script: str | None = None  # Code without rnneval that shows a fault of a cached model of transformers.

    def _in_one_line(self) -> str:
        return f"{self.verdict}: {shortened(self.reason)!r}"
