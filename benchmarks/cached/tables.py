"""The tables of docs/cached-models.md, made of the record. PyTorch is not needed."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cached.rows import ROWS, Row, caught

LIMIT = 1e-4
"""Size above which two readings differ: some classes compute in float32 inside even where their weights are float64."""
SEVERAL = tuple(f"calls-of-several{kind}" for kind in ("", "-at-chunk", "-chunks", "-long"))
COLUMNS: Mapping[str, tuple[str, ...]] = {
    "one token a call": ("calls-of-one", "calls-of-one-from-start", "calls-of-one-long"),
    "several tokens a call": SEVERAL,
    "no position_ids": ("unplaced-one", "unplaced-several"),
    "mask of ones": ("ones-one", "ones-several"),
    "two rows": ("rows-one", "rows-several"),
    "left padding": ("left-padding", "pads-left-one", "pads-left-several", "pads-left-in-second"),
    "copy": ("restore",),
    "reset": ("reset", "reset-from-start"),
    "reorder_cache": ("reorder",),
    "batch_select_indices": ("select",),
    "on after right padding": ("pads-right-then-one",),
    "crop": ("crop-recorded",),
    "two texts in a row": ("packed-positions", "packed-seq-idx", "packed-cu-seq-lens"),
}
"""What is changed alone, and the loops that do."""
LIMITS = ("on after right padding", "crop", "two texts in a row")
"""Changes by which almost all classes differ."""
GENERATE: Mapping[str, str] = {
    "one row": "generate-one-row",
    "prompt of one token": "generate-prompt-of-one",
    "two rows": "generate-two-rows",
    "padded left": "generate-padded",
    "beams": "generate-beams",
    "continued, whole text": "generate-on-whole",
    "continued, new tokens": "generate-on-rest",
    "prefill in chunks": "generate-prefill",
    "prompt lookup": "generate-lookup",
}
"""The calls of generate(), and the loop of each."""


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
    rows: dict[str, list[str]] = {}
    for name, entry in record["now"].items():
        sizes = {column: worst(entry, loops) for column, loops in COLUMNS.items() if column not in LIMITS}
        rows.setdefault("; ".join(f"{column}: {size}" for column, size in sizes.items() if size) or "–", []).append(
            name
        )
    lines = [[", ".join(names), sizes] for sizes, names in rows.items()]
    return f"{limits(record)}\n\n{table(['class', 'differs by'], lines)}"


def differing(record: Mapping[str, Any]) -> list[str]:
    """Return the classes that differ by more than what almost all do."""
    loops = [loop for column, loops in COLUMNS.items() if column not in LIMITS for loop in loops]
    return [name for name, entry in record["now"].items() if worst(entry, loops)]


def result(record: Mapping[str, Any]) -> str:
    """Return what was found in one paragraph, with the releases that were run."""
    versions = record["versions"]
    every = faults(record)
    named = sum(each.startswith("found") for each in every.values())
    hit = sum(any(wrong(entry, loop) for loop in GENERATE.values()) for entry in record["now"].values())
    text = (
        f"**Result.** Of {len(record['now'])} causal classes of transformers {versions['transformers']} that keep a "
        f"recurrent state, {len(differing(record))} differ by something other than limits that almost all share; "
        f"`generate` is hit in {hit}. Of {len(every)} faults that releases before it mended, "
        f"loops show {sum(_shown(row, record) for row in every)} and `rnneval.check` names {named}. "
        f"PyTorch {versions['torch']}, {record['date']}; `docs/records/cached_models.json` is the record."
    )
    return "\n".join(textwrap.wrap(text, 120, break_on_hyphens=False))


def generate(record: Mapping[str, Any]) -> str:
    """Return the table of what differs from the text read without a cache when `generate` makes the calls."""
    rows: dict[tuple[str, ...], list[str]] = {}
    for name, entry in record["now"].items():
        rows.setdefault(tuple(_of_generate(entry, loop) for loop in GENERATE.values()), []).append(name)
    return table(["class", *GENERATE], [[", ".join(names), *cells] for cells, names in rows.items()])


def _of_generate(entry: Mapping[str, Any], loop: str) -> str:
    return "differs" if wrong(entry, loop) else "–" if _taken(entry, loop) else "raises"


def generate_of(record: Mapping[str, Any], *names: str) -> str:
    """Return a sentence for each way in which generate() is hit in some classes."""
    said: dict[str, list[str]] = {}
    for name in names:
        cells = {call: _of_generate(record["now"][name], loop) for call, loop in GENERATE.items()}
        differs, raises = ([call for call, cell in cells.items() if cell == word] for word in ("differs", "raises"))
        parts = [
            f"{word} in {', '.join(f'*{call}*' for call in calls)}"
            for word, calls in (("differs", differs), ("raises", raises))
            if calls
        ]
        said.setdefault(", and ".join(parts) or "is not hit", []).append(name)
    return " ".join(f"`generate` of {', '.join(classes)} {words}." for words, classes in said.items())


def limits(record: Mapping[str, Any]) -> str:
    """Return how many classes have each known limit, and where loops and check say different things."""
    entries = record["now"]
    counts = []
    for column in LIMITS:
        tried = [entry for entry in entries.values() if any(_taken(entry, loop) for loop in COLUMNS[column])]
        failed = sum(bool(worst(entry, COLUMNS[column])) for entry in tried)
        counts.append(f"*{column}* {failed} of {len(tried)}")
    packed = [
        f"`{name}` {sum(wrong(entry, loop) for entry in entries.values())} differ and "
        f"{sum(_raises(entry, loop) for entry in entries.values())} raise an error"
        for name, loop in zip(("position_ids", "seq_idx", "cu_seq_lens_q"), COLUMNS["two texts in a row"], strict=True)
    ]
    apart = [f"{name} ({'; '.join(found)})" for name, entry in entries.items() if (found := disagreements(entry))]
    return (
        f"Classes that differ, of those that run it: {', '.join(counts)}. "
        f"Of two texts in a row, with {', '.join(packed)}. "
        f"Loops and check disagree on {', '.join(apart) or 'no class'}."
    )


def _raises(entry: Mapping[str, Any], loop: str) -> bool:
    return not _taken(entry, loop) and not str(difference(entry, loop)).startswith("not taken")


def _taken(entry: Mapping[str, Any], loop: str) -> bool:
    size = difference(entry, loop)
    return isinstance(size, float) or size == "infinite"


AGREE: Mapping[str, tuple[str, ...]] = {
    "one token a call": ("in calls of one token after a state", "after a first call of one token", "across"),
    "several tokens a call": ("in calls of more than one token",),
    "no position_ids": ("in calls without position_ids",),
    "mask of ones": ("with a growing mask",),
    "two rows": ("in calls of one token for two rows",),
    "left padding": ("in padded rows",),
    "copy": ("after the cache was copied",),
    "reset": ("after cache.reset()",),
    "reorder_cache": ("after cache.reorder_cache()",),
    "batch_select_indices": ("after cache.batch_select_indices()",),
    "on after right padding": ("in rows that go on after pads",),
}
"""What the loops and the check both test: the column, and how the patterns of the check begin."""


def disagreements(entry: Mapping[str, Any]) -> list[str]:
    """Return the tests of which loops and check say different things."""
    patterns = [pattern for test in entry["calls"]["tests"].values() for pattern in test[2]]
    apart = []
    for column, begins in AGREE.items():
        by_loop = any(wrong(entry, loop) for loop in COLUMNS[column])
        if by_loop != any(pattern.startswith(begins) for pattern in patterns):
            apart.append(f"{column}: {'loops' if by_loop else 'check'} only")
    return apart


def faults(record: Mapping[str, Any]) -> dict[Row, str]:
    """Return what the check says of each fault in the release before its fix and in the one after."""
    return {
        row: _said(row, [record["history"].get(release, {}) for release in (row.before, row.after)]) for row in ROWS
    }


def history(record: Mapping[str, Any]) -> str:
    """Return how many faults loops and check show before and not after their fix, and the table of the fixes."""
    every = faults(record)
    fixes: dict[tuple[str, ...], list[Row]] = {}
    for row in every:
        fixes.setdefault((row.reference, row.pattern, f"{row.before} → {row.after}"), []).append(row)
    lines = []
    for (reference, pattern, releases), rows in fixes.items():
        names = ", ".join(row.name for row in rows) if len(rows) <= 2 else f"{len(rows)} classes"
        by_loop = sum(_shown(row, record) for row in rows)
        by_check = sum(every[row].startswith("found") for row in rows)
        known = reference if reference.startswith("#") else "–"
        lines.append([known, pattern, releases, names, str(by_loop), str(by_check)])
    words = list(every.values())
    count = (
        f"Of {len(every)} faults of a class a loop shows {sum(_shown(row, record) for row in every)}. The check names "
        f"{sum(each.startswith('found') for each in words)} in the release before; {words.count('found, gone')} of "
        f"these are gone in the one after."
    )
    return f"{count}\n\n{table(['reference', 'what', 'releases', 'classes', 'loop', 'check'], lines)}"


def _shown(row: Row, record: Mapping[str, Any]) -> bool:
    """Return whether the loop of a row differs in the release before its fix, and agrees in the one after."""
    before, after = (
        record["history"].get(release, {}).get("rows", {}).get(row.key, "not run")
        for release in (row.before, row.after)
    )
    differs = before == "infinite" or (isinstance(before, float) and not before <= LIMIT)
    return differs and isinstance(after, float) and after <= LIMIT


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


def packages(record: Mapping[str, Any]) -> str:
    """Return the table of other packages: what the loops and the check say of them."""
    rows = []
    for name, entry in record["packages"].items():
        loops = [_of_package(entry["loops"].get(loop, "")) for loop in ("single", "several")]
        rows.append([name, entry["version"], *loops, _verdict(entry["check"])])
    return table(["package: model", "version", "one token a call", "several tokens a call", "check"], rows)


def _of_package(size: float | str) -> str:
    if isinstance(size, str):
        return "another shape" if size == "infinite" else "raises"
    return "agrees" if size <= LIMIT else f"{size:.2g}"


def _verdict(check: Mapping[str, Any]) -> str:
    verdict = str(check["verdict"])
    return "refused" if verdict == "error" else verdict


def tables(record: Mapping[str, Any]) -> dict[str, str]:
    """Return the tables of the page, by their names in its marks."""
    return {
        "result": result(record),
        "classes": classes(record),
        "generate": generate(record),
        "packages": packages(record),
        "history": history(record),
    }


def put(page: str, record: Mapping[str, Any]) -> str:
    """Return a page with its tables as the record has them, between `<!-- table NAME -->` and `<!-- end -->`.

    `<!-- generate CLASS CLASS -->` begins what is said of generate() in these classes.
    """
    for name, text in tables(record).items():
        page = _between(page, f"<!-- table {name} -->", text)
    for begin, names in re.findall(r"(<!-- generate (.*?) -->)", page):
        page = _between(
            page, begin, "\n".join(textwrap.wrap(generate_of(record, *names.split()), 120, break_on_hyphens=False))
        )
    return page


def _between(page: str, begin: str, text: str) -> str:
    """Return a page with a text between a mark and the next end."""
    first = page.index(f"{begin}\n") + len(begin)
    last = page.index("\n<!-- end -->", first)
    return f"{page[:first]}\n{text}{page[last:]}"
