"""How far carrying a state helps: the change from a reset state to a carried one, by distance from the start.

Both readings score the same tokens, so that a drift of the text itself cancels. The blocks, in the order of their
distance from the start of their document, are divided into equal pieces; the mean change of a piece has an interval by
the jackknife over its batches. The intervals of all pieces hold together with a probability of 95 % (Bonferroni).
"""

from typing import Literal

import numpy as np

from rnneval.arrays import Doubles, Ints
from rnneval.gates.clusters import BATCHES, NATS, batches, jackknife, ratio
from rnneval.records.run import Blocks, HowFar

_FEWEST = 4 * BATCHES  # blocks of a piece: a batch has four
_MOST = 16  # pieces: more would make each interval wider
_PROBABILITY = 0.95

Verdict = Literal["holds", "collapses", "inconclusive"]


def how_far(reset: Blocks, carried: Blocks) -> HowFar | None:
    """Return how far carrying helps, from the sums of two readings of the same tokens; None if the text is too short.

    Carrying *helps* in a piece if its whole interval is below 0, and *costs* if it is above 0.
    """
    tokens = np.array(carried.tokens, np.float64)
    starts = np.cumsum(tokens) - tokens
    document = np.array(carried.document, np.intp)
    distance = starts - starts[np.searchsorted(document, document)]  # a block's document begins at the first with it
    order = np.argsort(distance, kind="stable")
    order = order[tokens[order] > 0]
    change = np.subtract(carried.sums[NATS], reset.sums[NATS])
    return of_changes(change[order], tokens[order], distance[order].astype(np.int64))


def of_changes(change: Doubles, tokens: Doubles, distance: Ints) -> HowFar | None:
    """Return how far carrying helps, from carried − reset in nats, tokens and distance of blocks, `(n,)`."""
    count = min(_MOST, change.size // _FEWEST)
    if count < 2:
        return None
    pieces = np.array_split(np.arange(change.size), count)
    p = (1 - _PROBABILITY) / 2 / len(pieces)
    estimates = [
        jackknife(ratio, np.stack([change[each], tokens[each]]), batches(tokens[each], BATCHES)) for each in pieces
    ]
    low, high = ([each.bound(q) for each in estimates] for q in (p, 1 - p))
    first = [int(distance[each[0]]) for each in pieces]
    end = int(distance[-1] + tokens[-1])
    not_costing = [k for k, bound in enumerate(low) if not bound > 0]
    since = not_costing[-1] + 1 if not_costing else 0  # the piece from which on all cost
    helping = [k for k in range(since) if high[k] < 0]
    helps_to = ([*first[1:], end])[helping[-1]] if helping else None
    verdict: Verdict = "inconclusive"
    if since < len(pieces):
        verdict = "collapses"
    elif high[-1] < 0:
        verdict = "holds"
    return HowFar(
        verdict=verdict,
        helps_to=helps_to,
        costs_from=first[since] if since < len(pieces) else None,
        distance=tuple(first),
        end=end,
        change=tuple(each.value for each in estimates),
        low=tuple(low),
        high=tuple(high),
    )
