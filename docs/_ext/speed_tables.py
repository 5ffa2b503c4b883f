"""The tables of the page of speed, from the benchmarks' own files: no figure is copied by hand."""

import json
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


def tables() -> dict[str, Callable[[], str]]:
    """Every table by the name that a page calls it."""
    return {
        "speed backends": partial(_from, "speed_backends.json", backends),
        "speed commands": partial(_from, "speed_commands.json", commands),
    }


def _from(name: str, made: Callable[[Any], str]) -> str:
    """Read a benchmark's file; where it was not run yet, say so."""
    path = BENCHMARKS / name
    if not path.exists():
        return (
            f"*Not measured in this version: `PYTHONPATH=. python benchmarks/{path.stem}.py --out benchmarks/{name}`.*"
        )
    return made(json.loads(path.read_text(encoding="utf-8")))


def table(head: Sequence[str], rows: Iterator[Sequence[str]]) -> str:
    """A table whose first column is words and whose others are figures."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def backends(found: Any) -> str:
    """NumPy beside Keras, a model a row."""
    head = ["model", "whole command: Keras", "NumPy", "tokens a second: Keras", "NumPy", "NumPy by Keras"]
    rows = (
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
    )
    return table(head, rows)


def _range(of: Any, form: str) -> str:
    return f"{of['median']:{form}} ({of['low']:{form}}–{of['high']:{form}})"


def commands(found: Any) -> str:
    """Seconds of each command."""
    rows = ([f"`{name}`", f"{of['median']:.2f}", f"{of['least']:.2f}–{of['most']:.2f}"] for name, of in found.items())
    return table(["command", "seconds, median", "least–most"], rows)
