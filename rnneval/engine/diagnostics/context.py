"""The context curve: the loss of the same tokens with the state reset k tokens before them.

The curve falls as long as more context helps, and is flat from the length that the model can use. Source:
U. Khandelwal, H. He, P. Qi, D. Jurafsky: Sharp nearby, fuzzy far away: how neural language models use context. ACL
2018, section 4.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from rnneval.backends.protocol import Ids, LanguageModel, Shape
from rnneval.records.run import ContextCurve

LENGTHS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
ANCHORS = 256
_STEP = 100  # tokens of one step: the longer lengths are multiples of it, so that few shapes are compiled


def fitting_lengths(longest: int, lengths: Sequence[int] = LENGTHS) -> tuple[int, ...]:
    """Return the lengths of context that fit into a document of `longest` tokens."""
    return tuple(k for k in lengths if k < longest)


def context_curve(
    lm: LanguageModel, text: Ids, whole: Mapping[int, float], lengths: Sequence[int]
) -> ContextCurve | None:
    """Measure the losses of tokens with each length of context; `whole` holds their losses with all of it.

    Returns:
        The curve; None where there is nothing to measure, or a loss is not finite.
    """
    tokens = np.array(sorted(whole), np.int64)
    if not len(tokens) or not lengths:
        return None
    full = np.array([whole[int(token)] for token in tokens], np.float64)
    reader = _Reader(lm, len(tokens))
    losses = [reader.losses(text, tokens, length) for length in lengths]
    if not all(np.isfinite(loss).all() for loss in (full, *losses)):
        return None
    return ContextCurve(
        lengths=tuple(lengths),
        nats=tuple(float(loss.mean()) for loss in losses),
        extra_error=tuple(
            float((loss - full).std(ddof=1) / np.sqrt(len(full))) if len(full) > 1 else 0.0 for loss in losses
        ),
        whole=float(full.mean()),
        anchors=len(tokens),
    )


class _Reader:
    """Reads the tokens before some positions from the model's initial state, all positions at once."""

    def __init__(self, lm: LanguageModel, rows: int) -> None:
        self._start, self._rows = lm.start(), rows
        self._scorer = lm.scorer(Shape(rows=rows, segment=_STEP), padded=False)

    def losses(self, text: Ids, tokens: NDArray[np.int64], length: int) -> NDArray[np.float64]:
        """Return the loss of each token after `length` tokens of context, `(rows,)`."""
        both = np.stack([text.ids(int(token) - length, int(token) + 1) for token in tokens])
        state, nats = np.tile(self._start, (self._rows, 1)), np.zeros(0)
        for start in range(0, length, _STEP):
            part = both[:, start : min(start + _STEP, length) + 1]
            stepped = self._scorer.score(part[:, :-1], part[:, 1:], state, self._rows)
            state = stepped.states[: self._rows]
            nats = stepped.predicted.nats[: self._rows, part.shape[1] - 2].astype(np.float64)
        return nats
