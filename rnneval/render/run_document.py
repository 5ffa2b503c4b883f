"""Documents of runs: scores, what was counted, what was seen inside a model or recognized of a file."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from rnneval.metrics import by_name
from rnneval.metrics.baselines import standing
from rnneval.pages import page
from rnneval.records.run import BesideReset, Checkpoint, Gradients, HowFar, Opened, Run, StateSummary, usual_metric
from rnneval.records.run import Warning as Warned
from rnneval.render import document as doc
from rnneval.render.phrasing import Level, annotation, counted, figure, interval, listed, per_cent, shortened, signed

CONTRACTS = {1: "states argument", 2: "state inputs", 3: "stateful layers", 4: "stateless graph", 5: "window"}
"""How a model takes and returns its state."""
WORSE = "worse-than-uniform"  # code of the warning of a run that is worse than guessing
_NO_NGRAMS = "none: fitted to the training text (--fit-on), they say how good the model is"
_TABLE = "How to read the table"  # section of a page
_GROWS = 0.1  # growth of a norm along a text, as a share of its mean, from which on a sentence names it
_LAGS = (1, 2, 5, 10, 20, 50, 100, 200)


def run_document(run: Run) -> Iterator[doc.Block]:
    """Write the scores of a run, what was counted, and the warnings."""
    yield from _opening(run)
    if run.scores:
        yield scores_table(run)
    if run.beside_reset is not None:
        yield reset_table(run, run.beside_reset)
        if (far := run.beside_reset.how_far) is not None:
            yield doc.Paragraph(text=_how_far(far, run.beside_reset.segment, run.states or {}))
    yield doc.FactList(rows=tuple(run_facts(run)))
    yield from warnings(run.warnings)


def annotations(blocks: Iterable[doc.Block]) -> str:
    """Write what makes a run not valid, its scores and its warnings as annotations of GitHub."""
    lines = []
    for each in blocks:
        if isinstance(each, doc.Notice):
            level: Level = "error" if each.kind == "fail" else "warning"
            lines.append(annotation(level, each.text, title=f"rnneval: {each.title}"))
        elif isinstance(each, doc.Heading):
            lines.append(annotation("notice", each.text, title="rnneval evaluate"))
    return "".join(f"{line}\n" for line in lines)


def trace_document(run: Run) -> Iterator[doc.Block]:
    """Write states, gates, exponents and context of a traced run, and the warnings."""
    yield from _opening(run)
    if run.checkpoint:
        yield doc.Paragraph(text=describe(run.checkpoint), muted=True)
    yield from inside_tables(run)
    if call := next((s.call for s in (run.states or {}).values()), None):
        text = f"States at the ends of calls of {call:,} tokens, speed from one to the next; --every-token shows each."
        yield doc.Paragraph(text=text, muted=True)
    if run.gates:
        yield doc.Paragraph(text=page("gates").paragraph(_TABLE), muted=True)
    summary = f"{run.tokens.total:,} tokens"
    if run.timing is not None:
        summary += f", {run.timing.seconds:.1f} s"
    if "cross_entropy" in run.scores:
        summary += f"; {figure(run.scores['cross_entropy'].value)} nats a token"
    if (forgetting := run.forgetting) is not None:
        summary += f"; forgets within {forgetting.median:,.0f} tokens (median), {forgetting.max:,.0f} at the longest"
    yield doc.Paragraph(text=summary, muted=True)
    yield from warnings(run.warnings)


def gradients_document(record: Gradients) -> Iterator[doc.Block]:
    """Write gradients by variable, and back through time."""
    yield doc.Heading(text=_title(record))
    yield doc.Paragraph(text=describe(record.checkpoint), muted=True)
    yield from gradient_tables(record)
    summary = (
        f"{counted(record.segments, 'segment')} of {record.truncation:,} tokens, each from its carried state; "
        f"back through time: median of {counted(record.anchors, 'token')}, as a share of the gradient at the first lag"
    )
    yield doc.Paragraph(text=summary, muted=True)
    found = (Warned(code=finding.rule, message=finding.message) for finding in record.findings)
    yield from warnings((*found, *record.warnings))


def opened_document(opened: Opened) -> Iterator[doc.Block]:
    """Write what was recognized of a checkpoint: the model, its layers, its vocabulary and every assumption."""
    checkpoint, vocabulary = opened.checkpoint, f"none: {opened.why_no_vocabulary or ''}"
    if opened.vocabulary is not None:
        vocabulary = f"{counted(opened.vocabulary.size, 'token')}, {opened.vocabulary.source}"
    ends = f"{opened.input.kind} in, {opened.output.kind} out, {opened.width} logits"
    facts = [("checkpoint", opened.title), ("sha256", checkpoint.sha256), ("model", describe(checkpoint))]
    facts += [("in, out", ends), ("vocabulary", vocabulary)]
    yield doc.facts([*facts, *(("assumed", assumption) for assumption in opened.assumptions)])
    if checkpoint.layers:
        rows = (
            (doc.code(layer.name), doc.code(layer.path), layer.kind, str(layer.units), ", ".join(layer.slots))
            for layer in checkpoint.layers
        )
        yield doc.table("Layers", ("layer", "path", "kind", "units", "slots"), rows, right=(3,))
    yield from warnings(opened.warnings or ())


def _opening(run: Run) -> Iterator[doc.Block]:
    """Write the title of a run; before it, whether it is not valid."""
    if not run.valid:
        broken = ", ".join(run.broken_rules) or "the record does not say why"
        yield doc.Notice(kind="fail", title="not valid", text=f"{broken}; none of this is a perplexity")
    yield doc.Heading(text=_title(run))


def _title(record: Run | Gradients) -> str:
    text = listed([file.title for file in record.text.files], most=3)
    return f"{record.title} on {text}" + (f" [{record.text.part}]" if record.text.part else "")


def warnings(several: Iterable[Warned]) -> Iterator[doc.Notice]:
    """Write each warning of a record."""
    for warning in several:
        yield doc.Notice(kind="unsure", title=f"warning {warning.code}", text=warning.message)


def said_once(pairs: Iterable[tuple[str, Warned]]) -> list[tuple[Warned, list[str]]]:
    """Return each warning once, with the names that have it: one that differs in numbers alone is the same."""
    owners: dict[tuple[str, str], tuple[Warned, list[str]]] = {}
    for name, warning in pairs:
        _, names = owners.setdefault((warning.code, re.sub(r"\d+", "0", warning.message)), (warning, []))
        if name not in names:
            names.append(name)
    return list(owners.values())


def describe(checkpoint: Checkpoint) -> str:
    """Describe a model in a line: its layers, its size, the format of its file and how it passes its state."""
    layers = listed([f"{shortened(layer.name)} ({layer.kind} {layer.units})" for layer in checkpoint.layers], most=4)
    if not layers and checkpoint.format == "step":
        return "a step function, whose layers are not seen"
    if not layers and checkpoint.format not in {"torch", "transformers"}:  # the check sees the modules of these
        layers = "no layer seen"
    size = counted(checkpoint.parameters, "parameter")
    form = "in memory" if checkpoint.format == "model" else checkpoint.format
    return ", ".join(filter(None, (layers, size, form, CONTRACTS[checkpoint.contract])))


# Scores and counts


def scores_table(run: Run) -> doc.TableBlock:
    """Return every score with its interval and its meaning: the first sentence of the text of the metric.

    The score that is usual for the kind of token is marked, and so is every score of a run that is not valid.
    """
    usual = usual_metric(run.signature)
    rows = []
    for name, score in run.scores.items():
        mark = "does not count" if not run.valid else "the usual metric" if name == usual else ""
        meaning = page(name).summary if name in by_name() else ""
        marked = doc.TableCell(text=mark, kind="note")
        rows.append((doc.code(name), figure(score.value), score.unit, interval(score.low, score.high), marked, meaning))
    note = "This text is too short for intervals."
    if run.interval:
        note = f"Interval: {run.interval.method}; it is about {run.interval.claim}."
    head = ("score", "value", "unit", "95 % interval", "", "what it says")
    return doc.table("All scores", head, rows, right=(1,), extra=(5,), note=note)


def reset_table(run: Run, beside: BesideReset) -> doc.TableBlock:
    """Return loss and perplexity with the state carried and with the state reset, and the change."""

    def cells(score: Any, write: Callable[[float], str] = figure, between: str = " – ") -> tuple[str, str]:
        return (write(score.value), interval(score.low, score.high, write, between)) if score else ("–", "–")

    def in_per_cent(change: float) -> str:
        return f"{signed(change, '+.2f' if abs(change) < 1e6 else '+.3g')} %"

    rows = []
    for name, scores in ((f"reset every {counted(beside.segment, 'token')}", beside.scores), ("carried", run.scores)):
        rows.append((name, *cells(scores.get("cross_entropy")), *cells(scores.get("perplexity"))))
    change = cells(beside.change, signed, " to ")
    rows.append(("change by carrying", *change, *cells(beside.perplexity_change, in_per_cent, " to ")))
    head = ("state", "nats a token", "95 % interval", "perplexity", "95 % interval")
    note = page("beside-reset").paragraph(_TABLE)
    if beside.how_far is not None:
        note = f"{_how_far(beside.how_far, beside.segment, run.states or {})} {note}"  # which only a report shows
    return doc.table("Carried and reset state", head, rows, right=(1, 2, 3, 4), note=note)


def _how_far(far: HowFar, segment: int, states: Mapping[str, StateSummary]) -> str:
    """Return a sentence about how far carrying the state helps."""
    if far.verdict == "inconclusive":
        return "How far carrying the state helps does not show in this text."
    turn, more, but = far.turns_at, f"costs more than a reset every {segment:,} tokens", "as"
    bounds = "" if turn is None else f" ({interval(turn.low, turn.high, lambda tokens: f'{tokens:,.0f}', '–')})"
    said = f"Carrying the state {more} from the start{bounds}"
    if far.verdict == "holds":
        but, beyond = "although", f"beyond {far.distance[-1]:,} tokens it still does"
        said = f"Carrying the state helps to the end of the text: {beyond}"
    elif turn is not None and turn.value:
        said = f"Carrying the state helps up to {turn.value:,.0f} tokens{bounds}; from there it {more}"
    rates = {key: s.growth for key, s in states.items() if s.growth and (s.growth.low or 0) > 1 and s.drift > _GROWS}
    if rates:
        key = max(rates, key=lambda key: rates[key].value)
        bounds = interval(rates[key].low, rates[key].high, figure, "–")
        said += f", {but} the norm of {key} grows {figure(rates[key].value)} × in 1,000 tokens ({bounds})"
    return f"{said}."


def run_facts(run: Run) -> list[doc.Fact]:
    """Return what was counted and how, by name."""
    tokens, text, streams, known = run.tokens, run.text, run.streams, run.vocabulary
    scored = max(1, tokens.scored)
    unknown = f"{tokens.unknown:,} unknown" if tokens.unknown else "none unknown"
    sizes = {"character": text.characters, "byte": text.bytes, "word": text.words, "document": text.documents}
    part = f"; part {text.part} is {100 * (text.share or 0):.4g} % of the characters of the files"
    baselines = ", ".join(f"{name} {figure(value)}" for name, value in run.baselines.items())
    facts: dict[str, str] = {
        "tokens": f"{tokens.total:,} = {tokens.scored:,} scored + {tokens.unscored:,} unscored; {unknown}",
        "text": ", ".join(counted(n, noun) for noun, n in sizes.items()) + part * (text.share is not None),
        "model": describe(run.checkpoint) if run.checkpoint else "",
        "imported": run.imported.title if run.imported else "",
        "vocabulary": f"{counted(known.size, 'token')}, {known.source}" if known else "",
        "baselines": f"{baselines} nats a token" if baselines else "",
        "n-grams": beside_counting(run) or _NO_NGRAMS * (run.baselines.keys() == {"uniform", "own-unigram"}),
        "interval": f"{run.interval.method}; claim: {run.interval.claim}" if run.interval else "",
    }
    if streams and (seen := streams.forgetting_length) is not None:
        lengths = f"within {seen.median:,.0f}"
        if seen.max > seen.median:
            lengths = f"median within {seen.median:,.0f}, 95 % within {seen.p95:,.0f}, longest within {seen.max:,.0f}"
        facts["forgets in"] = f"{lengths} tokens (compared every {streams.segment})"
    facts["wiring"] = f"{run.wiring.verdict}: {run.wiring.reason}" if run.wiring else "not checked"
    if other := run.token_by_token:
        cut = f"segments of {counted(other.segment, 'token')}"
        facts["other cut"] = f"{figure(other.total_nats / scored)} nats a token when the text is cut into {cut}"
    if streams and run.timing:
        again = f"{counted(streams.count, 'row')}, {per_cent(streams.tokens_rerun / scored, '.0f')} re-evaluated"
        facts["speed"] = f"{run.timing.seconds:.1f} s, {run.timing.tokens_per_second:,.0f} tokens/s ({again})"
    signature = doc.Fact(name="signature", text=run.signature, code=True)
    return [*(doc.Fact(name=name, text=text) for name, text in facts.items() if text), signature]


def beside_counting(run: Run) -> str:
    """Name the n-gram that the model is as good as, and compare it with the best one; "" without n-grams."""
    best = run.ngram
    if not run.valid or best is None or best.change is None:
        return ""
    change, bounds = best.change, "no interval"
    if change.low is not None:
        bounds = f"95 % interval {interval(change.low, change.high, signed, ' to ')}"
    beside = f"{standing(run)}; {signed(change.value)} nats a token beside {best.name} ({bounds})"
    return f"{beside}; fitted to {counted(best.fitted_tokens, 'token')}"


# Diagnostics


def inside_tables(run: Run) -> Iterator[doc.TableBlock]:
    """Yield states, gates, Lyapunov exponents and the loss by context, each if it was measured."""
    states = {
        key: (
            figure(s.norm_mean), figure(s.norm_max), f"{s.rms:.3f}", per_cent(s.saturated), per_cent(s.dead),
            per_cent(s.duplicated), figure(s.participation_ratio), figure(s.speed), per_cent(s.drift, "+.1f"),
        )
        for key, s in (run.states or {}).items()
    }  # fmt: skip
    head = "state, ‖h‖ mean, max, rms, saturated, dead, twins, part. ratio, speed, drift"
    yield from _numbers("States", head, states, page("states").paragraph(_TABLE))
    gates = {
        key: (figure(g.mean), per_cent(g.saturated_low), per_cent(g.saturated_high), figure(g.time_constant))
        for key, g in (run.gates or {}).items()
    }
    head = "gate, mean, below 0.03, above 0.97, time constant (tokens)"
    yield from _numbers("Gates", head, gates, page("gates").paragraph(_TABLE))
    exponents = {
        key: (signed(e.value, "+.4g"), f"{e.standard_error:.2g}", f"{e.steps:,}", figure(e.settling, ","))
        for key, e in (run.lyapunov or {}).items()
    }
    head = "Lyapunov exponent, nats a token, ± s. e., steps, settling"
    note = "Below 0, a small change of the state dies out; above 0, it grows."
    yield from _numbers("Lyapunov exponents", head, exponents, note)
    if (curve := run.context) is not None:
        nats = list(zip(curve.lengths, curve.nats, curve.extra_error, strict=True))
        rows = {f"{length:,}": (figure(n), signed(n - curve.whole), f"{error:.4f}") for length, n, error in nats}
        enough = [length for length, n, _ in nats if n - curve.whole <= 0.01]
        note = f"More than {max(curve.lengths, default=0)} tokens of context are still worth more than 0.01 nats."
        if enough:
            note = f"{min(enough)} tokens of context are enough to within 0.01 nats: more memory can gain little here."
        head = "context (tokens), nats a token, more than all, ± s. e."
        yield from _numbers("Loss by context", head, {**rows, "all": (figure(curve.whole), "", "")}, note)


def gradient_tables(record: Gradients) -> Iterator[doc.TableBlock]:
    """Yield gradients by variable and gradients back through time, each if it was measured."""
    variables = {
        key: tuple(f"{value:.3g}" for value in (v.norm_mean, v.norm_max, v.norm_of_mean, v.weight_norm))
        for key, v in record.variables.items()
    }
    note = (
        f"Over {record.segments} segments of {record.truncation} tokens. If the norm of the mean is far below the "
        "mean norm, segments pull in different directions."
    )
    yield from _numbers("Gradients by variable", "variable, mean ‖g‖, largest, ‖mean g‖, ‖w‖", variables, note)
    lags, states = [lag for lag in _LAGS if lag <= record.lags], {}
    for key, state in record.through_time.items():
        left = [f"{state.median[lag]:.2g}" if lag < len(state.median) else "–" for lag in lags]
        gone = f"after {state.gone}" if state.gone is not None else f"not in {record.lags}"
        states[key] = (*left, f"{state.decay:.3g}", gone)
    note = (
        f"How much of the gradient is left that many tokens back, and the factor by which it falls at each token: "
        f"median of {record.anchors} tokens."
    )
    head = ", ".join(["back by (tokens)", *map(str, lags), "a token", "99 % gone"])
    yield from _numbers("Gradients back through time", head, states, note)


def _numbers(caption: str, head: str, rows: Mapping[str, Sequence[str]], note: str) -> Iterator[doc.TableBlock]:
    """Yield a table of numbers, rows by their names, unless it is empty; the headings are separated by commas."""
    headings = head.split(", ")
    cells: list[list[str | doc.TableCell]] = [[doc.code(name), *numbers] for name, numbers in rows.items()]
    if cells:
        yield doc.table(caption, headings, cells, right=range(1, len(headings)), note=note)
