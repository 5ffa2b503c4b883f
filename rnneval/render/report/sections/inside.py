"""What happens inside each model: states, gates, memory, gradients."""

from collections.abc import Callable, Iterator, Sequence

from rnneval.metrics.diagnostics import findings as rules
from rnneval.records.gradients import Gradients
from rnneval.records.run import ContextCurve, Run
from rnneval.render.report.anchors import anchor
from rnneval.render.report.blocks import Block, Cell, Fold, Found, Part, Section, Table
from rnneval.render.report.given import Given, Subject, checkpoint_hash, subjects, sweeps
from rnneval.render.report.pictures import is_table, pictures
from rnneval.render.report.words import KINDS, rule_text
from rnneval.render.run_table import figure

ORDER = 40
_SEEN = 5e-5
_LAGS = (1, 2, 5, 10, 20, 50, 100, 200)


def section(given: Sequence[Given]) -> Section | None:
    """A part for each model, and one for each table that belongs to none of them."""
    parts = [_of_model(number, model) for number, model in enumerate(subjects(given))]
    told = sweeps(given)
    parts += [
        _of_table(number, each)
        for number, each in enumerate(given)
        if is_table(each) and not checkpoint_hash(each) and each not in told
    ]
    shown = tuple(part for part in parts if part.blocks)
    if not shown:
        return None
    return Section(
        anchor="inside",
        title="The inside",
        lead="What states, gates and gradients do along the text: where to look before adding units or layers.",
        blocks=shown,
    )


def _of_model(number: int, model: Subject) -> Part:
    fullest = max(model.runs, key=_fullness, default=None)
    gradients = [each.record for each in model.given if isinstance(each.record, Gradients)]
    blocks: list[Block] = [*_findings(model)]
    # The fullest run first: of two that can give the same figure it shows more.
    ordered = sorted(model.given, key=lambda each: each.record is not fullest)
    blocks += pictures(*ordered, chapter="inside")
    if fullest is not None and (states := _states(fullest)) is not None:
        blocks.append(states)
    tables = [table for make in _TABLES if fullest and (table := make(fullest)) is not None]
    tables += [table for record in gradients for table in _gradients(record)]
    if tables:
        blocks.append(Fold(title=f"As numbers: {', '.join(t.caption for t in tables)}", blocks=tuple(tables)))
    return Part(anchor=anchor("inside", number), title=model.name, blocks=tuple(blocks))


def _of_table(number: int, given: Given) -> Part:
    return Part(anchor=anchor("inside", "table", number), title=given.label, blocks=pictures(given))


def _fullness(run: Run) -> int:
    return sum(part is not None for part in (run.states, run.gates, run.lyapunov, run.context))


def _findings(model: Subject) -> Iterator[Found]:
    """What the rules of the inside said: warnings of a run, findings of a gradient record; each once."""
    known = {rule.NAME for rule in rules.all_rules()}
    said = {(w.code, w.message): None for run in model.runs for w in run.warnings if w.code in known}
    for each in model.given:
        if isinstance(each.record, Gradients):
            said |= {(finding.rule, finding.message): None for finding in each.record.findings}
    for rule, message in said:
        yield Found(kind=KINDS["warning"], rule=rule, severity="warning", message=message, about=rule_text(rule))


def _states(run: Run) -> Table | None:
    rows = tuple(
        _row(
            key,
            figure(s.norm_mean),
            figure(s.norm_max),
            "–" if s.saturated is None else f"{s.saturated:.1%}",
            f"{s.dead:.1%}",
            f"{s.duplicated:.1%}",
            f"{s.participation_ratio:.1f}",
            figure(s.speed),
            f"{s.drift:+.1%}",
        )
        for key, s in (run.states or {}).items()
    )
    head = ("state", "norm", "largest", "saturated", "dead", "twins", "directions", "speed", "drift")
    return _table(
        "States",
        head,
        rows,
        "Saturated: share of values at their bound, where little is learnt. Dead units never move, twins move alike. "
        "Directions: in how many of its units' directions the state really moves (participation ratio).",
    )


def _gates(run: Run) -> Table | None:
    rows = tuple(
        _row(
            key,
            f"{gate.mean:.3f}",
            f"{gate.saturated_low:.1%}",
            f"{gate.saturated_high:.1%}",
            "–" if gate.time_constant is None else figure(gate.time_constant),
        )
        for key, gate in (run.gates or {}).items()
    )
    head = ("gate", "mean", "shut (below 0.03)", "open (above 0.97)", "time constant, tokens")
    return _table("Gates", head, rows, "The time constant says for how many tokens the median unit keeps its state.")


def _exponents(run: Run) -> Table | None:
    rows = tuple(
        _row(key, f"{e.value:+.4g} ± {e.standard_error:.2g}", f"{e.steps:,}") for key, e in (run.lyapunov or {}).items()
    )
    head = ("", "nats a token", "tokens")
    return _table("Lyapunov exponents", head, rows, "Below 0, a small change of the state dies out; above 0, it grows.")


def _context(run: Run) -> Table | None:
    curve = run.context
    if curve is None:
        return None
    rows = [
        _row(f"{length:,}", figure(nats), _more(nats - curve.whole, error))
        for length, nats, error in zip(curve.lengths, curve.nats, curve.extra_error, strict=True)
    ]
    rows.append(_row("all", figure(curve.whole), "–"))
    return _table(
        "Loss by context", ("tokens of context", "nats a token", "more than all"), tuple(rows), _enough(curve)
    )


def _more(extra: float, error: float) -> str:
    """Write what less context costs; nothing where it is not seen in four places."""
    return f"{extra:+.4f} ± {error:.4f}" if abs(extra) >= _SEEN or error >= _SEEN else "0"


def _enough(curve: ContextCurve) -> str:
    near = [k for k, nats in zip(curve.lengths, curve.nats, strict=True) if nats - curve.whole <= 0.01]
    if not near:
        return f"More than {max(curve.lengths, default=0)} tokens of context are still worth more than 0.01 nats."
    return f"{min(near)} tokens of context are enough to within 0.01 nats: more memory has little left to win here."


def _gradients(record: Gradients) -> Iterator[Table]:
    lags = [lag for lag in _LAGS if lag <= record.lags]
    rows = tuple(
        _row(
            key,
            *(f"{course.median[lag]:.2g}" for lag in lags if lag < len(course.median)),
            f"after {course.gone}" if course.gone is not None else f"not in {record.lags}",
        )
        for key, course in record.through_time.items()
    )
    head = ("state", *(f"{lag} back" for lag in lags), "99 % gone")
    note = f"How much of the gradient is left that many tokens back: median of {record.anchors} tokens."
    found = _table("Gradients back through time", head, rows, note)
    variables = tuple(
        _row(key, f"{v.norm_mean:.3g}", f"{v.norm_max:.3g}", f"{v.norm_of_mean:.3g}", f"{v.weight_norm:.3g}")
        for key, v in record.variables.items()
    )
    head = ("variable", "norm, mean", "largest", "norm of the mean", "weights' norm")
    note = (
        f"Over {record.segments} segments of {record.truncation} tokens. Where the norm of the mean is far below the "
        "mean norm, segments pull in different directions."
    )
    yield from (table for table in (found, _table("Gradients by variable", head, variables, note)) if table)


def _row(name: str, *numbers: str) -> tuple[Cell, ...]:
    return (Cell(text=name, code=True), *(Cell(text=number) for number in numbers))


def _table(caption: str, head: tuple[str, ...], rows: tuple[tuple[Cell, ...], ...], note: str) -> Table | None:
    if not rows:
        return None
    return Table(caption=caption, head=head, rows=rows, right=tuple(range(1, len(head))), note=note)


_TABLES: tuple[Callable[[Run], Table | None], ...] = (_gates, _exponents, _context)
