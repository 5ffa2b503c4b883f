"""Tokens and what each stands for: from the end of the token before to its own end, so that nothing is lost.

Text after the last token of a document belongs to that token. A document without any token is no document to a model:
its text belongs to the first token of the next (which is never scored), or at the end of all to the last token.
"""

from array import array
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnneval.text.layout import LayoutWatch
from rnneval.text.spool import Spans, Spool
from rnneval.text.tokenise import Batch
from rnneval.text.units import Counts, Ints, Units

_COUNTS = ("characters", "bytes", "words", "newlines", "unknown")
_GAPS = ("gap", "blank")


class Spanner:
    """Turns batches into spans on a spool, whatever piece a span began in."""

    def __init__(self, spool: Spool, eos_id: int | None) -> None:
        self.document_starts = array("q")
        self.layouts = LayoutWatch()
        self._spool = spool
        self._eos_id = eos_id
        self._held: Spans | None = None
        """The last token so far, which may yet get the text after it."""
        self._rest: dict[str, int] = {}
        """Sums over the units after the last token."""
        self._rest_runs_on = False
        self._in_document = False
        """The document has a token."""

    @property
    def tokens(self) -> int:
        """How many there are so far."""
        return self._spool.tokens + (self._held is not None)

    def feed(self, batch: Batch) -> None:
        """Take the next units and tokens."""
        if batch.ends is None and not self._rest:
            self._begin_documents(batch.starts)
            self._put(_every_unit(batch))
            return
        ends = np.arange(1, len(batch.ids) + 1) if batch.ends is None else batch.ends
        before = np.searchsorted(ends, batch.starts, side="right") if batch.before is None else batch.before
        start = self._close_document(batch, before)
        if not len(ends):
            self._keep(batch.units, start)
            return
        stops = self._with_trailing(ends, batch.starts, before)
        firsts = self._begin_documents(before[before < len(ends)])
        self._put(self._sums(batch, start, stops, firsts))
        self._keep(batch.units, int(stops[-1]))
        self._in_document = before[-1:].tolist() != [len(ends)]

    def finish(self) -> None:
        """Say that nothing follows."""
        if self._held is None:
            return
        if self._rest:
            self.layouts.trail()
            self._add_to_held(self._rest)
        self._spool.append(self._held)
        self._held = None

    def _close_document(self, batch: Batch, before: Ints) -> int:
        """Where a document starts before the first token, give what precedes to the last; tell where that ends."""
        if not self._in_document or before[:1].tolist() != [0]:
            return 0
        start = int(batch.starts[0])
        self._keep(batch.units, 0, start)
        if self._rest:
            self.layouts.trail()
            self._add_to_held(self._rest)
        self._in_document = False
        return start

    def _with_trailing(self, ends: Ints, starts: Ints, before: Ints) -> Ints:
        """Let the last token of each document reach to the document's end."""
        last, where = np.unique(before, return_index=True)  # of documents without tokens, the first start counts
        where, last = where[last > 0], last[last > 0] - 1
        if (ends[last] != starts[where]).any():
            self.layouts.trail()
        stops = ends.copy()
        stops[last] = starts[where]
        return stops

    def _begin_documents(self, firsts: Ints) -> Ints:
        """Note which tokens, counted from the next one, are the first of a document."""
        firsts = np.unique(firsts) if self._in_document else np.union1d(firsts, [0])
        self.document_starts.extend((self.tokens + firsts).tolist())
        self._in_document = True
        return firsts

    def _put(self, spans: Spans) -> None:
        """Write all but the last."""
        if self._held is not None:
            self._spool.append(self._held)
        self._spool.append(_cut(spans, slice(None, -1)))
        self._held = _cut(spans, slice(-1, None))

    def _sums(self, batch: Batch, start: int, stops: Ints, firsts: Ints) -> Spans:
        """Add up the units of each token, and what was left before the first."""
        begins, units = np.append(start, stops[:-1]), batch.units
        sums = {name: _sums_between(getattr(units, name), begins, stops) for name in _names(units)}
        runs_on = units.runs_on[begins]
        if self._rest:
            runs_on[0] = self._rest_runs_on
        for name, rest in self._rest.items():
            sums[name][0] += rest
        self._rest = {}
        if units.gap is not None:
            is_first = np.zeros(len(stops), bool)
            is_first[firsts] = True
            self.layouts.feed(sums.pop("gap"), sums.pop("blank"), _equal(batch.ids, self._eos_id), is_first)
        return Spans(ids=batch.ids, runs_on=runs_on, **sums)

    def _keep(self, units: Units, start: int, stop: int | None = None) -> None:
        """Keep units after the last token for the next one."""
        which = slice(start, stop)
        if not len(units.characters[which]):
            return
        if not self._rest:
            self._rest_runs_on = bool(units.runs_on[start])
        for name in _names(units):
            self._rest[name] = self._rest.get(name, 0) + int(getattr(units, name)[which].sum(dtype=np.int64))

    def _add_to_held(self, rest: dict[str, int]) -> None:
        """Give the last token the text after it."""
        if self._held is not None:
            self._held = replace(self._held, **{name: getattr(self._held, name) + rest[name] for name in _COUNTS})
        self._rest = {}


def _sums_between(counts: Counts, begins: Ints, stops: Ints) -> Ints:
    """Add up the counts of each token; one that shares its character with the next has none itself."""
    sums: Ints = np.add.reduceat(counts[: stops[-1]], begins, dtype=np.int64)
    sums[begins == stops] = 0
    return sums


def _every_unit(batch: Batch) -> Spans:
    counts = {name: getattr(batch.units, name) for name in _COUNTS}
    return Spans(ids=batch.ids, runs_on=batch.units.runs_on, **counts)


def _cut(spans: Spans, which: slice) -> Spans:
    return Spans(**{name: getattr(spans, name)[which] for name in Spans.__dataclass_fields__})


def _equal(ids: NDArray[Any], id_: int | None) -> NDArray[np.bool_]:
    return np.zeros(len(ids), bool) if id_ is None else ids == id_


def _names(units: Units) -> tuple[str, ...]:
    return _COUNTS if units.gap is None else (*_COUNTS, *_GAPS)
