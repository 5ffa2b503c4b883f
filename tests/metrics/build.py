"""Builders of small inputs: what a test does not name is one character, one word, predicted first and surely."""

import numpy as np

from rnneval.metrics import ScoredTokens, Totals, tally

USUAL = {"confidence": 1.0, "rank": 0, "characters": 1, "bytes": 1, "words": 1, "newlines": 0}


def scored(nats, **columns):
    filled = {name: columns.get(name, [usual] * len(nats)) for name, usual in USUAL.items()}
    kinds = {
        name: np.array(values, np.float64 if name == "confidence" else np.int64) for name, values in filled.items()
    }
    return ScoredTokens(nats=np.array(nats, np.float64), **kinds)


def totals(tokens=4, *, lossless=True, **rest):
    units = {name: rest.pop(name, tokens) for name in ("characters", "bytes", "words")}
    return Totals(tokens=tokens, lossless=lossless, sums=rest, **units)


def added_up(tokens, *, lossless=True):
    """Add up by an independent loop, as one block."""
    units = {name: sum(getattr(tokens, name).tolist()) for name in ("characters", "bytes", "words")}
    sums = {name: sum(term.tolist()) for name, term in tally(tokens).items()}
    return Totals(tokens=len(tokens.nats), lossless=lossless, sums=sums, **units)
