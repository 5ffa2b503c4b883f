"""What models without a network pay on the same text."""

from collections.abc import Sequence
from math import exp, log

from rnneval.records.run import Run
from rnneval.render.report.blocks import Cell, Picture, Section, Table
from rnneval.render.report.given import Given, Subject, subjects, together
from rnneval.render.report.pictures import pictures
from rnneval.render.run_table import figure

ORDER = 30
_MOST = 709  # above it, the perplexity is larger than any float
_SAID = {
    "uniform": "guesses, every token as likely as any other",
    "unigram": "knows how often each token occurs, and nothing of what stands before it",
}


def section(given: Sequence[Given]) -> Section | None:
    """A table for each text and signature, with the models among the baselines."""
    groups: dict[tuple[str, str], list[tuple[Subject, Run]]] = {}
    for model in subjects(given):
        for run in model.scored:
            if run.valid and run.baselines and "cross_entropy" in run.scores:
                groups.setdefault((run.text.sha256, run.signature), []).append((model, run))
    if not groups:
        return None
    return Section(
        anchor="baselines",
        title="Baselines",
        lead="A model is worth what it saves against one that needs no training.",
        blocks=(*_pictures(given), *(_table(group) for group in groups.values())),
    )


def _pictures(given: Sequence[Given]) -> tuple[Picture, ...]:
    """Models that compare stand in one picture; a model that is alone has its own."""
    side_by_side = together(given)
    alone = [each for each in given if isinstance(each.record, Run)] if not side_by_side else []
    return tuple(picture for each in (*side_by_side, *alone[:1]) for picture in pictures(each, chapter="baselines"))


def _table(group: Sequence[tuple[Subject, Run]]) -> Table:
    best = min(run.scores["cross_entropy"].value for _, run in group)
    lines = [(model.name, run.scores["cross_entropy"].value, "this model", True) for model, run in group]
    baselines = {name: nats for _, run in group for name, nats in run.baselines.items()}
    lines += [(name, nats, _SAID.get(name, "baseline"), False) for name, nats in baselines.items()]
    rows = tuple(
        (
            Cell(text=name, code=is_model),
            Cell(text=figure(nats)),
            Cell(text=figure(exp(nats)) if nats < _MOST else "–"),
            Cell(text=f"{(nats - best) / log(2):+.3f}" if nats != best else "best"),
            Cell(text=said),
        )
        for name, nats, said, is_model in sorted(lines, key=lambda line: line[1])
    )
    return Table(
        caption="Cheapest first",
        head=("", "nats a token", "perplexity", "bits more a token", "what it does"),
        rows=rows,
        right=(1, 2, 3),
    )
