"""Faults that releases of transformers had and later releases have not, one row a class. PyTorch is not needed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True, eq=False)
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

    @property
    def checked(self) -> str:
        """The name of its model in the record: that of the class, with what was changed."""
        return " ".join([self.name, *(f"{name}={value}" for name, value in self.changed.items())])


def _rows(reference: str, names: str, pattern: str, loop: str, releases: tuple[str, str], **changed: Any) -> list[Row]:
    before, after = releases
    return [
        Row(reference=reference, name=name, pattern=pattern, loop=loop, before=before, after=after, changed=changed)
        for name in names.split()
    ]


HYBRIDS = (
    "Bamba FalconH1 GraniteMoeHybrid LFM2 LFM2-MoE NemotronH OlmoHybrid Qwen3-Next Qwen3.5 Qwen3.5-MoE "
    "Zamba2 Zaya Inkling"
)
WITH_RESET = f"{HYBRIDS} Jamba Zamba KimiLinear Qwen4Exp RecurrentGemma"
SEVERAL = "calls of several tokens"
ROWS: tuple[Row, ...] = (
    *_rows("#32677", "Mamba", "left padding", "left-padding", ("4.44.2", "4.45.2")),
    *_rows("#32914", "Jamba", "left padding", "left-padding", ("4.44.2", "4.45.2")),
    *_rows("#35154", "Mamba2", "one token a call", "single", ("4.47.1", "4.48.3"), n_groups=1),
    *_rows("#35154", "Mamba2", "left padding", "left-padding", ("4.47.1", "4.48.3"), n_groups=1),
    *_rows("Bamba reorder", "Bamba", "reorder_cache", "reorder", ("4.48.3", "4.50.3"), mamba_n_groups=1),
    *_rows("#37533", "Mamba2 Bamba", "two groups", "single", ("4.50.3", "4.52.4")),
    *_rows("#40203", "Jamba Bamba GraniteMoeHybrid", "generate", "generate", ("4.54.1", "4.55.4")),
    *_rows(
        "Granite prefill",
        "GraniteMoeHybrid",
        "cached prefill without positions",
        "prefill-unplaced",
        ("4.57.6", "5.0.0"),
    ),
    *_rows("#41790", "LFM2", "left padding", "left-padding", ("4.57.6", "5.0.0")),
    *_rows("RecurrentGemma decode", "RecurrentGemma", "one token a call", "single", ("5.3.0", "5.4.0")),
    *_rows("Mamba prompt", "Mamba FalconMamba", "prompt of one token", "single-from-start", ("5.3.0", "5.4.0")),
    *_rows("LFM2 prompt", "LFM2 LFM2-MoE", "first call of one token", "single-from-start", ("5.3.0", "5.4.0")),
    *_rows("#45513", "Qwen3-Next Qwen3.5 Qwen3.5-MoE OlmoHybrid", SEVERAL, "several-short", ("5.6.2", "5.7.0")),
    *_rows("#46084", "Mamba2", SEVERAL, "several-short", ("5.12.1", "5.13.1")),
    *_rows(
        "#46741", "Bamba FalconH1 GraniteMoeHybrid Zamba2 NemotronH", SEVERAL, "several-short", ("5.12.1", "5.13.1")
    ),
    *_rows("#47246", "Zamba2", "across chunks", "several-chunks", ("5.14.1", "5.15.1")),
    *_rows("#47475", "NemotronH", "across chunks", "several-chunks", ("5.14.1", "5.15.1")),
    *_rows("#42017", "LFM2 LFM2-MoE", SEVERAL, "several-short", ("5.14.1", "5.15.1")),
    *_rows("#47087", HYBRIDS, "pads in a second call", "pads-in-second", ("5.14.1", "5.15.1")),
    *_rows("#48809", WITH_RESET, "cache.reset()", "reset", ("5.17.0", "5.18.0")),
    *_rows("#48961", "RecurrentGemma", "no position_ids", "single", ("5.22.2", "5.23.0")),
)
RELEASES = tuple(dict.fromkeys(release for row in ROWS for release in (row.before, row.after)))

PATTERNS: Mapping[str, tuple[str, ...]] = {
    "left-padding": ("in padded rows",),
    "single": ("in calls of one token after a state", "in calls without position_ids"),
    "single-from-start": ("after a first call of one token",),
    "several-short": ("in calls of more than one token after a state",),
    "several-chunks": ("in calls of more than one token after a state",),
    "pads-in-second": ("in padded rows, when a later call holds the pads",),
    "reset": ("after cache.reset()",),
    "reorder": ("after cache.reorder_cache()",),
    "prefill-unplaced": ("in calls without position_ids",),
    "generate": ("in calls of one token after a state",),
}
"""The patterns of the check that name the fault of each loop; generate() makes calls of one token after a state."""


def caught(row: Row, release: Mapping[str, Any]) -> bool:
    """Return whether the check names the fault of a row in one release's part of the record."""
    tests = release.get("checks", {}).get(row.checked, {}).get("tests", {})
    return any(pattern in PATTERNS[row.loop] for test in tests.values() for pattern in test[2])
