"""Baseline and candidate: the runs of each side, whether they compare, and their sums over the text that both scored.

*Piece*: one block, in which a record keeps sums, or several if tokens of one side straddle the ends between them.
Whether runs compare, and whether a run can pass a gate or be a baseline at all, is decided before any number is looked
at: one diverged run, or part of a text, makes the standard error as large as the difference, whatever the loss.
"""

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from rnneval.errors import UsageError
from rnneval.gates.clusters import NATS, UNITS, Columns, block_size, columns_of
from rnneval.gates.limits import TrainingHistory, read_history
from rnneval.paths import make_folder, write_texts
from rnneval.records import Record, Run, encode, read
from rnneval.records._base import Stored
from rnneval.records.encoding import require_consistent

ACROSS_TOKENS = ("bits_per_char", "bits_per_byte")  # metrics that compare models of other tokens on the same text
_OF_TOKENS = ("tok", "bos")
"""Fields that may differ if bits of the same text are compared over the bytes that both scored."""
_COUNTS = ("tokens", "scored_bytes")  # sums of blocks that may differ then
_HELPED_BY_BITS = {*(f"signature.{name}" for name in _OF_TOKENS), *(f"blocks.{name}" for name in _COUNTS)}
_MEANING = {
    "tok": "other tokens",
    "norm": "the text was normalized differently",
    "newlines": "ends of lines were treated differently",
    "unk": "tokens that the vocabulary lacks were treated differently",
    "docs": "the state was reset at other places",
    "bos": "the first token of a document was scored on one side only",
    "state": "the state was handled differently",
    "defs": "the numbers are defined differently",
}
"""What each field of a signature says if it differs, in the order in which they are named."""
SUMS = ("nats", "newlines", "top1", "top5")  # sums that a slim record keeps: those of every metric of loss and accuracy
FAR = math.log(100)
"""Least distance of `limit` above uniform guessing, in nats: in a small vocabulary a few sure and wrong predictions
reach twice its loss."""
BYTES = math.log(256)  # uniform guessing in nats a byte, for losses whose vocabulary is not known
LARGEST = math.log(np.finfo(float).max)  # mean loss, in nats, above which a perplexity is larger than any float
PARTS = 8
LEAST_TOKENS = 100
"""Tokens that a part needs to be held against `limit`; a few rare tokens may cost a good model as much."""
TWICE = math.log(2)
"""Largest distance between the losses of one recipe's runs, in nats a token: seeds differ by about 0.01."""
_DIAGNOSTICS = ("states", "gates", "lyapunov", "context", "token_by_token", "beside_reset", "ngram")


@dataclass(frozen=True, kw_only=True)
class NamedRecord:
    """A record and its name in messages: its path on the command line."""

    name: str
    record: Record | TrainingHistory


@dataclass(frozen=True, kw_only=True)
class Side:
    """The runs of one side: one, or several trainings of one recipe."""

    name: str
    names: tuple[str, ...]
    runs: tuple[Run, ...]

    @property
    def means(self) -> list[tuple[float, str]]:
        """Mean loss in nats a token and name of each run, the lowest loss first."""
        pairs = zip(self.names, self.runs, strict=True)
        return sorted(((run.total_nats or 0.0) / max(run.tokens.scored, 1), name) for name, run in pairs)


@dataclass(frozen=True, kw_only=True)
class Sides:
    """Baseline and candidate."""

    baseline: Side
    candidate: Side

    @property
    def runs(self) -> tuple[Run, ...]:
        """The runs of both sides."""
        return (*self.baseline.runs, *self.candidate.runs)

    @property
    def several(self) -> bool:
        """True if any side has several runs, so that the spread between trainings is seen."""
        return len(self.runs) > 2

    @property
    def about(self) -> str:
        """Scope of a verdict."""
        return "this recipe" if self.several else "these checkpoints"


RecordOrPath = Record | NamedRecord | str | os.PathLike[str]  # a record, or the path of one


def named(records_or_paths: RecordOrPath | Sequence[RecordOrPath] | None, role: str) -> tuple[NamedRecord, ...]:
    """Name what was given: runs by their checkpoints or tables of losses, with a number where two have the same name.

    A path is read: it is a record, or a training history (a folder or a Parquet file).
    """
    some: Any = () if records_or_paths is None else records_or_paths
    several = some if isinstance(some, list | tuple) else (some,)
    titles = [record.title for record in several if isinstance(record, Run)]
    records = []
    for i, one in enumerate(several, 1):
        if isinstance(one, NamedRecord):
            records.append(one)
        elif isinstance(one, str | os.PathLike):
            place = Path(one)
            record = read_history(place) if place.is_dir() or place.suffix == ".parquet" else read(place)
            records.append(NamedRecord(name=os.fspath(one), record=record))
        elif isinstance(one, Stored):
            number = f" ({i})" if len(set(titles)) < len(titles) else ""
            name = (one.title if isinstance(one, Run) else role) + number
            records.append(NamedRecord(name=name, record=cast("Record", one)))
        else:
            raise UsageError(f"the {role} is a {type(one).__name__}: give a run record, or the path of one")
    return tuple(records)


def side(records: Sequence[NamedRecord], role: str) -> Side:
    """Return the runs of one side; other records stand among candidates alone, for limits on their figures."""
    odd = next((each for each in records if not isinstance(each.record, Run)), None)
    pairs = [(each.name, each.record) for each in records if isinstance(each.record, Run)]
    if odd is not None and (role == "baseline" or not pairs):
        kind = "a training history"
        if not isinstance(odd.record, TrainingHistory):
            kind = f"holds {odd.record.__struct_config__.tag}"
        raise UsageError(f"{odd.name}: {kind}: no run record as {role}: a record of rnneval evaluate --out is needed")
    names, runs = tuple(name for name, _ in pairs), tuple(run for _, run in pairs)
    if len({run.source.identity for run in runs}) < len(runs):
        raise UsageError(f"the {role} has one checkpoint twice: several records are several trainings of one recipe")
    name = names[0] if len(names) == 1 else f"{len(names)} runs: {', '.join(names)}"
    return Side(name=name, names=names, runs=runs)


def fields_of(signature: str) -> dict[str, str]:
    """Split a signature."""
    return dict(part.split(":", 1) for part in signature.split("|"))


def is_lossy(run: Run) -> bool:
    """Return whether the tokens do not give the text back, so that bits per character have no value."""
    return "bits_per_char" not in run.scores or any(warning.code == "lossy" for warning in run.warnings)


def difference_between(baseline: Run, candidate: Run, *, across_tokens: bool = False) -> dict[str, str]:
    """Return why two runs cannot be compared, by the paths of fields such as `signature.state`; empty if they can.

    These are every part of the signature, and the text, or the first of the other fields. Tokens may differ if bits of
    the same bytes are compared (`across_tokens`). The hash of a text is that after normalization.
    """
    parts, others = fields_of(baseline.signature), fields_of(candidate.signature)
    unknown_tokens = max(baseline.tokens.unknown, candidate.tokens.unknown)
    may_differ = (*(_OF_TOKENS if across_tokens else ()), *(() if unknown_tokens else ("unk",)))
    reasons = {
        f"signature.{name}": f"{_MEANING.get(name, 'the runs were made differently')} "
        f"({name}:{parts.get(name, 'absent')} and {name}:{others.get(name, 'absent')})"
        for name in dict.fromkeys((*_MEANING, *parts, *others))
        if parts.get(name) != others.get(name) and name not in may_differ
    }
    if "unknown" in (parts.get("state"), others.get("state")):
        why = "it is not known how the state was handled: import the losses again with --state (state:unknown)"
        reasons["signature.state"] = why
    if baseline.text.sha256 != candidate.text.sha256 and not reasons.keys() & {"signature.norm", "signature.newlines"}:
        reasons["text.sha256"] = "other text"
    if reasons:
        return reasons
    vocabularies = {run.vocabulary.sha256 if run.vocabulary else None for run in (baseline, candidate)}
    if unknown_tokens and len(vocabularies) > 1:
        reason = f"other vocabularies, and up to {unknown_tokens} unknown tokens that were not paid for in full"
        return {"vocabulary.sha256": reason}
    for name in ("bytes", "document", *(() if across_tokens else _COUNTS)):
        if getattr(baseline.blocks, name) != getattr(candidate.blocks, name):
            return {f"blocks.{name}": "the same text was cut or counted differently"}
    return {}


def not_comparable(metric: str, sides: Sides) -> str:
    """Return why these sides cannot be compared by this metric, and what would help; "" if they can."""
    baselines, candidates = ([*zip(each.names, each.runs, strict=True)] for each in (sides.baseline, sides.candidate))
    across = metric in ACROSS_TOKENS
    lossy = [name for name, run in (*baselines, *candidates) if run.total_nats is not None and is_lossy(run)]
    pairs = [(runs[0], run, False) for runs in (baselines, candidates) for run in runs[1:]]
    for one, other, across_tokens in [*pairs, (baselines[0], candidates[0], across)]:
        if not (reasons := difference_between(one[1], other[1], across_tokens=across_tokens)):
            continue
        hint = "evaluate both in the same way"
        if "text.sha256" in reasons:
            texts = f"{_text_of(*one)}, and {_text_of(*other)}, each after normalization"
            reasons["text.sha256"], hint = f"other text: {texts}", "evaluate both on the same text"
        elif other is candidates[0] and reasons.keys() <= _HELPED_BY_BITS and not (across or lossy):
            hint = "bits of the same text compare: --allow bits_per_char=+0.01"
        elif lossy and (across or "signature.tok" in reasons):
            hint = f"no metric compares them, since the tokens of {lossy[0]} do not give the text back (lossy)"
        return "; ".join([*(f"{field}: {reason}" for field, reason in reasons.items()), hint])
    if across and lossy:
        return f"scores.{metric}: absent in {lossy[0]}: its tokens do not give the text back (lossy)"
    return ""


def _text_of(name: str, run: Run) -> str:
    files = ", ".join(file.path for file in run.text.files[:3]) + (", …" if len(run.text.files) > 3 else "")
    return f"{name} scored {files or 'a text'} ({run.text.bytes:,} bytes, {run.text.sha256[:8]}…)"


@dataclass(frozen=True, kw_only=True)
class Paired:
    """Both sides over the same pieces of text: blocks, or runs of blocks where tokens straddle their ends."""

    baseline: Columns  # block sums of each run, `(runs, quantities, pieces)`, in rows as of `columns_of`
    candidate: Columns
    sum_names: tuple[str, ...]  # the sums that every run has
    lossless: bool
    units: NDArray[np.float64]  # tokens of a piece if both sides have the same, else scored bytes; above 0: `(pieces,)`
    document: NDArray[np.intp]
    start: NDArray[np.int64]  # beginning of each piece, in bytes of the final text: `(pieces,)`
    end: NDArray[np.int64]
    block_bytes: int
    left_out: float  # share of the bytes of the side that scored more, of those that only one side scored in full

    @property
    def nats(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The losses of the baseline's runs and of the candidate's, `(runs, pieces)` each."""
        row = UNITS + self.sum_names.index(NATS)
        return self.baseline[:, row], self.candidate[:, row]


def pair(sides: Sides) -> Paired | None:
    """Align the block sums of two sides that compare; None if not a single piece was scored by both.

    The runs of one side have the same blocks, and both sides blocks with the same ends.
    """
    ours, theirs = sides.baseline.runs[0], sides.candidate.runs[0]
    same_tokens = not difference_between(ours, theirs)
    scored = np.array([ours.blocks.scored_bytes, theirs.blocks.scored_bytes], dtype=np.float64)
    document = np.array(ours.blocks.document, dtype=np.intp)
    piece = np.arange(document.size) if same_tokens else common_pieces(document, scored[0] - scored[1])
    weight = np.array(ours.blocks.tokens, dtype=np.float64) if same_tokens else scored[0]
    inside = piece >= 0
    of_piece = np.bincount(piece[inside], weights=weight[inside], minlength=1)
    kept = np.flatnonzero(inside & (of_piece[piece] > 0))
    if not kept.size:
        return None
    first = np.flatnonzero(np.diff(piece[kept], prepend=-1))
    end = np.array(ours.blocks.bytes, dtype=np.int64)
    names = tuple(sorted(set.intersection(*(set(run.blocks.sums) for run in sides.runs))))
    sums = np.stack([np.add.reduceat(columns_of(run.blocks, names)[:, kept], first, axis=1) for run in sides.runs])
    return Paired(
        baseline=sums[: len(sides.baseline.runs)],
        candidate=sums[len(sides.baseline.runs) :],
        sum_names=names,
        lossless=not any(map(is_lossy, sides.runs)),
        units=np.add.reduceat(weight[kept], first),
        document=document[kept][first],
        start=np.concatenate([[0], end[:-1]])[kept][first],
        end=end[kept][np.append(first[1:], kept.size) - 1],
        block_bytes=block_size(int(end[-1])),
        left_out=1 - float(scored[0, kept].sum() / scored.sum(axis=1).max()),
    )


def common_pieces(document: NDArray[np.intp], surplus: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return the piece of each block: a piece begins where both sides score the same bytes to the end of the document.

    A token that straddles the end of a block belongs to the block of its first byte, and tokenisations differ in
    where that is; the blocks on both sides of such an end make one piece. What comes before a document's first common
    end (its first token, unscored on one side) is in no piece: −1. `surplus` is how many bytes one side scored more
    than the other in each block, `(blocks,)`.

    >>> common_pieces(np.array([0, 0, 0, 0]), np.array([-3.0, 0.0, 2.0, -2.0])).tolist()
    [-1, 0, 1, 1]
    """
    to_end_of_text = np.cumsum(surplus[::-1])[::-1]
    last = np.searchsorted(document, document, side="right")  # the block after the document's last
    to_end_of_document = to_end_of_text - np.append(to_end_of_text, 0.0)[last]
    number = np.cumsum(to_end_of_document == 0)
    before = np.append(0, number)[np.searchsorted(document, document, side="left")]
    return np.where(number > before, number - 1, -1).astype(np.intp)


def slim(run: Run) -> Run:
    """Return the record with the sums of loss and accuracy alone and no diagnostics of the model, as baselines are."""
    sums = {name: values for name, values in run.blocks.sums.items() if name in SUMS}
    return replace(run, blocks=replace(run.blocks, sums=sums), **dict.fromkeys(_DIAGNOSTICS))


def limit(uniform: float) -> float:
    """Return the mean loss above which a run has diverged, given that of uniform guessing among V tokens.

    The perplexity is then above V², as far beyond guessing as guessing is from certainty, and above 100 V.
    """
    return uniform + max(uniform, FAR)


def unfit(run: Run) -> str:
    """Return why a run decides nothing, whatever it is compared with; "" if it can be compared."""
    if run.total_nats is None:
        messages = (warning.message for warning in run.warnings if warning.code == "not-finite")
        return f"is not finite: {next(messages, 'a loss is not a number')}"
    if not run.valid:
        broken = run.wiring if run.wiring is not None and run.wiring.verdict == "fail" else None
        return f"is not valid: {broken.reason if broken else run.why_not_valid}".removesuffix(": not valid")
    return _diverged(run)


def problem(side: Side) -> str:
    """Name each run of a side that decides nothing, with its reason; "" if the side can be compared."""
    named = zip(side.names, map(unfit, side.runs), strict=True)
    return "; ".join(f"{name} {reason}" for name, reason in named if reason) or _of_no_recipe(side)


def _diverged(run: Run) -> str:
    """Return the loss of the worst part, a document or an eighth of a single one, if it is too large to compare."""
    blocks, unit = run.blocks, "token" if "uniform" in run.baselines else "byte"
    uniform = run.baselines.get("uniform", BYTES)
    columns = np.array([blocks.sums["nats"], blocks.tokens if unit == "token" else blocks.scored_bytes])
    ends = np.array(blocks.bytes)
    starts = np.flatnonzero(np.diff(blocks.document, prepend=-1))
    if starts.size == 1:
        starts = np.array([part[0] for part in np.array_split(np.arange(ends.size), min(PARTS, ends.size))])
    nats, units = np.concatenate([columns.sum(axis=1, keepdims=True), np.add.reduceat(columns, starts, axis=1)], axis=1)
    means = nats / np.maximum(units, 1)
    most = np.where(units >= LEAST_TOKENS, limit(uniform), LARGEST)
    beyond = ~(means <= most)
    if not beyond.any():
        return ""
    worst = 0 if beyond.all() else int(np.where(beyond, means, -np.inf).argmax())  # 0 is the whole text
    place, hint = "", "; or its vocabulary is in another order than in training"
    if worst:
        bounds = [0, *ends[starts[1:] - 1], ends[-1]]
        place, hint = f" in bytes {bounds[worst - 1]:,} to {bounds[worst]:,}", ""
    reason = f"diverged: {means[worst]:.4g} nats a {unit}{place}, far beyond uniform guessing"
    return f"{reason} ({uniform:.3g}; the limit is {most[worst]:.3g}){hint}"


def _of_no_recipe(side: Side) -> str:
    """Return why the runs of a side are no trainings of one recipe: their losses lie too far apart."""
    if len({(run.text.sha256, run.signature) for run in side.runs}) > 1:  # not comparable, for a better reason
        return ""
    (least, best), (largest, worst) = side.means[0], side.means[-1]
    if largest - least <= TWICE:
        return ""
    return (
        f"{worst} has {largest:.4g} nats a token and {best} {least:.4g}, more than twice the perplexity, where seeds "
        "of one recipe differ by about 1 %: a training failed, or the runs are not of one recipe"
    )


def write_baselines(runs: Mapping[str | os.PathLike[str], NamedRecord]) -> None:
    """Write slim copies of runs as baselines, all of them or none; folders are made."""
    new = side([*runs.values()], "baseline")
    for name, run in zip(new.names, new.runs, strict=True):
        require_consistent(name, run)
    if reason := problem(new):
        raise UsageError(f"no baseline was written, since nothing could be compared with it: {reason}")
    texts = {os.fspath(path): encode(slim(run)) for path, run in zip(runs, new.runs, strict=True)}
    for folder in {Path(path).parent for path in texts}:
        make_folder(folder)
    write_texts(texts)
