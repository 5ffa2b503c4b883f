"""How good is each model, with every token accounted for."""

from collections.abc import Iterator, Sequence

from rnneval.gates.comparable import fields_of
from rnneval.records.run import Run
from rnneval.render.report.anchors import anchor
from rnneval.render.report.blocks import (
    Block,
    Cell,
    Fact,
    Facts,
    Figure,
    Figures,
    Fold,
    Notice,
    Paragraph,
    Part,
    Section,
    Table,
)
from rnneval.render.report.given import Given, Subject, subjects, sweeps
from rnneval.render.report.pictures import pictures
from rnneval.render.report.words import interval, meaning, tokens_of
from rnneval.render.run_table import describe, figure
from rnneval.render.words import counted

ORDER = 20
_SPOKEN = {"bits_per_char": "bits per character"}
_LARGE = ("perplexity", "bits_per_char", "accuracy")
_SHOWN_ROWS, _WHOLE_RUNS = 30, 3
_FIELDS = {
    "tok": "what a token is",
    "norm": "what was done to the text",
    "newlines": "ends of lines",
    "unk": "what became of tokens that the vocabulary lacks",
    "docs": "where the state starts anew",
    "bos": "what stands before the first token",
    "state": "how the state was handled",
    "defs": "version of the definitions",
}


def section(given: Sequence[Given]) -> Section | None:
    """Every evaluation: a table where there are several, then each by itself."""
    found = [(model, run) for model in subjects(given) for run in model.scored]
    if not found:
        return None
    alone = len(found) == 1 and not sweeps(given)
    parts = [_part(number, model, run, alone=alone) for number, (model, run) in enumerate(found)]
    blocks: list[Block] = list(_overview(found)) if len(found) > 1 else []
    if len(found) > _WHOLE_RUNS:
        blocks += [Fold(title=part.title, blocks=part.blocks) for part in parts]
    else:
        blocks += parts
    return Section(
        anchor="numbers",
        title="Numbers",
        lead="How well each model predicts a text that was held out, and what exactly was counted.",
        blocks=tuple(blocks),
    )


def _overview(found: Sequence[tuple[Subject, Run]]) -> Iterator[Block]:
    ordered = sorted(found, key=lambda pair: (not pair[1].valid, _loss(pair[1])))
    rows = [_overview_row(model, run) for model, run in ordered]
    table = Table(
        caption=f"{len(rows)} evaluations, best first",
        head=("model", "valid", "perplexity", "95 % interval", "bits per character", "accuracy", "parameters"),
        rows=tuple(rows[:_SHOWN_ROWS]),
        right=(2, 3, 4, 5, 6),
        note="Only numbers of the same text and signature compare.",
    )
    yield table
    if rows[_SHOWN_ROWS:]:
        rest = Table(caption="The rest", head=table.head, rows=tuple(rows[_SHOWN_ROWS:]), right=table.right)
        yield Fold(title=f"{len(rows) - _SHOWN_ROWS} more", blocks=(rest,))


def _loss(run: Run) -> float:
    return run.scores["cross_entropy"].value if "cross_entropy" in run.scores else float("inf")


def _overview_row(model: Subject, run: Run) -> tuple[Cell, ...]:
    def score(name: str) -> Cell:
        # What a run that is not valid scored would be read as a score, whatever stands beside it.
        return Cell(text=figure(run.scores[name].value) if name in run.scores and run.valid else "–")

    bounds = interval(run.scores["perplexity"]) if "perplexity" in run.scores and run.valid else None
    return (
        Cell(text=model.name, code=True),
        Cell(text="yes", kind="pass") if run.valid else Cell(text="no", kind="fail"),
        score("perplexity"),
        Cell(text=bounds or "–"),
        score("bits_per_char"),
        score("accuracy"),
        Cell(text=f"{run.checkpoint.parameters:,}"),
    )


def _part(number: int, model: Subject, run: Run, *, alone: bool) -> Part:
    blocks: list[Block] = []
    if not run.valid:
        blocks.append(_not_valid(run))
    large = tuple(_figure(run, name) for name in _LARGE if name in run.scores)
    if large and run.valid:
        blocks.append(Figures(items=large))
    if run.valid and model.scored[0] is run:
        blocks += pictures(*model.given, chapter="numbers")
    scores = (_scores(run),) if run.scores else ()
    blocks += scores if alone or not scores else (Fold(title="All scores, and what they say", blocks=scores),)
    blocks += _accounting(run)
    title = "The evaluation" if alone else f"{model.name} on {_text_name(run)}"
    return Part(anchor=anchor("numbers", number), title=title, blocks=tuple(blocks))


def _text_name(run: Run) -> str:
    files = [file.path.replace("\\", "/").rpartition("/")[2] for file in run.text.files]
    more = f" and {len(files) - 1} more" if len(files) > 1 else ""
    return f"{files[0] if files else 'text'}{more}{f' [{run.text.part}]' if run.text.part else ''}"


def _not_valid(run: Run) -> Notice:
    if run.total_nats is None:
        text = "A loss is not a finite number. What it is, and where, stands among the warnings."
        return Notice(kind="fail", title="There is no score", text=text)
    text = "Predictions depend on text that comes later, or on other rows: none of these numbers is a perplexity."
    return Notice(kind="fail", title="These numbers do not count", text=text)


def _figure(run: Run, name: str) -> Figure:
    score = run.scores[name]
    share = score.unit == "share"
    unit = {"perplexity": f"equally likely {tokens_of(run)}", "share": f"of {tokens_of(run)} guessed right"}
    bounds = None
    if score.low is not None and score.high is not None:
        form = "{:.1%} – {:.1%}" if share else "{:.3g} – {:.3g}"
        bounds = form.format(score.low, score.high)
    return Figure(
        name=_SPOKEN.get(name, name),
        value=f"{score.value:.1%}" if share else f"{score.value:.3g}",
        unit=unit.get("share" if share else name, score.unit),
        interval=bounds,
    )


def _scores(run: Run) -> Table:
    rows = tuple(
        (
            Cell(text=name, code=True),
            Cell(text=figure(score.value)),
            Cell(text=interval(score) or "–"),
            Cell(text=score.unit),
            Cell(text=meaning(name)),
        )
        for name, score in run.scores.items()
    )
    claim = f"Interval: {run.interval.method}; it speaks of {run.interval.claim}." if run.interval else None
    return Table(
        caption="All scores",
        head=("score", "value", "95 % interval", "unit", "what it says"),
        rows=rows,
        right=(1, 2),
        note=claim or "This text is too short for intervals.",
    )


def _accounting(run: Run) -> Iterator[Block]:
    tokens, text = run.tokens, run.text
    unknown = f"; {tokens.unknown:,} unknown" if tokens.unknown else "; none unknown"
    counts = f"{tokens.total:,} = {tokens.scored:,} scored + {tokens.unscored:,} unscored{unknown}"
    size = ", ".join(
        (
            counted(text.characters, "character"),
            counted(text.bytes, "byte"),
            counted(text.words, "word"),
            counted(text.documents, "document"),
        )
    )
    rows = [
        Fact(name="text", text=_text_name(run)),
        Fact(name="tokens", text=counts),
        Fact(name="length", text=size),
        Fact(name="model", text=describe(run.checkpoint)),
        Fact(name="vocabulary", text=f"{counted(run.vocabulary.size, 'token')}, {run.vocabulary.source}"),
        *_reading(run),
        Fact(name="signature", text=run.signature, code=True),
    ]
    yield Part(anchor="", title="What was counted", blocks=(Facts(rows=tuple(rows)), _signature(run)))


def _reading(run: Run) -> Iterator[Fact]:
    streams, audited = run.streams, run.streams.audited_loss_difference
    said = f"{counted(streams.count, 'row')} of {streams.segment} tokens side by side"
    if audited is not None:
        said += f"; the audited row differs by at most {audited:.1e} nats from one carried stream"
    yield Fact(name="read in", text=said)
    forgetting = streams.forgetting_length
    if forgetting is not None:
        yield Fact(
            name="forgets in",
            text=f"{forgetting.median:.0f} tokens (median), 95 % within {forgetting.p95:.0f}, the longest "
            f"{forgetting.max:.0f}",
        )


def _signature(run: Run) -> Fold:
    rows = tuple(
        Fact(name=_FIELDS.get(name, name), text=f"{name}:{value}", code=True)
        for name, value in fields_of(run.signature).items()
    )
    said = Paragraph(text="Two numbers compare only where their signatures agree.")
    return Fold(title="What the signature says", blocks=(said, Facts(rows=rows)))
