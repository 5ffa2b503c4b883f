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
        "speed ratios": partial(_from, "speed_peers.json", ratios),
        "speed rates": partial(_from, "speed_peers.json", rates),
        "speed exactness": partial(_from, "speed_peers.json", exactness),
        "speed kernels": partial(_from, "speed_kernels.json", kernels),
        "speed scaling": partial(_from, "speed_scaling.json", scaling),
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


def ratios(found: Any) -> str:
    """How many times as fast: the median over rounds, the least and the most."""
    head = [
        "model, backend, characters",
        "Keras, one row",
        "Keras, 64 rows",
        "best exact peer",
        "best inexact peer",
        "of the limit",
    ]
    return table(head, (row for name, case in found["cases"].items() for row in _ratios(name, case)))


def _ratios(name: str, case: Any) -> Iterator[list[str]]:
    for ours, against in case["ratios"].items():
        others = [peer for peer in against if not peer.startswith("keras")]
        exact = [peer for peer in others if peer in case["exact"]]
        inexact = [peer for peer in others if peer not in case["exact"]]
        backend, characters = ours.removeprefix("rnneval-").split(", ")
        yield [
            f"{name}, {'Keras' if backend == 'keras' else 'NumPy'}, {int(characters):,}",
            _spread(against["keras, 1 rows"]),
            _spread(against["keras, 64 rows"]),
            _hardest(against, exact),
            _hardest(against, inexact),
            _spread(case["of_the_limit"][ours]),
        ]


def _hardest(against: Any, peers: Sequence[str]) -> str:
    """The fastest of some peers is the one that is beaten by least."""
    if not peers:
        return "–"
    peer = min(peers, key=lambda name: against[name]["median"])
    return f"{_spread(against[peer])} ({peer})"


def _spread(of: Any) -> str:
    return f"{of['median']:.3g} ({of['least']:.3g}–{of['most']:.3g})"


def rates(found: Any) -> str:
    """Tokens a second of everyone, medians."""
    cases = found["cases"]
    names = list(next(iter(cases.values()))["rates"])
    head = ["tokens a second", *cases]
    return table(
        head, ([name, *(f"{case['rates'][name]['median']:,.0f}" for case in cases.values())] for name in names)
    )


def exactness(found: Any) -> str:
    """How far each is from the number of one carried stream, nats a token."""
    cases = found["cases"]
    peers = list(next(iter(cases.values()))["errors"])
    rows = [["rnneval, Keras backend", *(f"{case['difference_of_means']:.1e}" for case in cases.values())]]
    rows += [[peer, *(f"{case['errors'][peer]:+.1e}" for case in cases.values())] for peer in peers]
    return table(["nats a token", *cases], iter(rows))


def kernels(found: Any) -> str:
    """Every arrangement that was tried."""
    rows = (
        [f"{name}, {label}", f"{one['rate']:,.0f}", f"{one['cpu_us_a_token']:.1f}"]
        for name, case in found.items()
        for label, one in case.items()
    )
    return table(["model, kernel, parts, rows × segment", "tokens a second", "µs of processor a token"], rows)


def scaling(found: Any) -> str:
    """Rates and memory, a point a row."""
    rows = (
        [
            name,
            f"{max(r['rows'] for r in point['rounds'])} × {max(r['segment'] for r in point['rounds'])}",
            f"{point['tokens_per_second']:,.0f}",
            f"{max(r['warm_mb'] for r in point['rounds']):,.0f}",
            f"{max(r['growth_mb'] for r in point['rounds']):,.0f}",
        ]
        for name, point in found.items()
    )
    return table(["what differs", "rows × segment", "tokens a second", "MB when warm", "MB on top at the most"], rows)


def commands(found: Any) -> str:
    """Seconds of each command."""
    rows = ([f"`{name}`", f"{of['median']:.2f}", f"{of['least']:.2f}–{of['most']:.2f}"] for name, of in found.items())
    return table(["command", "seconds, median", "least–most"], rows)
