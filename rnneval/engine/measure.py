"""Measurement of a model on a text: every prediction is made once and added up."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from rnneval.backends.protocol import LanguageModel, Shape
from rnneval.engine.collect import Collector, Observations, losses_written, require_losses_fit, show
from rnneval.engine.lasting import UNCUT, Lasting, look, pays_to_look
from rnneval.engine.options import StateOptions, Streaming
from rnneval.engine.plan import Stitch, shape_for, stitch_of
from rnneval.engine.rows import read_in_rows
from rnneval.engine.runner import Runner, Watch
from rnneval.engine.stitch import Stitched
from rnneval.errors import CheckpointError
from rnneval.records.paths import Named, named, named_checkpoint
from rnneval.text import EncodedText, InMemory, Paths


@dataclass(frozen=True, kw_only=True)
class Shared:
    """The processes that read a text, if several do."""

    workers: int
    chunks: int
    """Number of chunks of the text; each is one task."""
    threads: int
    """Threads of TensorFlow in a process: 1, unless a worker was started with more."""


@dataclass(frozen=True, kw_only=True)
class Read:
    """Settings and statistics of reading a text."""

    shape: Shape
    stitched: Stitched
    kernel: str
    """The kernel that ran, for the record."""
    shared: Shared | None = None


Reader = Callable[[LanguageModel, EncodedText, StateOptions, Streaming, Observations], Read]
"""Reads a text and writes its predictions into the observations."""


@dataclass(frozen=True, kw_only=True)
class Measured(Read):
    """Sums over a text, and how it was read."""

    collected: Collector
    state_signature: str
    seconds: float

    @property
    def total_nats(self) -> float | None:
        """The total loss; None if a loss is not finite."""
        return self.collected.totals().get("nats") if self.collected.not_finite is None else None


def measure(
    lm: LanguageModel,
    text: EncodedText,
    stateful: StateOptions,
    how: Streaming,
    *,
    losses: str | os.PathLike[str] | None = None,
    watch: Watch | None = None,
    reader: Reader | None = None,
) -> Measured:
    """Read a text and add up its losses; a watch sees more of every step.

    A reader reads the text instead of this process; it has no watch.

    Raises:
        CheckpointError: the model gives a token the probability 0, or raises.
        RecordError: the losses cannot be written, or are more than `read_table` accepts.
    """
    if losses is not None:
        require_losses_fit(losses, text)
    collected = Collector(text.blocks, lm.width)
    with Observations(lm) as observations:
        began = time.perf_counter()
        if reader is None:
            read = _read_alone(lm, text, stateful, how, observations, watch=watch)
        else:
            read = reader(lm, text, stateful, how, observations)
        seconds = time.perf_counter() - began
        _show(lm, text, observations, collected, losses, unscored=stateful.unscored)
    _require_positive(lm, collected)
    return Measured(
        collected=collected,
        state_signature=stateful.signature,
        seconds=seconds,
        shape=read.shape,
        stitched=read.stitched,
        kernel=read.kernel,
        shared=read.shared,
    )


def _read_alone(
    lm: LanguageModel,
    text: EncodedText,
    stateful: StateOptions,
    how: Streaming,
    observations: Observations,
    *,
    watch: Watch | None,
) -> Read:
    spans = stateful.spans(text)
    rows, segment, cut = how.rows(lm, spans.predictions), stateful.step, stateful.state == "carry"
    seen = Lasting(lasts=False, fragile=False)
    if cut and how.streams == "auto" and pays_to_look(lm, spans, rows):
        seen = look(lm, text, spans, rows, how)
    if seen.lasts:
        rows, segment, cut = min(rows, len(spans)), segment or UNCUT, False
    shape = shape_for(spans, lm.width, rows=rows, segment=segment)
    stitch = stitch_of(spans, shape, seed=how.seed) if cut else Stitch(spans=spans, audited=None)
    shape = replace(shape, rows=min(shape.rows, max(1, len(stitch.spans))))
    sees = "losses" if watch is None else watch.sees
    scorer = lm.scorer(shape, kernel=how.kernel, padded=how.padded, sees=sees)
    runner = Runner(text, shape, scorer, start=lm.start(), watch=watch)
    stitching = read_in_rows(runner, stitch, observations, how.tolerance, watch=watch, progress=how.progress)
    if seen.lasts:
        stitching.result.lasts, stitching.result.fragile = True, seen.fragile
    return Read(shape=shape, stitched=stitching.result, kernel=scorer.kernel)


def _show(
    lm: LanguageModel,
    text: EncodedText,
    observations: Observations,
    collected: Collector,
    losses: str | os.PathLike[str] | None,
    *,
    unscored: int,
) -> None:
    if losses is None:
        show(text, observations, [collected], unscored=unscored)
        return
    described = {"rnneval.text": text.sha256, "rnneval.checkpoint": lm.checkpoint.sha256}
    with losses_written(losses, text, described) as writer:
        show(text, observations, [collected, writer], unscored=unscored)


def _require_positive(lm: LanguageModel, collected: Collector) -> None:
    """Refuse a model that gives a token the probability 0: its loss is infinite."""
    place = collected.not_finite
    if place is not None and lm.output_kind == "probabilities" and place.value == np.inf:
        raise CheckpointError(
            f"the model gives probability 0 to token {place.token} (byte {place.byte} of the text): its loss is "
            "infinite; give logits instead, or make the softmax a layer, which rnneval can leave out"
        )


def inputs_of(lm: LanguageModel, text: Paths | InMemory) -> list[Named]:
    """Return the files that a model and a text come from, which no output may replace."""
    checkpoint = named_checkpoint("the checkpoint", lm.checkpoint.path) if lm.checkpoint.path else []
    return [*checkpoint, *named("the text", None if isinstance(text, InMemory) else text)]
