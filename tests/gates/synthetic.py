"""Run records made of numbers, for tests of what reads records: no model, no text, but every sum adds up."""

import hashlib
from typing import Any

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

from rnneval.metrics import Totals, finish
from rnneval.records import Run

SIGNATURE = "tok:char|norm:none|newlines:keep|unk:error|docs:one|bos:none|state:carry|defs:1"


def sha(content: str) -> str:
    return hashlib.sha256(content.encode()).hexdigest()


def ar_losses(blocks: int, seed: int = 0, *, phi: float = 0.3, mean: float = 1.5, scale: float = 0.1) -> NDArray[Any]:
    """Mean loss of each block, from an AR(1): `(blocks,)`."""
    noise = np.random.default_rng(seed).normal(size=blocks + 50)
    series = np.zeros(blocks + 50)
    for i in range(1, blocks + 50):
        series[i] = phi * series[i - 1] + noise[i]
    return mean + scale * series[50:]


def make_run(
    losses: ArrayLike,
    *,
    size: int = 256,
    document: ArrayLike | None = None,
    tokens: ArrayLike | None = None,
    signature: str = SIGNATURE,
    content: str = "text",
    checkpoint: str = "model.keras",
    vocabulary: str = "vocabulary",
    valid: bool = True,
    lossless: bool = True,
    unknown: int = 0,
    accuracy: ArrayLike = 0.5,
    **changes: Any,
) -> Run:
    """A record whose blocks have these mean losses a token; the first byte of each document is not scored."""
    mean = np.asarray(losses, dtype=np.float64)
    count = mean.size
    documents = np.zeros(count, dtype=int) if document is None else np.asarray(document)
    first = np.concatenate([[True], documents[1:] != documents[:-1]])
    scored = np.full(count, size) - first
    units = scored if tokens is None else np.asarray(tokens)
    nats = mean * units
    words = np.maximum(units // 5, 1)
    sums = {
        "nats": nats,
        "top1": np.asarray(accuracy) * units,
        "top5": (0.5 + 0.5 * np.asarray(accuracy)) * units,
        "newlines": np.ones(count),
        **{f"calibration_gap_{i:02}": np.zeros(count) for i in range(15)},
    }
    totals = Totals(
        tokens=float(units.sum()),
        characters=float(scored.sum()),
        bytes=float(scored.sum()),
        words=float(words.sum()),
        lossless=lossless,
        sums={name: float(np.sum(values)) for name, values in sums.items()},
    )
    finite = bool(np.isfinite(nats).all())
    plain = {
        "schema": "rnneval.run/1",
        "rnneval": "0.1.0",
        "created": "2026-01-01T00:00:00+00:00",
        "command": [],
        "signature": signature,
        "valid": valid and finite,
        "checkpoint": {
            "path": checkpoint,
            "sha256": sha(checkpoint),
            "format": "keras",
            "contract": 1,
            "parameters": 1000,
            "dtype": "float32",
            "layers": [{"name": "gru", "path": "gru", "kind": "GRU", "units": 8, "slots": ["h"]}],
        },
        "vocabulary": {"size": 65, "sha256": sha(vocabulary), "source": "given"},
        "input": {"kind": "ids"},
        "output": {"kind": "logits"},
        "text": {
            "sha256": sha(content),
            "files": [{"path": "text.txt", "sha256": sha(content)}],
            "characters": count * size,
            "bytes": count * size,
            "words": int(words.sum()),
            "documents": int(np.unique(documents).size),
            "scored_characters": int(scored.sum()),
            "scored_bytes": int(scored.sum()),
            "scored_words": int(words.sum()),
        },
        "tokens": {
            "total": int(units.sum() + first.sum()),
            "scored": int(units.sum()),
            "unscored": int(first.sum()),
            "unknown": unknown,
        },
        "scores": _scores(totals) if finite else {},
        "baselines": {"uniform": 4.17},
        "streams": {"count": 8, "segment": 100, "kernel": "model", "passes": 1, "tokens_rerun": 0},
        "blocks": {
            "bytes": ((np.arange(count) + 1) * size).tolist(),
            "document": documents.tolist(),
            "scored_bytes": scored.tolist(),
            "tokens": units.tolist(),
            "characters": scored.tolist(),
            "words": words.tolist(),
            "unknown": [unknown, *[0] * (count - 1)],
            "sums": {name: values.tolist() for name, values in sums.items()} if finite else {},
        },
        "states": {
            "gru.h": {
                **dict.fromkeys(("norm_mean", "norm_max", "rms", "dead", "duplicated"), 1.0),
                "saturated": 0.1,
                "participation_ratio": 3.0,
                "speed": 0.2,
                "drift": 0.0,
            }
        },
        "timing": {"seconds": 1.0, "tokens_per_second": 1000.0, "device": "CPU", "threads": 1},
        "warnings": [] if lossless else [{"code": "lossy", "message": "the tokens do not give the text back"}],
    }
    if finite:
        plain["total_nats"] = float(nats.sum())
    plain.update(changes)
    return msgspec.convert(plain, Run)


def _scores(totals: Totals) -> dict[str, Any]:
    return {name: {"value": value, "unit": "unit"} for name, value in finish(totals).values.items()}
