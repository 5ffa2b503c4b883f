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
from rnneval.text.units import Ints, Units

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
        """Take the next units and tokens of the document."""
        if not len(batch.ids):
            self._keep(batch.units, 0)
            return
        if not self._in_document:
            self.document_starts.append(self.tokens)
            self._in_document = True
        if batch.ends is None and not self._rest:
            self._put(_every_unit(batch))
        else:
            self._put(self._sums(batch, np.arange(1, len(batch.ids) + 1) if batch.ends is None else batch.ends))

    def end_document(self) -> None:
        """Say that what follows is another document."""
        if self._in_document:
            self.layouts.end_document(trailing=bool(self._rest))
            self._close_held()
        self._in_document = False

    def finish(self) -> None:
        """Say that nothing follows."""
        self.end_document()
        if self._rest:
            self.layouts.end_document(trailing=True)
        if self._held is not None:
            self._close_held()
            self._spool.append(self._held)
            self._held = None

    def _put(self, spans: Spans) -> None:
        """Write all but the last."""
        if self._held is not None:
            self._spool.append(self._held)
        self._spool.append(_cut(spans, slice(None, -1)))
        self._held = _cut(spans, slice(-1, None))

    def _sums(self, batch: Batch, ends: Ints) -> Spans:
        starts = np.append(0, ends[:-1])
        units, last = batch.units, int(ends[-1])
        names = _COUNTS if units.gap is None else (*_COUNTS, *_GAPS)
        sums = {name: np.add.reduceat(getattr(units, name)[:last], starts, dtype=np.int64) for name in names}
        runs_on = units.runs_on[starts]
        for name, rest in self._rest.items():
            sums[name][0] += rest
        runs_on[0] = self._rest_runs_on if self._rest else runs_on[0]
        self._rest = {}
        self._keep(units, last)
        if units.gap is not None:
            self.layouts.feed(sums.pop("gap"), sums.pop("blank"), _equal(batch.ids, self._eos_id))
        return Spans(ids=batch.ids, runs_on=runs_on, **sums)

    def _keep(self, units: Units, start: int) -> None:
        """Keep what stands after the last token for the next one."""
        if start == len(units.characters):
            return
        if not self._rest:
            self._rest_runs_on = bool(units.runs_on[start])
        for name in _COUNTS if units.gap is None else (*_COUNTS, *_GAPS):
            sum_ = int(getattr(units, name)[start:].sum(dtype=np.int64))
            self._rest[name] = self._rest.get(name, 0) + sum_

    def _close_held(self) -> None:
        """Give the last token the text after it."""
        if self._held is not None and self._rest:
            counts = {name: getattr(self._held, name) + self._rest[name] for name in _COUNTS}
            self._held = replace(self._held, **counts)
            self._rest = {}


def _every_unit(batch: Batch) -> Spans:
    counts = {name: getattr(batch.units, name) for name in _COUNTS}
    return Spans(ids=batch.ids, runs_on=batch.units.runs_on, **counts)


def _cut(spans: Spans, which: slice) -> Spans:
    return Spans(**{name: getattr(spans, name)[which] for name in Spans.__dataclass_fields__})


def _equal(ids: NDArray[Any], id_: int | None) -> NDArray[np.bool_]:
    return np.zeros(len(ids), bool) if id_ is None else ids == id_
