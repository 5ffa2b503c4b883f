"""A run record as a terminal table."""

from rich.console import Group, RenderableType
from rich.text import Text

from rnneval.records.run import Checkpoint, Run, Score
from rnneval.render.terminal import Grid, inert, show
from rnneval.render.words import counted, listed, shortened


def print_run(run: Run) -> None:
    """Print the table on standard output; colour only on a terminal, and not with NO_COLOR."""
    show(run_table(run))


def run_table(run: Run) -> RenderableType:
    """Give the scores, what was counted, what the number is, and what to know about it."""
    parts: list[RenderableType] = [_title(run)]
    if not run.valid:
        parts.append(inert("not valid: none of this is a perplexity", style="bold red"))
    parts += [_scores(run), _facts(run)]
    parts += [_warning(warning.code, warning.message) for warning in run.warnings]
    return Group(*parts)


def _title(run: Run) -> Text:
    path = run.checkpoint.path or "model in memory"
    text = listed([file.path for file in run.text.files], most=3)
    part = f" [{run.text.part}]" if run.text.part else ""
    return inert((path, "bold"), " on ", (f"{text}{part}", "bold"))


def _scores(run: Run) -> Grid:
    table = Grid(show_header=bool(run.interval))
    table.add_column("")
    table.add_column("", justify="right")
    table.add_column("")
    if run.interval:
        table.add_column("95 % interval")
    for name, score in run.scores.items():
        table.add_row(*_score_row(name, score, with_interval=run.interval is not None))
    return table


def _score_row(name: str, score: Score, *, with_interval: bool) -> list[Text]:
    style = "bold" if name in {"perplexity", "bits_per_char"} else ""
    row = [inert(name, style=style), inert(figure(score.value), style=style), inert(score.unit, style="dim")]
    if with_interval:
        known = score.low is not None and score.high is not None
        row.append(inert(f"{figure(score.low or 0.0)} – {figure(score.high or 0.0)}" if known else ""))
    return row


def figure(value: float) -> str:
    """Give a number with five significant digits, without an exponent where it can be read without one.

    Example:
        >>> figure(4.174387), figure(12345.678), figure(0.00012345), figure(1e9)
        ('4.1744', '12,346', '0.00012345', '1e+09')
    """
    if 1e4 <= abs(value) < 1e7:
        return f"{value:,.0f}"
    return f"{value:.5g}"


def _facts(run: Run) -> Grid:
    table = Grid(show_header=False)
    table.add_column("", style="dim")
    table.add_column("", overflow="fold")
    for name, fact in _fact_rows(run):
        table.add_row(name, inert(fact))
    return table


def _fact_rows(run: Run) -> list[tuple[str, str]]:
    tokens, text = run.tokens, run.text
    rows = [
        ("tokens", f"{tokens.total:,} = {tokens.scored:,} scored + {tokens.unscored:,} unscored{_unknown(run)}"),
        (
            "text",
            f"{counted(text.characters, 'character')}, {counted(text.bytes, 'byte')}, {counted(text.words, 'word')}, "
            f"{counted(text.documents, 'document')}",
        ),
        ("model", describe(run.checkpoint)),
        ("vocabulary", f"{counted(run.vocabulary.size, 'token')}, {run.vocabulary.source}"),
        ("baselines", ", ".join(f"{name} {figure(value)}" for name, value in run.baselines.items()) + " nats a token"),
    ]
    if run.interval:
        rows.append(("interval", f"{run.interval.method}; claim: {run.interval.claim}"))
    speed = f"{run.timing.tokens_per_second:,.0f} tokens/s"
    streams = f"{counted(run.streams.count, 'row')}, {run.streams.tokens_rerun / max(1, tokens.scored):.0%} read again"
    forgetting = run.streams.forgetting_length
    if forgetting is not None:
        lengths = f"median {forgetting.median:.0f}, 95 % within {forgetting.p95:.0f}, longest {forgetting.max:.0f}"
        rows.append(("forgets in", f"{lengths} tokens (upper bounds: compared every {run.streams.segment})"))
    if run.wiring:
        rows.append(("wiring", f"{run.wiring.verdict}: {run.wiring.reason}"))
    if run.token_by_token:
        each = run.token_by_token.total_nats / max(1, tokens.scored)
        rows.append(("one by one", f"{figure(each)} nats a token when it reads one token a step"))
    return [*rows, ("speed", f"{run.timing.seconds:.1f} s, {speed} ({streams})"), ("signature", run.signature)]


def _unknown(run: Run) -> str:
    return f", {run.tokens.unknown:,} unknown" if run.tokens.unknown else ""


def describe(checkpoint: Checkpoint) -> str:
    """Give a model in a line: its layers, its size, its file's format and its state contract."""
    layers = listed([f"{shortened(layer.name)} ({layer.kind} {layer.units})" for layer in checkpoint.layers], most=4)
    form = {"model": "in memory"}.get(checkpoint.format, checkpoint.format)
    size = counted(checkpoint.parameters, "parameter")
    return f"{layers or 'no layer seen'}, {size}, {form}, contract {checkpoint.contract}"


def _warning(code: str, message: str) -> Text:
    return inert(("warning ", "yellow"), (f"{code}: ", "bold"), message)
