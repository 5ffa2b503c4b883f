"""One question to every model: is `step`, however the text is cut, what a loop over single steps gives?"""

from itertools import pairwise
from typing import Any

import numpy as np

from tests.oracles import Stack, nats

CLOSE = 1e-5
IDS = np.random.default_rng(5).integers(1, 7, (2, 5))
"""Two streams; id 0 is left out, since some models mask it."""


def assert_driven_as(lm: Any, oracle: Stack, start: Any = None, ids: Any = IDS) -> None:
    """Compare logits and losses with a float64 loop: all at once, and one token at a time."""
    whole = np.array([oracle.logits(row, start) for row in ids])
    for cuts in ([0, ids.shape[1]], range(ids.shape[1] + 1)):
        logits = carried(lm, ids, list(cuts))
        np.testing.assert_allclose(logits, whole, atol=CLOSE, rtol=CLOSE, err_msg=f"cut at {list(cuts)}")
    for row, stream in enumerate(ids):
        expected = oracle.losses(stream, start)
        np.testing.assert_allclose(nats(logits[row, :-1], stream[1:]), expected, atol=CLOSE)


def carried(lm: Any, ids: Any, cuts: list[int]) -> Any:
    """Logits of segments between the cuts, the state carried from one to the next."""
    state, parts = lm.initial_state(len(ids)), []
    for begin, end in pairwise(cuts):
        logits, state = lm.step(ids[:, begin:end], state)
        parts.append(np.asarray(logits, np.float64))
    return np.concatenate(parts, axis=1)
