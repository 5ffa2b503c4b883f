"""Run records made of numbers, for tests of what reads records: no model, no text, but every sum adds up."""

import hashlib
from typing import Any

import msgspec
import numpy as np
from msgspec.structs import fields
from numpy.typing import ArrayLike, NDArray

from rnneval.metrics import Totals, finish
from rnneval.records import Run
from rnneval.records.run import StateSummary

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
    documents = np.zeros(mean.size, dtype=int) if document is None else np.asarray(document)
    first = np.concatenate([[True], documents[1:] != documents[:-1]])
    scored = np.full(mean.size, size) - first
    units = scored if tokens is None else np.asarray(tokens)
    blocks = _blocks(
        mean, document=documents, scored=scored, units=units, accuracy=np.asarray(accuracy), unknown=unknown, size=size
    )
    totals = _totals(blocks, lossless)
    finite = bool(np.isfinite(mean).all())
    plain = {
        **_UNCHANGING,
        "signature": signature,
        "valid": valid and finite,
        "checkpoint": {**_CHECKPOINT, "path": checkpoint, "sha256": sha(checkpoint)},
        "vocabulary": {"size": 65, "sha256": sha(vocabulary), "source": "given"},
        "text": _text(blocks, content, size),
        "tokens": {
            "total": int(units.sum() + first.sum()),
            "scored": int(units.sum()),
            "unscored": int(first.sum()),
            "unknown": unknown,
        },
        "scores": _scores(totals) if finite else {},
        "blocks": blocks if finite else {**blocks, "sums": {}},
        "warnings": [] if lossless else [{"code": "lossy", "message": "the tokens do not give the text back"}],
    }
    if finite:
        plain["total_nats"] = totals.sums["nats"]
    return msgspec.convert({**plain, **changes}, Run)


_CHECKPOINT = {
    "format": "keras",
    "contract": 5,  # a window model, which has no wiring to check
    "parameters": 1000,
    "dtype": "float32",
    "layers": [{"name": "gru", "path": "gru", "kind": "GRU", "units": 8, "slots": ["h"]}],
}
_UNCHANGING = {
    "schema": "rnneval.run/1",
    "rnneval": "0.1.0",
    "created": "2026-01-01T00:00:00+00:00",
    "command": [],
    "input": {"kind": "ids"},
    "output": {"kind": "logits"},
    "baselines": {"uniform": 4.17},
    "streams": {"count": 8, "segment": 100, "kernel": "model", "passes": 1, "tokens_rerun": 0},
    "states": {"gru.h": {**{field.name: 1.0 for field in fields(StateSummary) if field.required}, "saturated": 0.1}},
    "timing": {"seconds": 1.0, "tokens_per_second": 1000.0, "device": "CPU", "threads": 1},
}


def _blocks(
    mean: NDArray[Any],
    *,
    document: NDArray[Any],
    scored: NDArray[Any],
    units: NDArray[Any],
    accuracy: NDArray[Any],
    unknown: int,
    size: int,
) -> dict[str, Any]:
    sums = {
        "nats": mean * units,
        "top1": accuracy * units,
        "top5": (0.5 + 0.5 * accuracy) * units,
        "newlines": np.ones(mean.size),
        **{f"calibration_gap_{i:02}": np.zeros(mean.size) for i in range(15)},
    }
    return {
        "bytes": ((np.arange(mean.size) + 1) * size).tolist(),
        "document": document.tolist(),
        "scored_bytes": scored.tolist(),
        "tokens": units.tolist(),
        "characters": scored.tolist(),
        "words": np.maximum(units // 5, 1).tolist(),
        "unknown": [unknown, *[0] * (mean.size - 1)],
        "sums": {name: values.tolist() for name, values in sums.items()},
    }


def _totals(blocks: dict[str, Any], lossless: bool) -> Totals:
    return Totals(
        tokens=float(sum(blocks["tokens"])),
        characters=float(sum(blocks["characters"])),
        bytes=float(sum(blocks["scored_bytes"])),
        words=float(sum(blocks["words"])),
        lossless=lossless,
        sums={name: float(np.sum(values)) for name, values in blocks["sums"].items()},
    )


def _text(blocks: dict[str, Any], content: str, size: int) -> dict[str, Any]:
    scored = sum(blocks["scored_bytes"])
    return {
        "sha256": sha(content),
        "files": [{"path": "text.txt", "sha256": sha(content)}],
        "characters": len(blocks["bytes"]) * size,
        "bytes": len(blocks["bytes"]) * size,
        "words": sum(blocks["words"]),
        "documents": len(set(blocks["document"])),
        "scored_characters": scored,
        "scored_bytes": scored,
        "scored_words": sum(blocks["words"]),
    }


def _scores(totals: Totals) -> dict[str, Any]:
    return {name: {"value": value, "unit": "unit"} for name, value in finish(totals).values.items()}
