"""A reading in the smallest form: rows side by side, each carried through the scorer, segment by segment."""

import numpy as np

from rnneval.models.protocol import Shape


def read(lm, ids, *, segment, starts=None, sees="losses"):
    """Score ids `(rows, tokens + 1)` from the initial state; return nats `(rows, tokens)`, last states and steps."""
    ids = np.asarray(ids, np.int32)
    states = np.repeat(lm.start()[None], len(ids), axis=0) if starts is None else starts
    scorer = lm.scorer(Shape(rows=len(ids), segment=segment), sees=sees)
    nats, steps = [], []
    for start in range(0, ids.shape[1] - 1, segment):
        stop = min(start + segment, ids.shape[1] - 1)
        step = scorer.score(ids[:, start:stop], ids[:, start + 1 : stop + 1], states, len(ids))
        states = step.states
        nats.append(step.predicted.nats)
        steps.append(step)
    return np.concatenate(nats, axis=1), states, steps
