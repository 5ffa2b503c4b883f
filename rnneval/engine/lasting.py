"""Models that keep their state for so long that a text is best read in one row.

Rows side by side pay where each soon forgets the state from which it began. A model that does not forget reads its rows
one after the other at last, and all that was read before is lost. That is little where a step of many rows costs
little, and as much as the reading itself where most of the work is done for each token: a large vocabulary.
"""

from collections import deque
from dataclasses import dataclass

import numpy as np

from rnneval.backends.protocol import Ids, LanguageModel, Shape
from rnneval.engine.agreement import scaled_difference, segments_to_go
from rnneval.engine.options import Streaming
from rnneval.engine.plan import SEGMENT, Spans
from rnneval.engine.rows import grew, nudged
from rnneval.engine.runner import Boundary, Job, Runner
from rnneval.engine.stitch import PASSES

_TOKENS = 8 * SEGMENT
"""Tokens of each of the two passages that are read."""
UNCUT = 16 * SEGMENT
"""Tokens of a segment of spans that are not cut: their states are compared with none."""
_WORTH = 2**17
"""Predictions of a text from which on looking costs no more than a hundredth."""


@dataclass(frozen=True, kw_only=True)
class Lasting:
    """Fate of a difference of states."""

    lasts: bool
    """Whether a carried state still counts after several passes over spans that fill the rows."""
    fragile: bool
    """Whether a change of 1e-6 in the state grew."""


def pays_to_look(lm: LanguageModel, spans: Spans, rows: int) -> bool:
    """Return whether a text is so long, and the vocabulary so large, that reading in vain would cost much."""
    long = int(spans.lengths.max(initial=0)) >= 2 * _TOKENS and spans.predictions >= _WORTH
    return long and rows > 1 and lm.width > len(lm.start())


def look(lm: LanguageModel, text: Ids, spans: Spans, rows: int, how: Streaming) -> Lasting:
    """Read a passage from three states side by side: that after the passage before, the initial one, a nudged one.

    The rate at which the first two approach each other says how long a row would have to be.

    Args:
        lm: The model.
        text: The text.
        spans: The spans of the text, before they are divided over rows.
        rows: Count of rows over which they would be divided.
        how: The options of streaming.
    """
    longest = int(np.argmax(spans.lengths))
    shape = Shape(rows=3, segment=SEGMENT)
    scorer = lm.scorer(shape, kernel=how.kernel, padded=how.padded, parallel=False)
    runner = Runner(text, shape, scorer, start=lm.start())
    middle = int(spans.starts[longest]) + _TOKENS
    before = Job(span=longest, at=middle - _TOKENS, stop=middle, state=lm.start())
    runner.run(deque([before]), lambda rows: [True] * len(rows))
    carried = before.state
    (near,) = nudged([carried])
    jobs = [Job(span=longest, at=middle, stop=middle + _TOKENS, state=state) for state in (carried, lm.start(), near)]
    differences: dict[int, float] = {}

    def compare(three: list[Boundary]) -> list[bool]:
        differences[jobs[0].boundary] = scaled_difference(jobs[1].state, jobs[0].state)
        return [True] * len(three)

    runner.run(deque(jobs), compare)
    return Lasting(
        lasts=segments_to_go(differences, how.tolerance) * SEGMENT > PASSES * spans.predictions / rows,
        fragile=grew(near, jobs[2].state, carried, jobs[0].state),
    )
