"""Chunks of a text: how it is cut, and how a worker process reads one by the exact method of one process.

Chunks are cut by sizes alone, so that no result depends on the number of workers. A worker opens the model once and
keeps it with its compiled steps. It gets nothing of the text but the ids of a chunk, which come with the task.

*Span*: consecutive tokens of one document that one state is carried over. *Chunk*: what one task reads: several short
spans, or a piece of a long one. *Row*: a span of the chunk as it is cut again, in the worker, for reading side by side;
the first row begins where the chunk begins. *Segment*: the tokens of one step of the model; its end is a *boundary*.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnneval.backends.protocol import LanguageModel, Predicted, Scorer, Shape, Vectors
from rnneval.engine.agreement import Boundaries
from rnneval.engine.collect import Observations
from rnneval.engine.plan import Ints, Spans, Stitch, cut_spans, stitch_of
from rnneval.engine.rows import Rows, read_in_rows
from rnneval.engine.runner import Runner
from rnneval.engine.stitch import SpanReading, SpanResult, Stitched
from rnneval.errors import CheckpointError
from rnneval.sweeps.opening import ALONE, Opening, require_same_files, require_same_version

_SHORTEST, _LONGEST = 1 << 17, 1 << 20
"""Least and greatest length of a chunk that is chosen, in predictions."""
_CHUNKS = 64
"""Number of chunks that a text is cut into between these lengths, or up to twice as many."""


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """Consecutive spans of a text, or a piece of a long one."""

    starts: Ints
    """First input token of each span, `(spans,)`."""
    stops: Ints
    """Last target of each span, inclusive: a span of stop − start predictions has one token more."""
    continues: bool
    """Whether its first span goes on from the last state of the chunk before; others begin with the initial state."""

    @property
    def first(self) -> int:
        """The first input token of the chunk."""
        return int(self.starts[0])

    @property
    def stop(self) -> int:
        """The last token of the chunk, which is predicted (inclusive)."""
        return int(self.stops[-1])

    @property
    def predictions(self) -> int:
        """Predictions of all spans."""
        return int((self.stops - self.starts).sum())

    @property
    def spans(self) -> Spans:
        """The spans, counted from the first token of the chunk."""
        return Spans(
            starts=self.starts - self.first, stops=self.stops - self.first, previous=np.full(len(self.starts), -1)
        )


def automatic_length(predictions: int) -> int:
    """Choose how long a chunk is at the most, in predictions.

    A chunk is long enough to be read in many rows, since with few rows a step costs more per token. It is never longer
    than a million, so that a lost worker costs little.

    Example:
        >>> [automatic_length(n) for n in (1_000, 1_000_000, 10_000_000, 10**9)]
        [131072, 131072, 131072, 1048576]
    """
    share = max(1, predictions // _CHUNKS)
    return max(_SHORTEST, min(_LONGEST, 1 << (share.bit_length() - 1)))


def chunks_of(spans: Spans, length: int) -> list[Chunk]:
    """Cut spans that are longer than `length`, and put short neighbours together.

    Example:
        >>> spans = Spans(starts=np.array([0, 8, 11]), stops=np.array([7, 10, 12]), previous=np.array([-1, -1, -1]))
        >>> [(c.starts.tolist(), c.stops.tolist(), c.continues) for c in chunks_of(spans, 5)]
        [([0], [5], False), ([5, 8, 11], [7, 10, 12], True)]
    """
    cut = cut_spans(spans, length)
    found: list[Chunk] = []
    begin, held = 0, 0
    for at, size in enumerate(cut.lengths.tolist()):
        if held and held + size > length:
            found.append(_chunk(cut, begin, at))
            begin, held = at, 0
        held += size
    if held:
        found.append(_chunk(cut, begin, len(cut)))
    return found


def _chunk(cut: Spans, begin: int, end: int) -> Chunk:
    return Chunk(starts=cut.starts[begin:end], stops=cut.stops[begin:end], continues=bool(cut.previous[begin] >= 0))


Overlap = dict[int, Vectors]
"""States of the first row of a chunk by boundary, with which those of a re-evaluation are compared."""


@dataclass(frozen=True, kw_only=True)
class ChunkSetup:
    """Settings that all chunks share."""

    path: str
    sha256: str
    """Hash of the checkpoint."""
    opening: Opening
    hashes: Mapping[str, str]
    """Hashes of the files that are read beside the checkpoint, by path: a worker must have the same ones."""
    version: str
    """Version of rnneval."""
    shape: Shape
    """Rows and tokens per row of one step."""
    seed: int
    tolerance: float
    carried: bool
    """Whether long spans may be cut into rows: where the state is reset, each span is a row."""
    padded: bool
    """Whether a short segment is filled up to the length of `shape`, so that one compiled step serves all."""
    kernel: str
    """The kernel that is asked for, as `--kernel` names it."""
    backend: str
    """The library that runs the model where the text is: workers use the same one."""
    width: int
    """Number of the model's outputs, that is, the size of the vocabulary."""

    @property
    def key(self) -> tuple[Any, ...]:
        """Key of an open model with its compiled steps."""
        return self.path, self.sha256, repr(self.opening), self.shape, self.padded, self.kernel


@dataclass(frozen=True, kw_only=True)
class ChunkIds:
    """One chunk with its ids."""

    index: int
    """The chunk's number, added to the seed that picks the audited row."""
    chunk: Chunk
    ids: NDArray[np.int32]
    """Ids of its tokens, from its first input to its last target."""


@dataclass(frozen=True, kw_only=True)
class Earlier:
    """The first reading of a chunk's first row, with which a re-evaluation is compared."""

    start: Vectors
    """The last state of the chunk before: where the re-evaluation begins."""
    overlap: Overlap
    predicted: Predicted
    """Predictions of the row's tokens."""
    tolerance: float
    """Tolerance that the first reading of the chunk found to be reachable."""


@dataclass(frozen=True, kw_only=True)
class WholeChunk:
    """A chunk that was read to its end."""

    predicted: Predicted
    """Predictions of every token after the chunk's first, `(n,)`; those that begin a span are without meaning."""
    last: Vectors
    """The state after its last token."""
    overlap: Overlap
    overlap_tokens: int
    """Predictions of the first row."""
    stitched: Stitched
    threads: int
    kernel: str
    """The kernel that ran, in the words of `Arrangement.said`."""


@dataclass(frozen=True, kw_only=True)
class Reevaluated:
    """A chunk whose first row was re-evaluated until it agreed with the first reading."""

    predicted: Predicted
    overlap: Overlap
    agreed_after: int
    """Tokens up to the start of the last segment that was read.

    The states may have agreed before (`SpanResult.agreed_after`): a reading ends only when the losses agree, too.
    """
    difference: float
    """Difference of the states that agreed."""


@dataclass(kw_only=True, eq=False)
class _SwappedIds:
    """The text of a runner that is kept for several chunks: the ids of the one that it reads now."""

    held: NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))

    def ids(self, start: int, stop: int) -> NDArray[np.int32]:
        return self.held[start:stop]


@dataclass(frozen=True, kw_only=True)
class _OpenModel:
    lm: LanguageModel
    runner: Runner
    text: _SwappedIds
    scorer: Scorer
    threads: int

    def observations(self) -> Observations:
        return Observations(np.float64 if self.lm.output_kind == "probabilities" else np.float32)


_OPEN: dict[tuple[Any, ...], _OpenModel] = {}
"""The one model of this process."""


def read_chunk(setup: ChunkSetup, given: ChunkIds) -> WholeChunk:
    """Read a chunk from the model's initial state.

    Raises:
        CheckpointError: the checkpoint, or the model that it makes, is not the one that was asked for.
        UsageError: this process has other files or another version of rnneval than the one that asks.
    """
    with ALONE:  # one model at a time in this process
        return _read(_opened(setup, given), setup, given, None)


def reevaluate_chunk(setup: ChunkSetup, given: ChunkIds, earlier: Earlier) -> Reevaluated | WholeChunk:
    """Re-evaluate the first row of a chunk until it agrees with the first reading.

    If it ends without agreement, all of the chunk is read from `earlier.start`.
    """
    with ALONE:
        model = _opened(setup, given)
        return _reevaluated(model, earlier) or _read(model, setup, given, earlier.start)


def _read(model: _OpenModel, setup: ChunkSetup, given: ChunkIds, start: Vectors | None) -> WholeChunk:
    spans, overlap = given.chunk.spans, Overlap()
    if setup.carried:
        stitch = stitch_of(spans, setup.shape, seed=setup.seed + given.index)
    else:
        stitch = Stitch(spans=spans, audited=None)
    with model.observations() as seen:
        stitching = read_in_rows(model.runner, stitch, seen, setup.tolerance, start=start, overlap=overlap)
        predicted = seen.get(1, len(given.ids))  # token 0 is never predicted
    return WholeChunk(
        predicted=predicted,
        last=stitching.last(len(stitch.spans) - 1),
        overlap=overlap,
        overlap_tokens=int(stitch.spans.stops[0]),
        stitched=stitching.result,
        threads=model.threads,
        kernel=model.scorer.kernel,
    )


def _reevaluated(model: _OpenModel, earlier: Earlier) -> Reevaluated | None:
    """Re-evaluate the first row of a chunk; return None if it comes to its end without agreement."""
    row = Spans(starts=np.array([0]), stops=np.array([len(earlier.predicted.nats)]), previous=np.array([-1]))
    kept = Boundaries([0], earlier.start)
    for boundary, known in earlier.overlap.items():
        kept.put(0, boundary, known)
    ends: list[SpanResult] = []

    def on_end(ended: SpanResult) -> tuple[SpanReading, ...]:
        ends.append(ended)
        return ()

    with model.observations() as seen:
        seen.put(1, earlier.predicted.packed())
        reading = SpanReading(span=0, start=earlier.start, reevaluates=True, tolerance=earlier.tolerance)
        Rows(model.runner, row, seen, kept=kept).read([reading], on_end)
        (ended,) = ends
        if ended.last is not None:
            return None
        predicted = seen.get(1, 1 + ended.tokens)  # as above, from token 1 on
    overlap = {boundary: state for boundary in earlier.overlap if (state := kept.get(0, boundary)) is not None}
    segment = model.runner.shape.segment
    return Reevaluated(
        predicted=predicted,
        overlap=overlap,
        agreed_after=(ended.tokens - 1) // segment * segment,
        difference=ended.difference,
    )


def _opened(setup: ChunkSetup, given: ChunkIds) -> _OpenModel:
    """Open the model if this process has not yet, and let it read a chunk."""
    require_same_version(setup.version)
    require_same_files(setup.hashes)
    if setup.key not in _OPEN:
        _OPEN.clear()
        threads = _one_thread() if setup.backend == "keras" else 1
        lm = setup.opening.open(setup.path, setup.sha256, kernel=setup.kernel, backend=setup.backend)
        if lm.width != setup.width:
            raise CheckpointError(f"{setup.path}: {lm.width} outputs on a worker, {setup.width} where the text is")
        text = _SwappedIds()
        scorer = lm.scorer(setup.shape, kernel=setup.kernel, padded=setup.padded, parallel=False)
        runner = Runner(text, setup.shape, scorer, start=lm.start())
        _OPEN[setup.key] = _OpenModel(lm=lm, runner=runner, text=text, scorer=scorer, threads=threads)
    model = _OPEN[setup.key]
    model.text.held = given.ids
    model.runner.begin()
    return model


def _one_thread() -> int:
    """Let TensorFlow use one thread, so that no last digit depends on the machine; return how many it uses."""
    import tensorflow as tf

    try:
        tf.config.threading.set_intra_op_parallelism_threads(1)
    except RuntimeError:  # it is running already
        given = tf.config.threading.get_intra_op_parallelism_threads()
        return int(given or os.environ.get("TF_NUM_INTRAOP_THREADS") or os.cpu_count() or 1)
    return 1
