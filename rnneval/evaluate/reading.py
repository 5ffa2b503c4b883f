"""Reading of a text, and the sums of its losses: every prediction is made once and added up.

Rows side by side pay where each soon forgets the state from which it began. A model that does not forget reads its rows
one after the other at last, and all that was read before is lost. That is little where a step of many rows costs
little, and as much as the reading itself where most of the work is done for each token: a large vocabulary. There, two
passages show beforehand whether the model forgets; if it does not, the text is read in one row.
"""

import os
import time
from collections import deque
from dataclasses import dataclass, replace

import numpy as np

from rnneval.errors import CheckpointError
from rnneval.evaluate.losses import Losses, LossSums, Observations, add_up, require_losses_fit, write_losses
from rnneval.evaluate.plan import SEGMENT, Spans, Streaming, chunk_ends, divided, shape_for
from rnneval.evaluate.rows import Boundary, Job, Read, Reader, Rows, Runner, TextReading, Watch, grew, nudged
from rnneval.evaluate.stitch import PASSES, scaled_difference, segments_to_go
from rnneval.models.protocol import Ids, LanguageModel, Shape
from rnneval.models.state import numbers_of
from rnneval.text import EncodedText

_PASSAGE = 8 * SEGMENT  # tokens of each of the two passages that show whether a model forgets
_UNCUT = 16 * SEGMENT  # tokens of a segment of spans that are not cut: their states are compared with none
_WORTH = 2**17  # predictions of a text from which on looking costs no more than a hundredth


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Sums over a text, and how it was read."""

    read: Read
    sums: LossSums
    state: str
    """Field of the signature, such as `state:carry`."""
    seconds: float


def measure(
    lm: LanguageModel,
    text: EncodedText,
    how: Streaming,
    *,
    losses: str | os.PathLike[str] | None = None,
    watch: Watch | None = None,
    reader: Reader | None = None,
) -> Measured:
    """Read a text, add up its losses, and write them to a table if its path is given.

    A watch sees more of every step. A reader reads the text instead of this process.
    """
    if losses is not None:
        require_losses_fit(losses, text)
    observations = Observations(lm, 0, text.tokens)
    asked = TextReading(lm=lm, text=text, how=how, observations=observations, watch=watch)
    began = time.perf_counter()
    read = (reader or read_text)(asked)
    seconds = time.perf_counter() - began
    table = Losses(text=text, unscored=how.unscored, **observations.get(0, text.tokens)._asdict())
    sums = add_up(table, lm.width)
    place = sums.not_finite
    if place is not None and lm.output_kind == "probabilities" and place.value == np.inf:
        raise CheckpointError(
            f"the model gives probability 0 to token {place.token} (byte {place.byte} of the text): its loss is "
            "infinite; give logits instead, or make the softmax a layer, which rnneval can leave out"
        )
    if losses is not None:
        model = {"rnneval.checkpoint": lm.checkpoint.sha256, "rnneval.model": lm.checkpoint.identity}
        write_losses(table, losses, {"rnneval.text": text.sha256, **model})
    return Measured(read=read, sums=sums, state=how.signature, seconds=seconds)


def read_text(asked: TextReading) -> Read:
    """Read a text in this process, or in others beside it where that ends sooner."""
    lm, text, how, watch = asked.lm, asked.text, asked.how, asked.watch
    spans = how.spans(text)
    segment, cut = how.step, how.state == "carry"
    rows = how.rows(lm, spans.predictions, apart=not cut)
    if not (cut or lm.mixable):
        segment = how.segment
    lasts = fragile = False
    if cut and how.streams == "auto" and pays_to_look(lm, spans, rows):
        lasts, fragile = _look(lm, text, spans, rows, how)
    long = len(chunk_ends(spans.predictions, lm.checkpoint.parameters)) > 1
    if lm.backend == "numpy" and how.streams == "auto" and long and not lasts:
        from rnneval.evaluate.chunks import read_beside

        if (read := read_beside(asked)) is not None:
            return read
    if lasts:
        rows, segment, cut = min(rows, len(spans)), segment or _UNCUT, False
    shape = shape_for(spans, lm.width, rows=rows, segment=segment, chunk=lm.chunk)
    spans, audited = divided(spans, shape, seed=how.seed) if cut else (spans, None)
    shape = replace(shape, rows=min(shape.rows, max(1, len(spans))))
    sees = "losses" if watch is None else watch.sees
    scorer = lm.scorer(shape, padded=how.padded, sees=sees)
    runner = Runner(text, shape, scorer, start=lm.start(), watch=watch, padded=how.padded)
    reader = Rows(runner, spans, asked.observations, progress=how.progress)
    stitched = reader.stitched(how.tolerance, audited=audited).result
    if lasts:
        stitched.lasts, stitched.fragile = True, fragile
    return Read(shape=shape, stitched=stitched)


def pays_to_look(lm: LanguageModel, spans: Spans, rows: int) -> bool:
    """Return whether a text is so long, and the vocabulary so large, that reading in vain would cost much."""
    long = int(spans.lengths.max(initial=0)) >= 2 * _PASSAGE and spans.predictions >= _WORTH
    return long and rows > 1 and lm.width > len(numbers_of(lm.start()))


def _look(lm: LanguageModel, text: Ids, spans: Spans, rows: int, how: Streaming) -> tuple[bool, bool]:
    """Return whether a carried state still counts after several passes over spans that fill the rows, and fragility.

    A passage is read from three states side by side: that after the passage before, the initial one, a nudged one. The
    rate at which the first two approach each other says how long a row would have to be. The state is fragile if the
    nudge, a change of 1e-6, grew.
    """
    longest = int(np.argmax(spans.lengths))
    shape = Shape(rows=3, segment=SEGMENT)
    scorer = lm.scorer(shape, padded=how.padded)
    runner = Runner(text, shape, scorer, start=lm.start())
    middle = int(spans.starts[longest]) + _PASSAGE
    before = Job(span=longest, at=middle - _PASSAGE, stop=middle, state=lm.start())
    runner.run(deque([before]), lambda rows: [True] * len(rows))
    carried = before.state
    (near,) = nudged([carried])
    jobs = [Job(span=longest, at=middle, stop=middle + _PASSAGE, state=state) for state in (carried, lm.start(), near)]
    differences: dict[int, float] = {}

    def compare(three: list[Boundary]) -> list[bool]:
        differences[jobs[0].boundary] = scaled_difference(jobs[1].state, jobs[0].state)
        return [True] * len(three)

    runner.run(deque(jobs), compare)
    lasts = segments_to_go(differences, how.tolerance) * SEGMENT > PASSES * spans.predictions / rows
    return lasts, grew(near, jobs[2].state, carried, jobs[0].state)
