"""The states of a stack in float64, one token after the other, and every statistic written out from its definition."""

from itertools import pairwise
from typing import Any

import numpy as np

from tests.evaluate.small import Small

SLOTS = {"LSTM": ("h", "c")}


def courses(small: Small, ids: Any, starts: Any = (0,)) -> dict[str, dict[str, Any]]:
    """For each `LAYER.SLOT`: states `(positions, units)`, those before, and tokens since the document began."""
    oracle, found = small.oracle, {}
    for low, high in pairwise([*starts, len(ids)]):
        state = oracle.start()
        for t, token in enumerate(ids[low : high - 1]):  # the last token of a document is not read
            x = oracle.embedding[token]
            for k, layer in enumerate(oracle.layers):
                before = state[k]
                x, state[k] = layer.step(x, before)
                for slot, old, new in zip(SLOTS.get(layer.kind, ("h",)), before, state[k], strict=True):
                    key = f"{small.lm.layers[k].name}.{slot}"
                    course = found.setdefault(key, {"h": [], "before": [], "t": [], "at": []})
                    course["h"].append(new)
                    course["before"].append(old)
                    course["t"].append(t)
                    course["at"].append(low + t)
    return {key: {name: np.array(column) for name, column in course.items()} for key, course in found.items()}


def summary_of(key: str, course: dict[str, Any], longest: int, every: int = 1) -> dict[str, float]:
    """Each number of a state summary from its definition; covariances from every 16th position."""
    h = course["h"]
    some = course["at"] % every == 0
    norm = np.linalg.norm(h, axis=1)
    bound = np.abs(np.tanh(h)) if key.endswith(".c") else np.abs(h)
    variance = h[some].var(axis=0)
    sample = h[course["at"] % 16 == 0]
    eigenvalues = np.linalg.eigvalsh(np.cov(sample.T, bias=True).reshape(h.shape[1], -1))
    with np.errstate(invalid="ignore", divide="ignore"):
        r = np.nan_to_num(np.abs(np.corrcoef(sample.T).reshape(h.shape[1], -1)))
    np.fill_diagonal(r, 0)
    return {
        "norm_mean": norm.mean(),
        "norm_max": norm.max(),
        "rms": np.sqrt((h**2).mean()),
        "mean": h[some].mean(),
        "lowest": h.min(),
        "highest": h.max(),
        "saturated": (bound[some] > 0.97).mean(),
        "dead": (variance < 1e-6).mean(),
        "duplicated": ((r > 0.999).any(axis=1) & (variance >= 1e-6)).mean(),
        "participation_ratio": eigenvalues.sum() ** 2 / (eigenvalues**2).sum(),
        "speed": np.linalg.norm(h - course["before"], axis=1)[some].mean(),
        "drift": np.polyfit(course["t"], norm, 1)[0] * (longest - 2) / norm.mean(),
    }
