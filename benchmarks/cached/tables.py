"""The tables of docs/cached-models.md, made of the record. PyTorch is not needed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cached.rows import ROWS, Row, caught

LIMIT = 1e-4
"""Size above which two readings differ: some classes compute in float32 inside even where their weights are float64."""
COLUMNS: Mapping[str, tuple[str, ...]] = {
    "one token a call": ("single", "single-from-start", "single-two-rows"),
    "several tokens a call": ("several", "several-chunks", "several-at-chunk", "long", "prompt-of-one"),
    "mask of ones": ("single-mask", "several-mask"),
    "left padding": ("left-padding", "left-padding-cached", "pads-in-second"),
    "on after right padding": ("right-padding-then-on",),
    "reset": ("reset",),
    "reorder": ("reorder",),
    "crop": ("crop-recorded",),
    "two texts in a row": ("packed-positions", "packed-seq-idx", "packed-cu-seq-lens"),
}
"""The kinds of calls, and the loops of each."""
LIMITS = ("on after right padding", "crop", "two texts in a row")
"""Kinds of calls in which almost all classes differ."""


def difference(entry: Mapping[str, Any], loop: str) -> float | str:
    """Return the difference of a loop in float64, or in float32 where the class does not run in float64."""
    wide, plain = entry["float64"].get(loop, ""), entry["float32"].get(loop, "")
    return wide if isinstance(wide, float) or wide == "infinite" else plain


def wrong(entry: Mapping[str, Any], loop: str) -> bool:
    """Return whether two readings of a loop differ; a call that is refused does not."""
    size = difference(entry, loop)
    if size == "infinite":
        return True
    return isinstance(size, float) and not size <= LIMIT


def worst(entry: Mapping[str, Any], loops: Sequence[str]) -> str:
    """Return the largest difference of some loops that are wrong; nothing if none is.

    >>> worst({"float32": {"a": 1e-6, "b": 0.31}, "float64": {"a": 1e-12, "b": 0.3}}, ("a", "b"))
    '0.3'
    >>> worst({"float32": {"a": "ValueError: no"}, "float64": {"a": "ValueError: no"}}, ("a",))
    ''
    """
    sizes = [difference(entry, loop) for loop in loops if wrong(entry, loop)]
    numbers = [size for size in sizes if isinstance(size, float)]
    return f"{max(numbers):.2g}" if numbers else "wrong shape" if sizes else ""


def classes(record: Mapping[str, Any]) -> str:
    """Return the table of where the classes of the newest release differ; those without a size share a row."""
    rows: dict[tuple[str, str], list[str]] = {}
    both = tuple(begin for _, begins in AGREE.values() for begin in begins)
    for name, entry in record["now"].items():
        sizes = {column: worst(entry, loops) for column, loops in COLUMNS.items() if column not in LIMITS}
        by_loop = "; ".join(f"{column}: {size}" for column, size in sizes.items() if size)
        patterns = dict.fromkeys(pattern for test in entry["calls"]["tests"].values() for pattern in test[2])
        by_check = "; ".join(pattern for pattern in patterns if not pattern.startswith(both))
        rows.setdefault((by_loop or "–", by_check or "–"), []).append(name)
    lines = [[", ".join(names), *said] for said, names in rows.items()]
    return f"{limits(record)}\n\n{table(['class', 'loops', 'rnneval alone'], lines)}"


def limits(record: Mapping[str, Any]) -> str:
    """Return how many classes have each known limit, and where loops and check say different things."""
    entries = record["now"]
    counts = []
    for column in LIMITS:
        tried = [entry for entry in entries.values() if any(_taken(entry, loop) for loop in COLUMNS[column])]
        failed = sum(bool(worst(entry, COLUMNS[column])) for entry in tried)
        counts.append(f"*{column}* {failed} of {len(tried)}")
    apart = [f"{name} ({'; '.join(found)})" for name, entry in entries.items() if (found := disagreements(entry))]
    return (
        f"Classes that differ, of those that run it: {', '.join(counts)}. "
        f"Loops and check disagree on {', '.join(apart) or 'no class'}."
    )


def _taken(entry: Mapping[str, Any], loop: str) -> bool:
    size = difference(entry, loop)
    return isinstance(size, float) or size == "infinite"


AGREE: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "calls": (
        (*COLUMNS["one token a call"], *COLUMNS["several tokens a call"]),
        ("in calls of", "after a first call", "across", "in calls without position_ids", "in one call"),
    ),
    "mask of ones": (COLUMNS["mask of ones"], ("with a growing mask",)),
    "left padding": (COLUMNS["left padding"], ("in padded rows",)),
    "right padding": (COLUMNS["on after right padding"], ("in rows that go on after pads",)),
    "reset": (("reset",), ("after cache.reset()",)),
    "reorder": (("reorder",), ("after cache.reorder_cache()",)),
    "restore": (("restore",), ("after the cache was copied",)),
}
"""What the loops and the check both test: the loops, and how the patterns of the check begin."""


def disagreements(entry: Mapping[str, Any]) -> list[str]:
    """Return the tests of which loops and check say different things."""
    patterns = [pattern for test in entry["calls"]["tests"].values() for pattern in test[2]]
    known = [pattern for pattern in patterns if "mask" not in pattern or pattern.startswith("with")]
    found = []
    for name, (loops, begins) in AGREE.items():
        by_loop = any(wrong(entry, loop) for loop in loops)
        by_check = any(pattern.startswith(begins) for pattern in known)
        if by_loop and name != "calls" and any(wrong(entry, loop) for loop in AGREE["calls"][0]):
            continue  # the loop differs for that reason already; the check compares with calls cut alike
        if by_loop != by_check:
            found.append(f"{name}: {'loops' if by_loop else 'check'} only")
    return found


def history(record: Mapping[str, Any]) -> str:
    """Return how many faults the check names before and not after their fix, and the table of the fixes."""
    said: dict[tuple[str, ...], dict[str, str]] = {}
    for row in ROWS:
        parts = [record["history"].get(release, {}) for release in (row.before, row.after)]
        reference = row.reference if row.reference.startswith("#") else "–"
        said.setdefault((reference, row.reference, row.pattern, f"{row.before} → {row.after}"), {})[row.name] = _said(
            row, parts
        )
    every = [each for names in said.values() for each in names.values()]
    rows = []
    for (reference, _, pattern, releases), names in said.items():
        found = sum(each.startswith("found") for each in names.values())
        shown = ", ".join(names) if len(names) <= 2 else f"{len(names)} classes"
        rows.append([reference, pattern, releases, shown, str(found)])
    count = (
        f"Of {len(every)} faults of a class the check names {sum(each.startswith('found') for each in every)} in the "
        f"release before; {every.count('found, gone')} of these are gone in the one after."
    )
    return f"{count}\n\n{table(['reference', 'what', 'releases', 'classes', 'found'], rows)}"


def _said(row: Row, parts: Sequence[Mapping[str, Any]]) -> str:
    """Return what the check says of a row in the release before and in the one after."""
    before, after = (caught(row, part) for part in parts)
    ran = [row.key in part.get("rows", {}) for part in parts]
    if not ran[0]:
        return "not run"
    if not before:
        return "not found"
    if not ran[1]:
        return "found; after: not run"
    return "found, still there" if after else "found, gone"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table of Markdown."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def tables(record: Mapping[str, Any]) -> dict[str, str]:
    """Return the tables of the page, by their names in its marks."""
    return {"classes": classes(record), "history": history(record)}


def put(page: str, record: Mapping[str, Any]) -> str:
    """Return a page with its tables as the record has them, between `<!-- table NAME -->` and `<!-- end -->`."""
    for name, text in tables(record).items():
        begin, end = f"<!-- table {name} -->\n", "\n<!-- end -->"
        first = page.index(begin) + len(begin)
        page = page[:first] + text + page[page.index(end, first) :]
    return page
