"""A passage of the text, coloured by surprise: what the model did not see coming, character by character.

Surprise is −log₂ of the probability that the model gave to what came. The darker (on a dark page: the brighter) a
character's ground, the less the model expected it; the underlined ones surprised it most, by 8 bits or more. Where a
token has several characters, all of them stand on the token's surprise. Of a long text the most surprising stretch is
shown, or the one around the byte that is asked for. Characters without a prediction (the first of a document) have a
dotted rim.
"""

import math
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np

from rnneval.errors import UsageError
from rnneval.render.figures._sources import LOSSES, Table
from rnneval.render.figures._style import Doubles, Look, begin, head, label, number, plain
from rnneval.render.words import visible

KINDS = (LOSSES,)
ORDER = 10
COLUMNS, LINES = 72, 12
MARKED = 8.0
_TOP = 12.0
"""Bits at which the colours end."""
_STEPS = 24
_ADVANCE = 0.6021
"""Width of a letter of DejaVu Sans Mono, as a share of its size."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One character as it is shown."""

    text: str
    bits: float
    """NaN where it was not scored."""

    @property
    def width(self) -> int:
        """Columns that it takes: 2 for the wide characters of East Asia, 0 for marks on the one before."""
        if unicodedata.combining(self.text):
            return 0
        return 2 if unicodedata.east_asian_width(self.text) in ("W", "F") else 1


@dataclass(frozen=True, kw_only=True)
class Passage:
    """What is drawn."""

    lines: tuple[tuple[Cell, ...], ...]
    start: int
    """In bytes of the text."""
    stop: int
    whole: bool
    """Whether it is all of the text."""
    chosen: bool
    """Whether somebody asked for this place."""
    mean: float
    """Bits a scored token of the passage."""
    mean_of_all: float
    peak: tuple[str, float]
    """The most surprising token in its word, and its bits."""


def data_of(source: Table) -> Passage | None:
    """Take the passage around `source.at`, else the most surprising one; none without the text.

    Raises:
        UsageError: the losses are not of this text, or the place is beyond its end.
    """
    if isinstance(source, list) or source.text is None or not len(source.frame):
        return None
    frame = source.frame.sort_values("byte_start")
    starts, stops = frame["byte_start"].to_numpy(np.int64), frame["byte_end"].to_numpy(np.int64)
    bits = frame["nats"].to_numpy(np.float64) / math.log(2)
    text = source.text.encode()
    if starts[0] < 0 or (stops < starts).any() or (np.diff(stops) < 0).any():
        raise UsageError("the losses' byte ranges are not in the order of a text: make them with evaluate --losses")
    if stops[-1] > len(text):
        raise UsageError(
            f"the losses reach to byte {stops[-1]:,}, the text has {len(text):,}: give the one that was scored"
        )
    if source.at is not None and source.at >= len(text):
        raise UsageError(f"--at {source.at}: the text has {len(text):,} bytes")
    characters, places = _characters(source.text)
    place = np.arange(len(text))
    token = np.searchsorted(starts, place, side="right") - 1  # the last that begins there or before
    surprise = np.where((token >= 0) & (place < stops[token]), bits[token], np.nan)
    begin_at = _window(source, text, starts, stops, bits)
    first = int(np.searchsorted(places, begin_at))
    lines, last = _lines(characters[first:], surprise[places[first:]])
    stop = int(places[first + last]) if first + last < len(places) else len(text)
    inside = (starts >= begin_at) & (starts < stop)
    if not inside.any():
        return None
    return Passage(
        lines=lines,
        start=begin_at,
        stop=stop,
        whole=begin_at == 0 and stop == len(text),
        chosen=source.at is not None,
        mean=float(bits[inside].mean()),
        mean_of_all=float(bits.mean()),
        peak=_peak(text, starts[inside], stops[inside], bits[inside]),
    )


def _characters(text: str) -> tuple[str, Any]:
    """The characters, and the byte at which each begins."""
    sizes = np.array([len(character.encode()) for character in text], np.int64)
    return text, np.concatenate([[0], np.cumsum(sizes)[:-1]])


def _window(source: Table, text: bytes, starts: Any, stops: Any, bits: Doubles) -> int:
    """The byte at which the passage begins: at a word's beginning, so that the place or the stretch is inside."""
    line = len(text) / (text.count(b"\n") + 1)
    size = int(LINES * min(max(line, 8.0), 0.9 * COLUMNS))  # about what will be shown
    if source.at is not None:
        wanted = max(source.at - size // 3, 0)
    elif len(text) <= size:
        return 0
    else:
        sums = np.concatenate([[0.0], np.cumsum(bits)])
        after = np.searchsorted(starts, starts + size)
        whole = starts + size <= stops[-1]
        means = np.where(whole, sums[after] - sums[:-1], -np.inf)
        wanted = int(starts[int(np.argmax(means))]) if whole.any() else 0
    before = max(text.rfind(b" ", 0, wanted), text.rfind(b"\n", 0, wanted))
    return before + 1 if wanted and wanted - before < COLUMNS else _character_start(text, wanted)


def _character_start(text: bytes, place: int) -> int:
    """Never begin within a character."""
    while place > 0 and text[place] & 0xC0 == 0x80:
        place -= 1
    return place


def _lines(characters: str, surprise: Doubles) -> tuple[tuple[tuple[Cell, ...], ...], int]:
    """Wrap at words into lines; give them, and how many characters they hold."""
    lines: list[tuple[Cell, ...]] = []
    line: list[Cell] = []
    taken = 0
    for word, bits in _words(characters, surprise):
        cells = [_cell(character, value) for character, value in zip(word, bits, strict=True)]
        if line and _width(line) + _width(cells) - (word[-1] == " ") > COLUMNS:
            lines.append(tuple(line))
            line = []
        if len(lines) >= LINES:
            break
        line += cells
        taken += len(word)
        if word.endswith("\n"):
            lines.append(tuple(line))
            line = []
        if len(lines) >= LINES:
            break
    if line and len(lines) < LINES:
        lines.append(tuple(line))
    return tuple(lines), taken


def _width(cells: Sequence[Cell]) -> int:
    return sum(cell.width for cell in cells)


def _words(characters: str, surprise: Doubles) -> Iterator[tuple[str, Doubles]]:
    """Words with the space after them; a longer one than a line in pieces."""
    start = 0
    for place, character in enumerate(characters):
        if character.isspace() or place - start + 1 >= (COLUMNS - 1) // 2 or place + 1 == len(characters):
            yield characters[start : place + 1], surprise[start : place + 1]
            start = place + 1


def _cell(character: str, bits: float) -> Cell:
    shown = "↵" if character == "\n" else "→" if character == "\t" else character
    return Cell(text=shown if len(visible(shown)) == 1 else "·", bits=float(bits))


def _peak(text: bytes, starts: Any, stops: Any, bits: Doubles) -> tuple[str, float]:
    place = int(np.argmax(bits))
    word = text[starts[place] : stops[place]].decode(errors="replace")
    return word, float(bits[place])


def title_of(data: Passage) -> str:
    """Say where it is and how surprising."""
    what = "The text" if data.whole else "This passage" if data.chosen else "The most surprising passage"
    if data.whole:
        return f"{what} cost {number(data.mean)} bits a token"
    return f"{what} cost {number(data.mean)} bits a token, the whole text {number(data.mean_of_all)}"


def alt_of(data: Passage) -> str:
    """Say place, mean and peak, and give the text."""
    text = " ".join("".join(cell.text for cell in line).rstrip("↵ ") for line in data.lines)
    token, bits = data.peak
    return (
        f"{title_of(data)}. Bytes {data.start:,} to {data.stop:,}, coloured by surprise; the largest is "
        f"{number(bits)} bits at {label(repr(token))}. The text: {visible(text)}"
    )


def height_of(data: Passage) -> float:
    """A line a line of text."""
    return 0.13 + 0.038 * (len(data.lines) + 1.5)


def draw(data: Passage, *, ax: Any = None) -> Any:
    """Draw the passage on `ax`; give the Axes."""
    ax, look = begin(ax)
    rows = len(data.lines)
    ax.set_xlim(0, COLUMNS)
    ax.set_ylim(rows + 2.2, 0)
    ax.set_axis_off()
    size = _fitted(ax, rows + 2.2)
    head(ax, look, title_of(data))
    colors = _colors(look)
    for row, line in enumerate(data.lines):
        _grounds(ax, look, colors, row, line)
        _letters(ax, look, row, line, size)
    _legend(ax, look, colors, rows)
    return ax


def _fitted(ax: Any, rows: float) -> float:
    """Give the size of letters at which lines and columns fit, and make columns as wide as such letters are."""
    if ax.figure.get_layout_engine() is not None:
        ax.figure.draw_without_rendering()  # without its axis, the picture has more room
    box = ax.get_window_extent()
    width, height = box.width * 72 / ax.figure.dpi, box.height * 72 / ax.figure.dpi
    size = min(width / COLUMNS / _ADVANCE, height / rows / 1.35)
    ax.set_xlim(0, width / (size * _ADVANCE))
    ax.set_ylim(max(rows, height / (size * 1.6)), 0)  # few lines stay together
    return float(size)


def _colors(look: Look) -> Any:
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("surprise", look.heat)


def _level(bits: float) -> int:
    """One of few steps: neighbours of one step are drawn as one."""
    return 0 if math.isnan(bits) else min(round(bits / _TOP * _STEPS), _STEPS)


def _grounds(ax: Any, look: Look, colors: Any, row: int, line: tuple[Cell, ...]) -> None:
    from matplotlib.patches import Rectangle

    left = _lefts(line)
    start = 0
    for place in range(1, len(line) + 1):
        if place < len(line) and _level(line[place].bits) == _level(line[start].bits):
            continue
        level = _level(line[start].bits)
        if level:
            color, width = colors(level / _STEPS), left[place] - left[start]
            ax.add_patch(Rectangle((left[start], row + 0.06), width, 0.88, facecolor=color, linewidth=0))
        start = place
    for x, cell in zip(left, line, strict=False):
        if math.isnan(cell.bits):
            rim = Rectangle((x, row + 0.06), cell.width, 0.88, facecolor="none", edgecolor=look.muted, linestyle=":")
            ax.add_patch(rim)
        elif cell.bits >= MARKED:
            ends = [x + 0.1, x + max(cell.width, 1) - 0.1]
            ax.plot(ends, [row + 0.9, row + 0.9], color=look.ink, linewidth=1.1, gid="marked")


def _lefts(line: tuple[Cell, ...]) -> list[int]:
    """The column at which each character begins, and the end of the line."""
    return list(accumulate((cell.width for cell in line), initial=0))


def _letters(ax: Any, look: Look, row: int, line: tuple[Cell, ...], size: float) -> None:
    """A text a word, so that words stay where they are in any font; a wide character is a word of its own."""
    left = _lefts(line)
    start = 0
    for place in range(len(line) + 1):
        if place < len(line) and line[place].text not in " ↵→·" and line[place].width < 2:
            continue
        word = "".join(cell.text for cell in line[start:place])
        if word:
            _letter(ax, (left[start], row), word, size=size, color=look.ink)
        if place < len(line) and line[place].text != " ":
            color = look.ink if line[place].width > 1 else look.muted
            _letter(ax, (left[place], row), line[place].text, size=size, color=color)
        start = place + 1


def _letter(ax: Any, place: tuple[float, float], text: str, *, size: float, color: str) -> None:
    ax.text(
        place[0] + 0.02, place[1] + 0.72, plain(text), fontsize=size, family="DejaVu Sans Mono", color=color,
        va="baseline", clip_on=True,
    )  # fmt: skip


def _legend(ax: Any, look: Look, colors: Any, rows: int) -> None:
    """A bar of colours with its bits, in the picture's last line."""
    from matplotlib.patches import Rectangle

    y, left, width = rows + 0.9, 17, 1.1
    ax.text(0, y + 0.62, "surprise in bits:", fontsize="small", color=look.ink, va="baseline")
    for step in range(_STEPS + 1):
        color = colors(step / _STEPS)
        ax.add_patch(Rectangle((left + step * width, y), width + 0.02, 0.7, facecolor=color, linewidth=0))
    rim = Rectangle((left, y), width * (_STEPS + 1), 0.7, facecolor="none", edgecolor=look.muted, linewidth=0.6)
    ax.add_patch(rim)
    for bits in (0, 4, 8, 12):
        x = left + (bits / _TOP * _STEPS + 0.5) * width
        text = f"{bits}" if bits < _TOP else f"{bits} or more"
        ax.text(x, y - 0.12, text, fontsize="x-small", color=look.ink, ha="center", va="bottom")
    x = left + (_STEPS + 1) * width + 3
    ax.plot([x, x + 1.6], [y + 0.6, y + 0.6], color=look.ink, linewidth=1.1)
    ax.text(x + 2.2, y + 0.62, f"{MARKED:.0f} bits or more", fontsize="small", color=look.ink, va="baseline")
