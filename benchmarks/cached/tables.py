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
"""The columns of the first table, and the loops of each."""


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


def cell(entry: Mapping[str, Any], loops: Sequence[str]) -> str:
    """Return the largest difference of some loops that are wrong, or that all agree, are refused or not taken.

    >>> cell({"float32": {"a": 1e-6, "b": 0.31}, "float64": {"a": 1e-12, "b": 0.3}}, ("a", "b"))
    '**0.3**'
    >>> cell({"float32": {"a": "ValueError: no"}, "float64": {"a": "ValueError: no"}}, ("a",))
    'refused'
    """
    seen = {loop: difference(entry, loop) for loop in loops}
    sizes = [size for loop, size in seen.items() if wrong(entry, loop) and isinstance(size, float)]
    if sizes:
        return f"**{max(sizes):.2g}**"
    if "infinite" in seen.values():
        return "**shape**"
    if any(isinstance(size, float) for size in seen.values()):
        return "agree"
    return "refused" if any(not str(size).startswith("not taken") for size in seen.values()) else "–"


def classes(record: Mapping[str, Any]) -> str:
    """Return the table of the classes of the newest release."""
    heads = ["class", *COLUMNS]
    rows = [
        [name, *(cell(entry, loops) for loops in COLUMNS.values())]
        for name, entry in record["now"].items()
        if "float32" in entry
    ]
    return table(heads, rows)


def verdicts(record: Mapping[str, Any]) -> str:
    """Return the table of what the check says of the same classes."""
    rows = []
    for name, entry in record["now"].items():
        if "calls" not in entry:
            continue
        failed = {key: test for key, test in entry["calls"]["tests"].items() if test[0] == "fail"}
        patterns = dict.fromkeys(pattern for test in failed.values() for pattern in test[2])
        largest = max((test[1] for test in failed.values() if isinstance(test[1], float)), default=None)
        rows.append(
            [name, "; ".join(patterns) or "agree", "–" if largest is None else f"{largest:.2g}", agreement(entry)]
        )
    return table(["class", "rnneval: the readings differ …", "largest", "beside the loops"], rows)


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


def agreement(entry: Mapping[str, Any]) -> str:
    """Return the cell that says whether loops and check agree."""
    return "; ".join(disagreements(entry)) or "agree"


def history(record: Mapping[str, Any]) -> str:
    """Return how many faults the check names before and not after their fix, and the table of them."""
    rows, said = [], []
    for row in ROWS:
        parts = [record["history"].get(release, {}) for release in (row.before, row.after)]
        sizes = [_size(part.get("rows", {}).get(row.key, "not run")) for part in parts]
        said.append(_said(row, parts))
        reference = row.reference if row.reference.startswith("#") else "–"
        rows.append([reference, row.name, row.pattern, f"{row.before} → {row.after}", *sizes, said[-1]])
    found = sum(each.startswith("found") for each in said)
    gone = said.count("found, gone")
    count = (
        f"Of {len(ROWS)} rows the check names {found} in the release before; {gone} of these are gone in the one after."
    )
    heads = ["reference", "class", "what", "releases", "before", "after", "check"]
    return f"{count}\n\n{table(heads, rows)}"


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


def _size(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.2g}" if value > LIMIT else "agree"
    if value == "infinite":
        return "shape"
    return "not run" if value == "not run" or str(value).startswith("build") else "refused"


def packages(record: Mapping[str, Any]) -> str:
    """Return the table of models of other packages."""
    rows = [
        [
            name,
            entry.get("version", "–"),
            *(_size(entry.get("loops", {}).get(loop, "not run")) for loop in ("single", "several")),
        ]
        for name, entry in record["packages"].items()
    ]
    return table(["package: model", "version", "one token a call", "several tokens a call"], rows)


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table of Markdown."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def tables(record: Mapping[str, Any]) -> dict[str, str]:
    """Return the tables of the page, by their names in its marks."""
    return {
        "classes": classes(record),
        "verdicts": verdicts(record),
        "packages": packages(record),
        "history": history(record),
    }


def put(page: str, record: Mapping[str, Any]) -> str:
    """Return a page with its tables as the record has them, between `<!-- table NAME -->` and `<!-- end -->`."""
    for name, text in tables(record).items():
        begin, end = f"<!-- table {name} -->\n", "\n<!-- end -->"
        first = page.index(begin) + len(begin)
        page = page[:first] + text + page[page.index(end, first) :]
    return page
