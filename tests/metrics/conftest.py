"""Builders of small inputs: what a test does not name is one character, one word, predicted first and surely."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from rnneval.metrics import ScoredTokens, Totals


def build_scored(nats: Sequence[float], **columns: Sequence[float]) -> ScoredTokens:
    count = len(nats)
    whole = {"rank": 0, "characters": 1, "bytes": 1, "words": 1, "newlines": 0}
    return ScoredTokens(
        nats=np.array(nats, dtype=np.float64),
        confidence=np.array(columns.get("confidence", [1.0] * count), dtype=np.float64),
        **{name: np.array(columns.get(name, [usual] * count), dtype=np.int64) for name, usual in whole.items()},
    )


def build_totals(tokens: float = 4, *, lossless: bool = True, **rest: Any) -> Totals:
    units = {name: rest.pop(name, tokens) for name in ("characters", "bytes", "words")}
    return Totals(tokens=tokens, lossless=lossless, sums=rest, **units)


def build_sum(tokens: ScoredTokens, *, lossless: bool = True) -> Totals:
    """Add up by an independent loop, as one block."""
    from rnneval.metrics import tally

    return Totals(
        tokens=len(tokens.nats),
        characters=sum(tokens.characters.tolist()),
        bytes=sum(tokens.bytes.tolist()),
        words=sum(tokens.words.tolist()),
        lossless=lossless,
        sums={name: sum(term.tolist()) for name, term in tally(tokens).items()},
    )


@pytest.fixture(scope="session")
def scored() -> Callable[..., ScoredTokens]:
    return build_scored


@pytest.fixture(scope="session")
def totals() -> Callable[..., Totals]:
    return build_totals


@pytest.fixture(scope="session")
def added_up() -> Callable[..., Totals]:
    return build_sum
