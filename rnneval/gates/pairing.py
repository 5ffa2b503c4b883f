"""The same bytes on both sides: the runs' block sums laid beside each other, block by block."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rnneval.gates.clusters import Columns, block_size
from rnneval.gates.scales import columns_of
from rnneval.records import Run


@dataclass(frozen=True, kw_only=True)
class Side:
    """The runs of one side: one, or several of one recipe."""

    columns: tuple[Columns, ...]
    """A run each: `(quantities, pieces)`."""
    sum_names: tuple[str, ...]
    lossless: bool


@dataclass(frozen=True, kw_only=True)
class Paired:
    """Both sides over the same pieces of text: blocks, or runs of blocks where tokens straddle their ends."""

    baseline: Side
    candidate: Side
    units: NDArray[np.float64]
    """What a piece weighs: tokens where both have the same, else scored bytes; above 0: `(pieces,)`."""
    document: NDArray[np.intp]
    start: NDArray[np.int64]
    """Where a piece begins and ends, in bytes of the final text: `(pieces,)`."""
    end: NDArray[np.int64]
    block_bytes: int
    left_out: float
    """Share of the baseline's scored bytes that only one side scored in full."""


def pair(baseline: Sequence[Run], candidate: Sequence[Run], *, same_tokens: bool) -> Paired | None:
    """Lay the sides beside each other; None where not a single piece was scored by both.

    The runs of one side have the same blocks, and both sides the same cuts (`comparable` has seen to it).
    """
    ours, theirs = baseline[0].blocks, candidate[0].blocks
    scored = np.array([ours.scored_bytes, theirs.scored_bytes], dtype=np.float64)
    document = np.array(ours.document, dtype=np.intp)
    piece = np.arange(document.size) if same_tokens else common_pieces(document, scored[0] - scored[1])
    weight = np.array(ours.tokens, dtype=np.float64) if same_tokens else scored[0]
    kept = np.flatnonzero((piece >= 0) & (_per_piece(weight, piece) > 0))
    if not kept.size:
        return None
    first = np.flatnonzero(np.diff(piece[kept], prepend=-1))
    end = np.array(ours.bytes, dtype=np.int64)
    return Paired(
        baseline=_side(baseline, kept, first),
        candidate=_side(candidate, kept, first),
        units=np.add.reduceat(weight[kept], first),
        document=document[kept][first],
        start=np.concatenate([[0], end[:-1]])[kept][first],
        end=end[kept][np.append(first[1:], kept.size) - 1],
        block_bytes=block_size(int(end[-1])),
        left_out=1 - float(scored[0, kept].sum() / scored.sum(axis=1).max()),
    )


def common_pieces(document: NDArray[np.intp], surplus: NDArray[np.float64]) -> NDArray[np.intp]:
    """Number the pieces between cuts up to which, from each document's end, both sides scored the same bytes.

    A token that straddles the end of a block belongs to the block of its first byte, and tokenisations differ in
    where that is; the blocks on both sides of such an end make one piece. What comes before a document's first common
    cut (its first token, unscored on one side) is in no piece: −1.

    >>> common_pieces(np.array([0, 0, 0, 0]), np.array([-3.0, 0.0, 2.0, -2.0])).tolist()
    [-1, 0, 1, 1]

    Args:
        document: The document of each block: `(blocks,)`.
        surplus: Bytes that one side scored more than the other in each block: `(blocks,)`.
    """
    to_end_of_text = np.cumsum(surplus[::-1])[::-1]
    last = np.searchsorted(document, document, side="right")  # the block after the document's last
    to_end_of_document = to_end_of_text - np.append(to_end_of_text, 0.0)[last]
    opens = to_end_of_document == 0
    number = np.cumsum(opens)
    before = np.append(0, number)[np.searchsorted(document, document, side="left")]
    return np.where(number > before, number - 1, -1).astype(np.intp)


def _per_piece(weight: NDArray[np.float64], piece: NDArray[np.intp]) -> NDArray[np.float64]:
    """Give each block the weight of its piece; blocks in no piece get 0."""
    inside = piece >= 0
    totals = np.bincount(piece[inside], weights=weight[inside], minlength=1)
    return np.where(inside, totals[piece], 0.0)


def _side(runs: Sequence[Run], kept: NDArray[np.intp], first: NDArray[np.intp]) -> Side:
    names = tuple(sorted(set.intersection(*(set(run.blocks.sums) for run in runs))))
    return Side(
        columns=tuple(np.add.reduceat(columns_of(run.blocks, names)[:, kept], first, axis=1) for run in runs),
        sum_names=names,
        lossless=not any(is_lossy(run) for run in runs),
    )


def is_lossy(run: Run) -> bool:
    """Tell whether the tokens do not give the text back, so that no bits a character can be had."""
    return "bits_per_char" not in run.scores or any(warning.code == "lossy" for warning in run.warnings)
