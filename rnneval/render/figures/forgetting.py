"""How long the state remembers its beginning: forgetting lengths.

Two copies of a stretch of text are read, one from the carried state and one from the initial state; the forgetting
length is the number of tokens after which the two states are the same to within the tolerance. They are compared at
the ends of segments, so each length is an upper bound. The dot is the median over stretches, the diamond the length
within which 95 % are, the bar at the end the longest. Several runs stand below one another.
"""

from dataclasses import dataclass
from typing import Any

from rnneval.records.run import Forgetting, Run
from rnneval.render.figures._style import Look, begin, counting, finish, label, legend, plain, whole
from rnneval.render.words import counted

KINDS = ("rnneval.run/1",)
ORDER = 50
TOGETHER = True


@dataclass(frozen=True, kw_only=True)
class Lengths:
    """What is drawn: a row a run."""

    names: tuple[str, ...]
    lengths: tuple[Forgetting, ...]
    without: int
    """Runs that have none: their states never met within the text, or the state was not carried."""


def data_of(source: Any) -> Lengths | None:
    """Take the forgetting length of each run that has one."""
    runs: list[Run] = source if isinstance(source, list) else [source]
    known = [(_name(run), run.streams.forgetting_length) for run in runs]
    kept = [(name, length) for name, length in known if length is not None]
    if not kept:
        return None
    return Lengths(
        names=tuple(name for name, _ in kept), lengths=tuple(each for _, each in kept), without=len(runs) - len(kept)
    )


def _name(run: Run) -> str:
    return run.checkpoint.path.replace("\\", "/").rstrip("/").rpartition("/")[2] or "model in memory"


def title_of(data: Lengths) -> str:
    """Say the median and the longest; of several runs, which forgets first and which last."""
    if len(data.lengths) == 1:
        one = data.lengths[0]
        return f"The state forgets its start after {whole(one.median)} tokens, at most {whole(one.max)}"
    order = sorted(range(len(data.names)), key=lambda k: data.lengths[k].median)
    first, last = order[0], order[-1]
    return (
        f"{label(data.names[first])} forgets first (after {whole(data.lengths[first].median)} tokens), "
        f"{label(data.names[last])} last ({whole(data.lengths[last].median)})"
    )


def alt_of(data: Lengths) -> str:
    """Say all three lengths of each run."""
    rows = [
        f"{label(name)}: median {whole(each.median)}, 95 % within {whole(each.p95)}, longest {whole(each.max)}"
        for name, each in zip(data.names, data.lengths, strict=True)
    ]
    return f"Forgetting lengths in tokens. {'; '.join(rows)}.{_without(data)}"


def _without(data: Lengths) -> str:
    return f" {counted(data.without, 'run')} without one not shown." if data.without else ""


def height_of(data: Lengths) -> float:
    """A line a run."""
    return min(0.26 + 0.05 * len(data.names), 1.0)


def draw(data: Lengths, *, ax: Any = None) -> Any:
    """Draw a row a run on `ax`; give the Axes."""
    ax, look = begin(ax)
    for row, each in enumerate(data.lengths):
        _row(ax, look, row, each, first=row == 0)
    longest = max(each.max for each in data.lengths)
    shortest = min(each.median for each in data.lengths)
    if shortest > 0 and longest / shortest > 50:
        ax.set_xscale("log")
        ax.set_xlim(shortest / 2, longest * 1.5)
    else:
        ax.set_xlim(0, max(longest, 1) * 1.08)
        counting(ax.xaxis)
    ax.set_ylim(len(data.names) - 0.4, -0.6)
    finish(ax, look, raised=True, title=title_of(data), x=f"tokens{_without(data).replace('.', '')}", grid="x")
    ax.set_yticks(range(len(data.names)), [plain(label(name)) for name in data.names])
    ax.tick_params(axis="y", length=0)
    legend(ax, look, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=3, borderaxespad=0.2)
    return ax


def _row(ax: Any, look: Look, row: int, each: Forgetting, *, first: bool) -> None:
    named = (lambda text: text) if first else (lambda _: None)
    ax.plot([0, each.max], [row, row], color=look.grid, linewidth=2, zorder=1)
    ax.plot([each.median, each.max], [row, row], color=look.good, linewidth=2, zorder=2)
    marks = ((each.median, "o", "median"), (each.p95, "D", "95 % within"), (each.max, "|", "longest"))
    for value, marker, name in marks:
        ax.plot(
            [value], [row], marker=marker, color=look.good, linestyle="none", zorder=3, label=named(name),
            markersize=14 if marker == "|" else 8, markeredgewidth=2.2 if marker == "|" else 1,
            markerfacecolor=look.paper if marker == "D" else look.good,
        )  # fmt: skip
