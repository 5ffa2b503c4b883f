"""What is inside a model, as terminal tables: states, gates, exponents, context, gradients."""

from collections.abc import Iterable, Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from rnneval.records.gradients import Gradients
from rnneval.records.run import Checkpoint, Run, StateSummary
from rnneval.records.run import Warning as Warned
from rnneval.render.run_table import describe, figure
from rnneval.render.terminal import Grid, inert, show
from rnneval.render.words import counted, listed

_LAGS = (1, 2, 5, 10, 20, 50, 100, 200)


def print_trace(run: Run) -> None:
    """Print what a trace found on standard output."""
    show(trace_table(run))


def print_gradients(record: Gradients) -> None:
    """Print what gradients were found on standard output."""
    show(gradients_table(record))


def trace_table(run: Run) -> RenderableType:
    """Give states, gates, exponents and context, and what to know about them."""
    parts: list[RenderableType] = [_title(run.checkpoint, [file.path for file in run.text.files], run.text.part)]
    parts.append(_states(run.states or {}))
    if run.gates:
        rows = [
            (
                key,
                figure(gate.mean),
                _share(gate.saturated_low),
                _share(gate.saturated_high),
                _constant(gate.time_constant),
            )
            for key, gate in run.gates.items()
        ]
        parts.append(_table(("gate", "mean", "below 0.03", "above 0.97", "time constant (tokens)"), rows))
    if run.lyapunov:
        exponents = [
            (
                k,
                f"{e.value:+.4g}",
                f"{e.standard_error:.2g}",
                f"{e.steps:,}",
                "" if e.settling is None else f"{e.settling:,}",
            )
            for k, e in run.lyapunov.items()
        ]
        parts.append(_table(("Lyapunov exponent", "nats a token", "± s. e.", "steps", "settling"), exponents))
    if run.context:
        parts.append(_context(run))
    parts.append(_facts(run))
    return Group(*parts, *_warnings(run.warnings))


def gradients_table(record: Gradients) -> RenderableType:
    """Give gradients by variable, and how far they reach back."""
    title = _title(record.checkpoint, [file.path for file in record.text.files], record.text.part)
    rows = [
        (key, f"{v.norm_mean:.3g}", f"{v.norm_max:.3g}", f"{v.norm_of_mean:.3g}", f"{v.weight_norm:.3g}")
        for key, v in record.variables.items()
    ]
    variables = _table(("variable", "mean ‖g‖", "largest", "‖mean g‖", "‖w‖"), rows)
    lags = [lag for lag in _LAGS if lag <= record.lags]
    through = [
        (key, *(f"{course.median[lag]:.2g}" for lag in lags), f"{course.decay:.3g}", _gone(course.gone, record.lags))
        for key, course in record.through_time.items()
    ]
    decay = _table(("back by (tokens)", *map(str, lags), "a token", "99 % gone"), through)
    said = (
        f"{counted(record.segments, 'segment')} of {record.truncation} tokens, each from its carried state; back "
        f"through time: median of {counted(record.anchors, 'token')}, as a share of what is at the first lag"
    )
    found = [inert(("warning ", "yellow"), (f"{f.rule}: ", "bold"), f.message) for f in record.findings]
    return Group(title, variables, decay, inert(said, style="dim"), *found, *_warnings(record.warnings))


def _title(checkpoint: Checkpoint, files: Sequence[str], part: str | None) -> Text:
    path = checkpoint.path or "model in memory"
    text = listed(files, most=3) + (f" [{part}]" if part else "")
    return inert((path, "bold"), " on ", (text, "bold"), Text("\n"), (describe(checkpoint), "dim"))


def _states(states: dict[str, StateSummary]) -> Grid:
    head = ("state", "‖h‖ mean", "max", "rms", "saturated", "dead", "twins", "part. ratio", "speed", "drift")
    rows = [
        (
            key,
            figure(s.norm_mean),
            figure(s.norm_max),
            f"{s.rms:.3f}",
            "" if s.saturated is None else _share(s.saturated),
            _share(s.dead),
            _share(s.duplicated),
            f"{s.participation_ratio:.1f}",
            figure(s.speed),
            f"{s.drift:+.1%}",
        )
        for key, s in states.items()
    ]
    return _table(head, rows)


def _context(run: Run) -> Grid:
    curve = run.context
    assert curve is not None  # noqa: S101 - looked at by the caller
    rows = [
        (str(k), figure(nats), f"{nats - curve.whole:+.4f}", f"{error:.4f}")
        for k, nats, error in zip(curve.lengths, curve.nats, curve.extra_error, strict=True)
    ]
    rows.append(("all", figure(curve.whole), "", ""))
    return _table(("context (tokens)", "nats a token", "more than all", "± s. e."), rows)


def _facts(run: Run) -> Text:
    said = f"{run.tokens.total:,} tokens, {run.timing.seconds:.1f} s"
    loss = run.scores.get("cross_entropy")
    if loss is not None:
        said += f"; {figure(loss.value)} nats a token"
    forgetting = run.streams.forgetting_length
    if forgetting is not None:
        said += f"; forgets in {forgetting.median:.0f} tokens (median), {forgetting.max:.0f} at the longest"
    return inert(said, style="dim")


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Grid:
    table = Grid()
    for number, name in enumerate(head):
        table.add_column(name, justify="right" if number else "left")
    for row in rows:
        table.add_row(*row)
    return table


def _warnings(warnings: Iterable[Warned]) -> list[Text]:
    return [inert(("warning ", "yellow"), (f"{w.code}: ", "bold"), w.message) for w in warnings]


def _share(value: float) -> str:
    return f"{value:.1%}"


def _constant(value: float | None) -> str:
    return "" if value is None else figure(value)


def _gone(lag: int | None, lags: int) -> str:
    return f"after {lag}" if lag is not None else f"not in {lags}"
