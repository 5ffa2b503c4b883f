"""The table of the page of speed, from the benchmark's own file: no figure is copied by hand."""

import json
from pathlib import Path
from typing import Any

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


def backends() -> str:
    """NumPy beside Keras, a model a row."""
    found = json.loads((BENCHMARKS / "speed_backends.json").read_text(encoding="utf-8"))
    head = ["model", "whole command: Keras", "NumPy", "tokens a second: Keras", "NumPy", "NumPy by Keras"]
    rows = [
        [
            name,
            f"{_range(case['command_seconds']['keras'], '.1f')} s",
            f"{_range(case['command_seconds']['numpy, no TensorFlow'], '.1f')} s",
            _range(case["tokens_per_second"]["keras"], ",.0f"),
            _range(case["tokens_per_second"]["numpy"], ",.0f"),
            _range(case["numpy_by_keras"], ".2f"),
        ]
        for name, case in found.items()
        if isinstance(case, dict)
    ]
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _range(of: Any, form: str) -> str:
    return f"{of['median']:{form}} ({of['low']:{form}}–{of['high']:{form}})"
