"""One chunk of a text on a worker: read from a state by the exact method of one process, or its head mended.

The model is opened once a worker process and kept with its compiled steps. Nothing of the text is on the worker but the
ids of the chunk, which come with the task.
"""

import os
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnneval.engine.agreement import Course
from rnneval.engine.arrangement import Arrangement, arranged
from rnneval.engine.kernel import Predicted
from rnneval.engine.observations import Observations
from rnneval.engine.plan import Shape, Stitch, stitch_of
from rnneval.engine.runner import Boundary, Job, Runner
from rnneval.engine.states import Vectors
from rnneval.engine.stitch import Edges, Stitched, Stitching
from rnneval.errors import CheckpointError
from rnneval.models.lm import RecurrentLM
from rnneval.sweeps.chunks import Chunk
from rnneval.sweeps.opening import ALONE, Opening, require_same_files, require_same_version

Head = dict[int, Vectors]
"""States of a chunk's first row by boundary: those by which it is told that a second reading has met the first."""


@dataclass(frozen=True, kw_only=True)
class Order:
    """What is the same for all chunks."""

    path: str
    sha256: str
    opening: Opening
    hashes: Mapping[str, str]
    version: str
    shape: Shape
    seed: int
    tolerance: float
    carried: bool
    """Whether long spans may be cut into rows: where the state is reset, each span is a row."""
    padded: bool
    kernel: str
    width: int

    @property
    def key(self) -> tuple[Any, ...]:
        """What a model and its compiled steps are good for."""
        return self.path, self.sha256, repr(self.opening), self.shape, self.padded, self.kernel


@dataclass(frozen=True, kw_only=True)
class Piece:
    """One chunk, and the number that draws its audited row."""

    index: int
    chunk: Chunk
    ids: NDArray[np.int32]
    """Of its tokens, from its first input to its last target."""


@dataclass(frozen=True, kw_only=True)
class Kept:
    """What a chunk's first row is mended by."""

    start: Vectors
    """The last state of the chunk before."""
    head: Head
    before: Predicted
    """What was predicted in the row."""
    tolerance: float
    """As the chunk's first reading found it reachable."""


@dataclass(frozen=True, kw_only=True)
class WholeRead:
    """A chunk that was read to its end."""

    predicted: Predicted
    """Of every token after the chunk's first, `(n,)`; those that begin a span are without meaning."""
    last: Vectors
    head: Head
    head_tokens: int
    """Of the first row."""
    stitched: Stitched
    threads: int
    kernel: str
    """What ran."""


@dataclass(frozen=True, kw_only=True)
class Mended:
    """A chunk whose head was read again, until it met what was kept."""

    predicted: Predicted
    head: Head
    tokens: int
    """Until it agreed."""
    difference: float


@dataclass(kw_only=True, eq=False)
class _Swapped:
    """The text of a runner that outlives its text."""

    held: NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))

    def ids(self, start: int, stop: int) -> NDArray[np.int32]:
        return self.held[start:stop]


@dataclass(frozen=True, kw_only=True)
class _Ready:
    lm: RecurrentLM
    runner: Runner
    text: _Swapped
    arrangement: Arrangement
    threads: int


_READY: dict[tuple[Any, ...], _Ready] = {}
"""The one model of this process."""


def read_chunk(order: Order, piece: Piece, start: Vectors | None) -> WholeRead:
    """Read a chunk from a state, or from the model's initial state.

    Raises:
        CheckpointError: the checkpoint, or the model that it makes, is not the one that the order is about.
        UsageError: this process has other files or another version of rnneval than the one that gave the order.
    """
    with ALONE:
        return _read(_ready(order), order, piece, start)


def mend_chunk(order: Order, piece: Piece, kept: Kept) -> Mended | WholeRead:
    """Read a chunk's first row again from its real start until it agrees with what was kept; else all of the chunk."""
    with ALONE:
        ready = _ready(order)
        mended = _mended(ready, piece, kept)
        return _read(ready, order, piece, kept.start) if mended is None else mended


def _read(ready: _Ready, order: Order, piece: Piece, start: Vectors | None) -> WholeRead:
    ready.text.held = piece.ids
    spans, edges = piece.chunk.spans, Edges(start=start)
    stitch = (
        stitch_of(spans, order.shape, seed=order.seed + piece.index)
        if order.carried
        else Stitch(spans=spans, audited=None)
    )
    dtype = np.float64 if ready.lm.output_kind == "probabilities" else np.float32
    with Observations(dtype) as observations:
        stitching = Stitching(ready.runner, stitch, observations, order.tolerance, edges=edges)
        stitched = stitching.run()
        predicted = observations.get(1, len(piece.ids))
    assert edges.last is not None  # noqa: S101 - a chunk has at least one prediction
    return WholeRead(
        predicted=predicted,
        last=edges.last,
        head=edges.head,
        head_tokens=int(stitch.spans.stops[0]),
        stitched=stitched,
        threads=ready.threads,
        kernel=ready.arrangement.said,
    )


def _mended(ready: _Ready, piece: Piece, given: Kept) -> Mended | None:
    """Read the first row; None where it came to its end without agreeing."""
    ready.text.held = piece.ids
    course, head, seen = Course(tolerance=given.tolerance), dict(given.head), list[Predicted]()

    def at_boundary(rows: list[Boundary]) -> list[bool]:
        (row,) = rows
        kept, done = head.get(row.job.boundary), row.first - 1
        seen.append(row.predicted)
        if kept is not None and not course.hopeless:
            course.look(row.job.state, kept, row.predicted, _slice(given.before, done, row.job.at))
        if kept is not None and not course.settled:
            head[row.job.boundary] = row.job.state.copy()
        return [not course.settled]

    job = Job(span=0, at=0, stop=len(given.before.nats), state=given.start)
    ready.runner.run(deque([job]), at_boundary)
    if not course.settled:
        return None
    return Mended(
        predicted=Predicted(*(np.concatenate(part) for part in zip(*seen, strict=True))),
        head=head,
        tokens=(job.boundary - 1) * ready.runner.shape.segment,
        difference=course.difference,
    )


def _slice(predicted: Predicted, start: int, stop: int) -> Predicted:
    nats, confidence, rank = predicted
    return Predicted(nats[start:stop], confidence[start:stop], rank[start:stop])


def _ready(order: Order) -> _Ready:
    require_same_version(order.version)
    require_same_files(order.hashes)
    if order.key not in _READY:
        _READY.clear()
        threads = _one_thread()
        lm = order.opening.open(order.path, order.sha256)
        if lm.width != order.width:
            raise CheckpointError(f"{order.path}: {lm.width} outputs on a worker, {order.width} where the text is")
        text = _Swapped()
        # In one part: how rows are divided must not depend on a worker's cores.
        arrangement = replace(arranged(lm, order.kernel), parts=1)
        runner = Runner(lm, text, order.shape, padded=order.padded, arrangement=arrangement)
        _READY[order.key] = _Ready(lm=lm, runner=runner, text=text, arrangement=arrangement, threads=threads)
    _READY[order.key].runner.begin()
    return _READY[order.key]


def _one_thread() -> int:
    """Let TensorFlow use one thread, so that no last digit depends on the machine; say how many it uses."""
    import tensorflow as tf

    try:
        tf.config.threading.set_intra_op_parallelism_threads(1)
    except RuntimeError:  # it is running already
        given = tf.config.threading.get_intra_op_parallelism_threads()
        return int(given or os.environ.get("TF_NUM_INTRAOP_THREADS") or os.cpu_count() or 1)
    return 1
