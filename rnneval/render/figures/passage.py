"""An excerpt of the text coloured by surprise: what the model did not expect, character by character."""

import math
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import groupby
from typing import Any

import numpy as np
from rich.text import Text

from rnneval.errors import UsageError
from rnneval.records.tables import LOSSES
from rnneval.render.figures._base import Figure, TidyTable
from rnneval.render.figures._style import LIGHT, label
from rnneval.render.html import template
from rnneval.render.phrasing import number, visible

KINDS = (LOSSES,)
ORDER = 10
LENGTH, LINES = 700, 12  # most characters and lines of an excerpt
MARKED, TOP = 8, 12
"""Bits from which on a character is underlined, and at which the colours end; `report.css` has the same."""

Runs = Sequence[tuple[str, str]]
"""Neighbouring characters of one level, and its style: `s0` … `s12` for whole bits, `none` without a prediction."""
_LEGEND: Runs = [
    ("surprise in bits: ", ""),
    *((f" {bits} ", f"s{bits}") for bits in range(0, TOP, 2)),
    (f" {TOP} or more ", f"s{TOP}"),
]


def figure(table: TidyTable) -> Figure | None:
    """Return the figure of the most surprising excerpt; None without a text."""
    if table.text is None or not len(table.frame):
        return None
    text = table.text.encode()
    tokens = table.frame.sort_values("byte_start").assign(bits=lambda frame: frame["nats"] / math.log(2))
    starts, stops = tokens["byte_start"].to_numpy(np.int64), tokens["byte_end"].to_numpy(np.int64)
    if starts[0] < 0 or (stops < starts).any() or (np.diff(stops) < 0).any() or stops[-1] > len(text):
        raise UsageError("the losses' byte ranges are not those of the text: give the text that was scored")
    start = _start(text, tokens)
    shown = text[start : start + 4 * LENGTH].decode(errors="ignore")[:LENGTH]
    shown = "".join(shown.splitlines(keepends=True)[:LINES])
    stop = start + len(shown.encode())
    inside = tokens[(starts >= start) & (starts < stop)]
    if inside.empty:
        return None
    mean, peak = inside["bits"].mean(), inside.iloc[inside["bits"].argmax()]
    word = label(repr(text[int(peak["byte_start"]) : int(peak["byte_end"])].decode(errors="replace")))
    whole = number(tokens["bits"].mean())
    title = f"The most surprising excerpt has {number(mean)} bits a token, the whole text {whole}"
    if start == 0 and stop == len(text):
        title = f"The text has {number(mean)} bits a token"
    place, largest = f"Bytes {start:,} to {stop:,}", f"the largest surprise is {number(peak['bits'])} bits at {word}"
    runs, note = list(_runs(shown, start, tokens)), f"{place}; {largest}."
    return Figure(
        title=title,
        alt=f"{title}. {place}, coloured by surprise; {largest}. The text: {visible(shown)}",
        text=partial(_text, runs, note),
        html=lambda: template("excerpt.html.j2").render(runs=runs, legend=_LEGEND, note=note),
        chapter="numbers",
    )


def _start(text: bytes, tokens: Any) -> int:
    """Return the first byte of the excerpt: at the beginning of a word, so that what is wanted is inside."""
    lines, wanted = text.count(b"\n") + 1, 0
    size = int(min(LINES * max(len(text) / lines, 8.0), 0.9 * LENGTH))  # about what will be shown
    if len(text) > size:
        starts = tokens["byte_start"].to_numpy()
        whole = starts[starts + size <= tokens["byte_end"].iloc[-1]]
        sums = np.concatenate([[0.0], np.cumsum(tokens["bits"])])
        totals = sums[np.searchsorted(starts, whole + size)] - sums[: len(whole)]
        wanted = int(whole[totals.argmax()]) if len(whole) else 0
    before = max(text.rfind(b" ", 0, wanted), text.rfind(b"\n", 0, wanted))
    if wanted and wanted - before < LENGTH // LINES:
        return before + 1
    while wanted > 0 and text[wanted] & 0xC0 == 0x80:  # within a character
        wanted -= 1
    return wanted


def _runs(text: str, start: int, tokens: Any) -> Iterator[tuple[str, str]]:
    """Yield the runs of an excerpt that begins at the byte `start`; what cannot be seen is shown as a sign."""
    sizes = [len(character.encode()) for character in text]
    place = start + np.cumsum([0, *sizes])[:-1]
    starts, stops, bits = (tokens[name].to_numpy() for name in ("byte_start", "byte_end", "bits"))
    token = np.searchsorted(starts, place, side="right") - 1  # the last that begins there or before
    surprise = np.where((token >= 0) & (place < stops[token]), bits[token], np.nan)
    styles = ["none" if math.isnan(each) else f"s{int(min(max(each, 0.0), TOP))}" for each in surprise]
    signs = {"\n": "↵\n", "\t": "→"}
    for style, part in groupby(zip(text, styles, strict=True), key=lambda pair: pair[1]):
        yield "".join(signs.get(each, each if each.isprintable() else "·") for each, _ in part), style


def _text(runs: Runs, note: str) -> Text:
    """Return the excerpt, its legend and a note, for a terminal or a notebook."""
    # Dark on a light ground, whatever colours the terminal has.
    styles = {"none": "dim"}
    paper, hot = (bytes.fromhex(color[1:]) for color in (LIGHT.paper, LIGHT.hot))
    for bits in range(1, TOP + 1):
        ground = bytes(round(a + (b - a) * bits / TOP) for a, b in zip(paper, hot, strict=True)).hex()
        styles[f"s{bits}"] = f"{LIGHT.ink} on #{ground}{' underline' if bits >= MARKED else ''}"
    parts = [*runs, ("\n\n", ""), *_LEGEND, (f"\n{note}", "")]
    return Text.assemble(*((part, styles.get(style, "")) for part, style in parts))
