"""What rnneval's check says of a model: the record in few words, beside which the loops are put."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from cached.configurations import V

import rnneval


def check(model: Any) -> dict[str, Any]:
    """Return what the check says of a model of transformers."""
    return checked(lambda: rnneval.from_transformers(model))


def checked(opened: Callable[[], Any]) -> dict[str, Any]:
    """Return verdict, findings and tests of `rnneval.check`, or why the model could not be opened."""
    begun = time.process_time()
    try:
        wiring = rnneval.check(opened())
    except Exception as error:
        return {"verdict": "error", "reason": _short(f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")}
    return {
        "verdict": wiring.verdict,
        "reason": wiring.reason,
        "findings": [
            {
                "rule": finding.rule,
                "severity": finding.severity,
                "layer": finding.layer,
                "file": finding.file and _short(finding.file),
                "line": finding.line,
                "message": _short(finding.message),
            }
            for finding in wiring.findings
        ],
        "tests": {
            name: [oracle.verdict, oracle.largest_difference, oracle.detail] for name, oracle in wiring.oracles.items()
        },
        "script": wiring.script,
        "seconds": round(time.process_time() - begun, 1),
    }


def _short(words: str) -> str:
    """Return words without the folders of this machine before the files of transformers and rnneval."""
    return re.sub(r"/\S*/(?=(transformers|rnneval|benchmarks)/)", "", words)


def calls(model: Any) -> dict[str, Any]:
    """Return what the check's tests of calls say: test → verdict, largest difference, and the patterns of a failure."""
    from rnneval.models.torch.causal import CachedStep
    from rnneval.wiring.torch.calls import run_calls

    begun = time.process_time()
    step = CachedStep(model)
    step.find_held(np.full((2, 3), 5, np.int32))
    results = run_calls(step, width=V)
    tests = {
        key: [oracle.verdict, oracle.largest_difference, list(results.patterns.get(key, ()))]
        for key, oracle in results.oracles.items()
    }
    return {"tests": tests, "untested": list(results.untested), "seconds": round(time.process_time() - begun, 1)}
