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
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
import transformers

from cached.configurations import CLASSES, build
from cached.loops import measure


@dataclass(frozen=True, kw_only=True)
class Row:
    """A fault of one class, the release before its fix and the one after."""

    reference: str
    name: str
    pattern: str
    loop: str
    before: str
    after: str
    changed: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """The row's name in the record."""
        return f"{self.reference} {self.name}: {self.pattern}"


def _rows(
    reference: str, names: str, pattern: str, loop: str, releases: tuple[str, str], **changed: Any
) -> list[Row]:
    before, after = releases
    return [
        Row(reference=reference, name=name, pattern=pattern, loop=loop, before=before, after=after, changed=changed)
        for name in names.split()
    ]


HYBRIDS = "Bamba FalconH1 GraniteMoeHybrid LFM2 LFM2-MoE Mamba2 NemotronH OlmoHybrid Qwen3-Next Qwen3.5 Qwen3.5-MoE Zamba2 Jamba"
WITH_RESET = f"{HYBRIDS} Mamba FalconMamba Zamba Zaya Inkling"
SEVERAL = "calls of several tokens"
ROWS: tuple[Row, ...] = (
    *_rows("#32677", "Mamba", "left padding", "left-padding", ("4.44.2", "4.45.2")),
    *_rows("#32914", "Jamba", "left padding", "left-padding", ("4.44.2", "4.45.2")),
    *_rows("#35154", "Mamba2", "one token a call", "single", ("4.47.1", "4.48.3"), n_groups=1),
    *_rows("#35154", "Mamba2", "left padding", "left-padding", ("4.47.1", "4.48.3"), n_groups=1),
    *_rows("Bamba reorder", "Bamba", "reorder_cache", "reorder", ("4.48.3", "4.50.3"), mamba_n_groups=1),
    *_rows("#37533", "Mamba2 Bamba", "two groups", "single", ("4.50.3", "4.52.4")),
    *_rows("#40203", "Jamba Bamba GraniteMoeHybrid", "generate", "generate", ("4.54.1", "4.55.4")),
    *_rows("Granite prefill", "GraniteMoeHybrid", "cached prefill without positions", "prefill-unplaced", ("4.57.6", "5.0.0")),
    *_rows("#41790", "LFM2", "left padding", "left-padding", ("4.57.6", "5.0.0")),
    *_rows("RecurrentGemma decode", "RecurrentGemma", "one token a call", "single", ("5.3.0", "5.4.0")),
    *_rows("Mamba prompt", "Mamba FalconMamba", "prompt of one token", "single-from-start", ("5.3.0", "5.4.0")),
    *_rows("LFM2 prompt", "LFM2 LFM2-MoE", "first call of one token", "single-from-start", ("5.3.0", "5.4.0")),
    *_rows("#45513", "Qwen3-Next Qwen3.5 Qwen3.5-MoE OlmoHybrid", SEVERAL, "several", ("5.6.2", "5.7.0")),
    *_rows("#46084", "Mamba2", SEVERAL, "several", ("5.12.1", "5.13.1")),
    *_rows("#46741", "Bamba FalconH1 GraniteMoeHybrid Zamba2 NemotronH", SEVERAL, "several", ("5.12.1", "5.13.1")),
    *_rows("#47246", "Zamba2", "across chunks", "several-chunks", ("5.14.1", "5.15.1")),
    *_rows("#47475", "NemotronH", "across chunks", "several-chunks", ("5.14.1", "5.15.1")),
    *_rows("#42017", "LFM2 LFM2-MoE", SEVERAL, "several", ("5.14.1", "5.15.1")),
    *_rows("#47087", HYBRIDS, "pads in a second call", "pads-in-second", ("5.14.1", "5.15.1")),
    *_rows("#48809", WITH_RESET, "cache.reset()", "reset", ("5.17.0", "5.18.0")),
    *_rows("#48961", "RecurrentGemma", "no position_ids", "single", ("5.22.2", "5.23.0")),
)
RELEASES = tuple(dict.fromkeys(release for row in ROWS for release in (row.before, row.after)))
_OLD_NAMES = {"linear_attention": "mamba", "full_attention": "attention"}


def old_build(name: str, release: tuple[int, ...], **changed: Any) -> Any:
    """Return a tiny model of an older release: kinds of layers had other names in four classes until 5.13."""
    arguments = {**CLASSES[name][2], **changed}
    for key in ("layer_types", "layers_block_type"):
        if release < (5, 13) and name in {"GraniteMoeHybrid", "Zamba", "Zamba2", "NemotronH"} and key in arguments:
            changed[key] = [_OLD_NAMES.get(kind, kind) for kind in arguments[key]]
    return build(name, **changed)


def main() -> None:
    """Run the loops of the rows that name this release and print their sizes."""
    torch.set_num_threads(1)
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    release = transformers.__version__
    found: dict[str, Any] = {}
    only = [argument for argument in sys.argv[1:] if not argument.startswith("-")]
    for row in ROWS:
        if release in {row.before, row.after} and (not only or row.reference in only):
            numbers = tuple(map(int, release.split(".")[:2]))
            try:
                found[row.key] = measure(old_build(row.name, numbers, **row.changed), [row.loop])[row.loop]
            except Exception as error:
                found[row.key] = f"build: {type(error).__name__}: {' '.join(str(error).split())[:200]}"
            print(row.key, found[row.key], file=sys.stderr, flush=True)
    print(json.dumps({"release": release, "rows": found}))


if __name__ == "__main__":
    main()
