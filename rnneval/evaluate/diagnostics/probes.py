"""Probes that start at chosen places of the exact stream: the context curve, and Lyapunov exponents.

*Anchor*: a position where a diagnosis starts again, with the state and the loss there. The context curve is the loss of
the same tokens with the state reset k tokens before them (Khandelwal et al.: Sharp nearby, fuzzy far away. ACL 2018,
section 4). The Lyapunov exponent of a layer is the mean logarithm of the growth of tangent vectors of its state, with
the layers below fixed (Benettin et al., Meccanica 15, 1980; Pecora, Carroll, Physical Review Letters 64, 1990).

A tangent vector needs time to turn into the direction that grows most, thousands of tokens where the two largest
exponents are close. Each row therefore carries two tangents that begin in independent random directions, and walks on
until they agree; only the last `TOKENS` tokens are averaged. What the two still differ by is part of the error. The
Jacobian of a stack is block-triangular, so the exponent of the stack is the largest of its layers'. A module of PyTorch
may be no stack: tangents of all of its state together are carried beside those of its layers.
"""

from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnneval.errors import UsageError
from rnneval.models.protocol import TINY, IdSource, LanguageModel, Place, Shape
from rnneval.models.torch import step_of
from rnneval.records.run import ContextCurve, Exponent, Warning  # noqa: A004 - the record's own word

LENGTHS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)  # lengths of context, in tokens
ANCHORS = 256  # the most tokens of which a context curve is made
_SEGMENT = 100  # the longer lengths are multiples of it, so that few shapes are compiled

ROWS, TOKENS = 8, 1_000  # the number of rows, and of the tokens of each row that are averaged
SETTLING, MOST_SETTLING = 100, 8_000
"""The fewest and the most tokens of a row that are walked before those that are averaged."""
_FURTHER = 500  # tokens walked before the tangents are compared again
_SETTLED = 0.25  # the tangents have settled where their difference is at most this share of the spread over the text
_ROUNDING = 1e-6  # differences of growth below this are rounding of float32, in nats per token
_CLUSTERS = 8
TANGENTS = "--lyapunov: tangents are carried"


def spread(starts: NDArray[np.int64], stops: NDArray[np.int64], room: int, count: int, seed: int) -> NDArray[np.int64]:
    """Choose up to `count` positions evenly spread over a text, each with `room` tokens after it in its document."""
    possible = np.maximum(stops - starts - room, 0)
    total = int(possible.sum())
    if total == 0:
        return np.zeros(0, np.int64)
    count = min(count, total)
    at = ((np.arange(count) + np.random.default_rng(seed).random()) * (total / count)).astype(np.int64)
    document = np.searchsorted(np.cumsum(possible), at, side="right")
    before = np.concatenate([[0], np.cumsum(possible)])
    positions: NDArray[np.int64] = starts[document] + at - before[document]
    return np.unique(positions)


def context_curve(
    lm: LanguageModel, text: IdSource, whole: Mapping[int, float], lengths: Sequence[int]
) -> ContextCurve | None:
    """Measure losses with each length of context, beside those with all of it, `whole`; None if one is not finite."""
    tokens = np.array(sorted(whole), np.int64)
    if not len(tokens) or not lengths:
        return None
    full = np.array([whole[int(token)] for token in tokens], np.float64)
    start, rows = lm.start(), len(tokens)
    scorer = lm.scorer(Shape(rows=rows, segment=_SEGMENT), padded=False)
    losses = []
    for length in lengths:  # all tokens at once, each from the initial state
        both = np.stack([text.ids(int(token) - length, int(token) + 1) for token in tokens])
        state, nats = np.repeat(start[None], rows, axis=0), np.zeros(0)
        for at in range(0, length, _SEGMENT):
            part = both[:, at : min(at + _SEGMENT, length) + 1]
            stepped = scorer.score(part[:, :-1], part[:, 1:], state, rows)
            state = stepped.states[:rows]
            nats = stepped.predicted.nats[:rows, part.shape[1] - 2].astype(np.float64)
        losses.append(nats)
    if not all(np.isfinite(loss).all() for loss in (full, *losses)):
        return None
    errors = [float((loss - full).std(ddof=1) / np.sqrt(rows)) if rows > 1 else 0.0 for loss in losses]
    return ContextCurve(
        lengths=tuple(lengths),
        nats=tuple(float(loss.mean()) for loss in losses),
        extra_error=tuple(errors),
        whole=float(full.mean()),
        anchors=rows,
    )


def derivatives_of(lm: LanguageModel, what: str) -> ModuleType:
    """Return the functions that follow gradients and tangents in the library of a model; `what` begins a refusal."""
    if lm.backend == "keras":
        from rnneval.models.keras import derivatives

        return derivatives
    if step_of(lm) is not None:
        from rnneval.models.torch import derivatives as of_torch

        return of_torch
    raise UsageError(
        f"{what} by Keras and by PyTorch, and the backend of this model is {lm.backend}: open a saved "
        "model with backend='keras', or give a module to rnneval.from_torch; a step function has none to show"
    )


def exponents(
    lm: Any, ids: IdSource, places: Sequence[Place], tokens: int
) -> tuple[dict[str, Exponent], list[Warning]]:
    """Estimate the largest Lyapunov exponent of each layer and of the stack; and say what lacks.

    In a row from each place, at most `tokens` tokens are walked: a multiple of 50, more than `SETTLING`.
    """
    walk = derivatives_of(lm, TANGENTS).TangentWalk(lm, ids, places)
    measured = min(TOKENS, tokens - SETTLING)
    walk.on(SETTLING + measured)
    while True:
        by_layer, missing, unsettled = {}, dict(walk.missing), {}
        for name, logs in walk.growth(measured).items():
            if (logs <= np.log(TINY) / 2).any() or not np.isfinite(logs).all():
                missing[name] = "a change of its state is gone after one step, or is not finite"
                continue
            spread, difference = _errors(logs)
            if not difference <= max(_SETTLED * spread, _ROUNDING):
                unsettled[name] = difference
            by_layer[name] = Exponent(
                value=float(logs.mean()),
                standard_error=float(np.hypot(spread, difference)),
                steps=logs.shape[1] * measured,
                settling=walk.walked - measured,
            )
        if not unsettled or walk.walked >= tokens:
            break
        walk.on(min(_FURTHER, tokens - walk.walked))
    if by_layer and not missing and "stack" not in by_layer:
        by_layer["stack"] = max(by_layer.values(), key=lambda exponent: exponent.value)
    warnings = [
        Warning(code="no-lyapunov", message=f"no Lyapunov exponent of {name}: {reason}")
        for name, reason in missing.items()
    ]
    for name, difference in unsettled.items():
        message = (
            f"{name}: two tangents still differ by {difference:.2g} nats a token after {tokens:,} tokens; "
            "the exponent may be off by as much, which its error includes"
        )
        warnings.append(Warning(code="unsettled-lyapunov", message=message))
    return by_layer, warnings


def _errors(logs: NDArray[np.float64]) -> tuple[float, float]:
    """Return the error from the spread over the text, and that of tangents that have not settled.

    `logs` holds the growth of both tangents, `(2, rows, tokens)`. The spread is that of row means; where there are
    fewer than 8 rows, each is divided into equal blocks, so that there are at least 8 clusters.
    """
    blocks = -(-_CLUSTERS // logs.shape[1])
    along = logs.mean(axis=0)[:, logs.shape[2] % blocks :]
    means = along.reshape(along.shape[0] * blocks, -1).mean(axis=1)
    spread = float(means.std(ddof=1) / np.sqrt(len(means)))
    apart = logs[0].mean(axis=1) - logs[1].mean(axis=1)
    return spread, float(np.sqrt(np.mean(apart**2)))
