"""Faults that releases of transformers had and later releases have not: the rows, and one release's part of them.

    PYTHONPATH=benchmarks:. python -m cached.history [--check]

runs, in the environment of one release, the loop of every row that names it, and prints JSON: rows → sizes; with
`--check` also what rnneval says. benchmarks/cached_models.py starts it once a release.
"""

from __future__ import annotations

import json
import logging
import sys
import warnings
from typing import Any

import torch
import transformers
from cached.configurations import CLASSES, build
from cached.loops import measure
from cached.rows import ROWS, Row

_OLD_NAMES = {"linear_attention": "mamba", "full_attention": "attention"}


def old_build(name: str, release: tuple[int, ...], **changed: Any) -> Any:
    """Return a tiny model of an older release: kinds of layers had other names in four classes until 5.13."""
    arguments = {**CLASSES[name][2], **changed}
    for key in ("layer_types", "layers_block_type"):
        if release < (5, 13) and name in {"GraniteMoeHybrid", "Zamba", "Zamba2", "NemotronH"} and key in arguments:
            changed[key] = [_OLD_NAMES.get(kind, kind) for kind in arguments[key]]
    return build(name, **changed)


def main() -> None:
    """Run the loops of the rows that name this release, and the check of their classes, and print what they say."""
    torch.set_num_threads(1)
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    release = transformers.__version__
    numbers = tuple(map(int, release.split(".")[:2]))
    only = {argument for argument in sys.argv[1:] if not argument.startswith("-")}
    rows = [
        row for row in ROWS if release in {row.before, row.after} and (not only or only & {row.reference, row.name})
    ]
    found: dict[str, Any] = {}
    checks: dict[str, Any] = {}
    for row in rows:
        try:
            found[row.key] = measure(old_build(row.name, numbers, **row.changed), [row.loop])[row.loop]
        except Exception as error:
            found[row.key] = f"build: {type(error).__name__}: {' '.join(str(error).split())[:200]}"
        if "--check" in sys.argv and row.checked not in checks:
            checks[row.checked] = _check(row, numbers)
        print(row.key, found[row.key], checks.get(row.checked), file=sys.stderr, flush=True)
    print(json.dumps({"release": release, "rows": found, "checks": checks}))


def _check(row: Row, release: tuple[int, ...]) -> Any:
    from cached.checked import calls

    try:
        return calls(old_build(row.name, release, **row.changed))
    except Exception as error:
        return {"error": f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"}


if __name__ == "__main__":
    main()
