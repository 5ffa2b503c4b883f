"""Slim baselines: run records of at most 256 blocks, small enough to be committed.

Blocks nest: the ends of blocks of 512 bytes are also ends of blocks of 256 bytes. So blocks can be merged without the
text, and a full record is merged to the blocks of a slim one before the two are compared.
"""

from collections.abc import Sequence
from dataclasses import replace as replace_side

import numpy as np
from msgspec.structs import replace
from numpy.typing import ArrayLike

from rnneval.gates.sides import Side
from rnneval.records import Run
from rnneval.records.run import Blocks

MOST_BLOCKS = 256
"""Largest number of blocks of a slim record, unless it has more documents."""
SUMS = ("nats", "newlines", "top1", "top5")
"""Sums that a slim record keeps: those of every metric of loss and accuracy."""
_INSIDE = ("states", "gates", "lyapunov", "context", "token_by_token", "beside_reset", "ngram")


def slim(run: Run) -> Run:
    """Return the record with merged blocks, the sums of loss and accuracy alone, and no diagnostics of the model.

    Scores, text, signature and checkpoint stay as they are. A block never reaches beyond the end of its document, so a
    text of more than 256 documents keeps one block for each.
    """
    blocks = run.blocks
    kept = replace(blocks, sums={name: values for name, values in blocks.sums.items() if name in SUMS})
    small = replace(run, blocks=kept, **dict.fromkeys(_INSIDE))
    ends, document = np.array(blocks.bytes, dtype=np.int64), np.array(blocks.document, dtype=np.int64)
    most = max(MOST_BLOCKS, np.unique(document).size)
    size, larger = 256, ends
    while larger.size > most:
        size *= 2
        # A block begins at a multiple of the size at which it was cut, or up to half that size after it.
        place = np.append(0, ends[:-1]) // size
        larger = ends[np.append((np.diff(place) != 0) | (np.diff(document) != 0), True)]
    return merged(small, larger)


def on_common_blocks(sides: Sequence[Side]) -> tuple[Side, ...]:
    """Merge the blocks of runs on the same text to those of the run that has the fewest, where they nest."""
    fewest: dict[str, tuple[int, ...]] = {}
    for run in (run for side in sides for run in side.runs):
        ends = run.blocks.bytes
        fewest[run.text.sha256] = min(fewest.get(run.text.sha256, ends), ends, key=len)
    return tuple(
        replace_side(side, runs=tuple(merged(run, fewest[run.text.sha256]) for run in side.runs)) for side in sides
    )


def merged(run: Run, ends: ArrayLike) -> Run:
    """Return the run with its blocks merged to those that end at `ends`, `(blocks,)`.

    The run is unchanged if one of `ends` is no end of its blocks, or if a merged block would hold two documents.
    """
    blocks, wanted = run.blocks, np.asarray(ends, dtype=np.int64)
    last = np.flatnonzero(np.isin(blocks.bytes, wanted))
    if last.size != wanted.size or last.size in (0, len(blocks.bytes)) or last[-1] != len(blocks.bytes) - 1:
        return run
    first = np.append(0, last[:-1] + 1)
    document = np.array(blocks.document)
    if (document[first] != document[last]).any():
        return run

    def counts(column: Sequence[int]) -> tuple[int, ...]:
        return tuple(np.add.reduceat(np.array(column, dtype=np.int64), first).tolist())

    def sums(column: Sequence[float]) -> tuple[float, ...]:
        return tuple(np.add.reduceat(np.array(column, dtype=np.float64), first).tolist())

    larger = Blocks(
        bytes=tuple(wanted.tolist()),
        document=tuple(document[last].tolist()),
        scored_bytes=counts(blocks.scored_bytes),
        tokens=counts(blocks.tokens),
        characters=counts(blocks.characters),
        words=counts(blocks.words),
        unknown=counts(blocks.unknown),
        sums={name: sums(values) for name, values in blocks.sums.items()},
    )
    ngram = None if run.ngram is None else replace(run.ngram, nats=sums(run.ngram.nats))
    return replace(run, blocks=larger, ngram=ngram)
