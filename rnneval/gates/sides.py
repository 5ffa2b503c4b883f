"""Baseline and candidate: the runs of each side, and their block sums over the text that both scored.

*Recipe*: the way in which a model is trained; several runs of a side are trainings of one recipe. *Block*: the unit in
which a record keeps sums. *Piece*: one block, or several if tokens of one side straddle the ends between them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rnneval.errors import UsageError
from rnneval.gates.clusters import Columns, block_size, columns_of
from rnneval.gates.histories import TrainingHistory
from rnneval.records import Record, Run


@dataclass(frozen=True, kw_only=True)
class Named:
    """A record and its name in messages: its path on the command line."""

    name: str
    record: Record | TrainingHistory


@dataclass(frozen=True, kw_only=True)
class Side:
    """The runs of one side: one, or several trainings of one recipe."""

    name: str
    names: tuple[str, ...]
    runs: tuple[Run, ...]


@dataclass(frozen=True, kw_only=True)
class Sides:
    """Baseline and candidate."""

    baseline: Side
    candidate: Side

    @property
    def several(self) -> bool:
        """True if any side has several runs, so that the spread between trainings is seen."""
        return len(self.baseline.runs) + len(self.candidate.runs) > 2

    @property
    def about(self) -> str:
        """Scope of a verdict."""
        return "this recipe" if self.several else "these checkpoints"


def named(runs: Run | Sequence[Run] | None, role: str) -> tuple[Named, ...]:
    """Name runs given in Python by their checkpoints or tables of losses, with a number where two have the same."""
    if runs is None:
        return ()
    several = (runs,) if isinstance(runs, Run) else tuple(runs)
    numbered = len({run.source.path for run in several}) < len(several)
    return tuple(
        Named(name=f"{run.source.path or role}{f' ({i})' if numbered else ''}", record=run)
        for i, run in enumerate(several, 1)
    )


def side(records: Sequence[Named], role: str) -> Side:
    """Return the runs of one side.

    Raises:
        UsageError: there is none, one checkpoint stands there twice, or the baseline holds another kind of record.
    """
    if role == "baseline" and (odd := next((each for each in records if not isinstance(each.record, Run)), None)):
        raise UsageError(f"{odd.name}: is no run record, so it cannot be a baseline: see rnneval evaluate --out")
    pairs = [(each.name, each.record) for each in records if isinstance(each.record, Run)]
    if not pairs:
        raise UsageError(f"no run record as {role}: a record of rnneval evaluate --out is needed")
    names, runs = tuple(name for name, _ in pairs), tuple(run for _, run in pairs)
    if len({run.source.sha256 for run in runs}) < len(runs):
        raise UsageError(f"the {role} has one checkpoint twice: several records are several trainings of one recipe")
    name = names[0] if len(names) == 1 else f"{len(names)} runs: {', '.join(names)}"
    return Side(name=name, names=names, runs=runs)


@dataclass(frozen=True, kw_only=True)
class SideSums:
    """Block sums of the runs of one side, over the common pieces of text."""

    columns: tuple[Columns, ...]
    """Sums of each run, `(quantities, pieces)`."""
    sum_names: tuple[str, ...]
    lossless: bool


@dataclass(frozen=True, kw_only=True)
class Paired:
    """Both sides over the same pieces of text: blocks, or runs of blocks where tokens straddle their ends."""

    baseline: SideSums
    candidate: SideSums
    units: NDArray[np.float64]
    """Weight of a piece: tokens if both sides have the same, else scored bytes; above 0: `(pieces,)`."""
    document: NDArray[np.intp]
    start: NDArray[np.int64]
    """Beginning of each piece, in bytes of the final text: `(pieces,)`."""
    end: NDArray[np.int64]
    """End of each piece, in bytes of the final text: `(pieces,)`."""
    block_bytes: int
    left_out: float
    """Share of the baseline's scored bytes that only one side scored in full."""


def pair(baseline: Sequence[Run], candidate: Sequence[Run], *, same_tokens: bool) -> Paired | None:
    """Align the block sums of both sides; None if not a single piece was scored by both.

    The runs of one side have the same blocks, and both sides the same cuts (`comparable` checks it).
    """
    ours, theirs = baseline[0].blocks, candidate[0].blocks
    scored = np.array([ours.scored_bytes, theirs.scored_bytes], dtype=np.float64)
    document = np.array(ours.document, dtype=np.intp)
    piece = np.arange(document.size) if same_tokens else common_pieces(document, scored[0] - scored[1])
    weight = np.array(ours.tokens, dtype=np.float64) if same_tokens else scored[0]
    inside = piece >= 0
    of_piece = np.bincount(piece[inside], weights=weight[inside], minlength=1)
    kept = np.flatnonzero(inside & (of_piece[piece] > 0))
    if not kept.size:
        return None
    first = np.flatnonzero(np.diff(piece[kept], prepend=-1))
    end = np.array(ours.bytes, dtype=np.int64)
    return Paired(
        baseline=_sums(baseline, kept, first),
        candidate=_sums(candidate, kept, first),
        units=np.add.reduceat(weight[kept], first),
        document=document[kept][first],
        start=np.concatenate([[0], end[:-1]])[kept][first],
        end=end[kept][np.append(first[1:], kept.size) - 1],
        # Blocks may have been merged; ends of documents come on top, and the last cut may fall on the end of the text.
        block_bytes=block_size(int(end[-1]), document.size - np.unique(document).size + 2),
        left_out=1 - float(scored[0, kept].sum() / scored.sum(axis=1).max()),
    )


def common_pieces(document: NDArray[np.intp], surplus: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return the piece of each block: a piece begins where both sides score the same bytes to the end of the document.

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


def _sums(runs: Sequence[Run], kept: NDArray[np.intp], first: NDArray[np.intp]) -> SideSums:
    names = tuple(sorted(set.intersection(*(set(run.blocks.sums) for run in runs))))
    return SideSums(
        columns=tuple(np.add.reduceat(columns_of(run.blocks, names)[:, kept], first, axis=1) for run in runs),
        sum_names=names,
        lossless=not any(is_lossy(run) for run in runs),
    )


def is_lossy(run: Run) -> bool:
    """Return whether the tokens do not give the text back, so that bits per character have no value."""
    return "bits_per_char" not in run.scores or any(warning.code == "lossy" for warning in run.warnings)
