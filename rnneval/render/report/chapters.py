"""Chapters of the report: each function reads the gathered records and yields the blocks that it has of them."""

import shlex
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import reduce
from math import exp, inf

from msgspec.structs import replace

from rnneval.evaluate.sweep_table import OK, best_first
from rnneval.metrics.diagnostics.findings import THRESHOLDS
from rnneval.pages import all_pages, page
from rnneval.records import Gate, Gradients, Parity, Ranking, Run, Server, Wiring
from rnneval.records.run import WiringSummary
from rnneval.records.tables import GRADIENT_HISTORY, STATE_HISTORY, TRACE
from rnneval.records.wiring import breaks_runs
from rnneval.render import document as doc
from rnneval.render import run_document as runs
from rnneval.render import sweep_document as sweeps
from rnneval.render.figures import TidyTable, caution
from rnneval.render.gate_document import changes_table, gate_blocks, headline, ranking_blocks
from rnneval.render.parity_document import parity_document
from rnneval.render.phrasing import counted, figure, file_name, framed, interval, listed, number, signed
from rnneval.render.report.gathered import Gathered, PageRecord, ReportedModel, Scored, alike, pictures, tokens_of
from rnneval.render.server_document import server_document
from rnneval.render.wiring_document import finding_blocks, oracles_table

_SHOWN_ROWS = 30
_NAMED, _WHOLE = 12, 3
_LARGEST_EXPONENT = 709  # above it, the perplexity is larger than any float
_LARGE = ("perplexity", "bits_per_char", "accuracy")
_WIRING = {
    "pass": "Each layer gets its own state back",
    "fail": "A layer gets a state that is not its own",
    "inconclusive": "The wiring could not be settled",
}
_OF_CALLS = "Calls that should agree do not"
_GATE = {
    "improved": "Better than the baseline",
    "pass": "Not worse than allowed",
    "fail": "Worse than allowed",
    "inconclusive": "Not settled by this text",
    "not comparable": "These numbers do not measure the same thing",
}
_CONTENTS = {
    GRADIENT_HISTORY: "Training: gradient norm of each layer",
    STATE_HISTORY: "Training: state norm of each layer",
    TRACE: "States along the text",
}
"""Titles of tables that belong to no model, by their schemas."""
_OPEN = ("state_norms", "gradient_history", "state_history")  # figures that are shown of each of several models
_PROVENANCE = (
    ("created",), ("rnneval",), ("signature",), ("checkpoint", "path"), ("checkpoint", "sha256"),
    ("checkpoint", "builder", "name"), ("checkpoint", "builder", "sha256"), ("vocabulary", "sha256"),
    ("text", "part"), ("text", "sha256"),
)  # fmt: skip
"""Attributes of a record, each below the one before, that are needed to make it again."""
_COUNTED = ("tokens", "text", "model", "vocabulary", "forgets in", "signature")


def _part(anchor: str, title: str, blocks: Iterable[doc.Block]) -> doc.Subsection:
    return doc.Subsection(anchor=anchor, title=title, blocks=tuple(blocks))


def _fold(title: str, *blocks: doc.Block) -> list[doc.Block]:
    """Return blocks behind a line, if there are any."""
    return [doc.Fold(title=title, blocks=blocks)] if blocks else []


# Wiring


def wiring(gathered: Gathered) -> Iterator[doc.Block]:
    """Show the wiring of every model that was checked: open what is wrong with its faults, folded what is right."""
    right = [model.name for model, worst in gathered.wirings if worst.verdict == "pass"]
    parts = [_part(f"wiring-{n}", pair[0].name, _wired(*pair)) for n, pair in enumerate(gathered.wirings)]
    yield from parts[: len(parts) - len(right)]  # those that did not pass come first
    if right:
        yield doc.Notice(kind="pass", title=_WIRING["pass"], text=listed(right, most=_NAMED))
        yield from _fold("Where each state went, and the tests of behaviour", *parts[len(parts) - len(right) :])


def _wired(model: ReportedModel, worst: Wiring | WiringSummary) -> Iterator[doc.Block]:
    """Yield the faults of a model, the first whole, the others folded; and the loss with other segments."""
    title = _WIRING[worst.verdict] if breaks_runs(worst, segment=1) else _OF_CALLS
    yield doc.Notice(kind=doc.KINDS[worst.verdict], title=title, text=worst.reason)
    yield from pictures(model.records, "wiring")
    findings = [replace(each, about=_about(each.rule)) for each in finding_blocks(worst.findings)]
    yield from findings[:1]
    rules = listed(dict.fromkeys(each.rule for each in findings[1:]))
    yield from _fold(f"{counted(len(findings) - 1, 'more finding')}: {rules}", *findings[1:])
    for run in model.scored:
        if (other := run.token_by_token) is not None and run.total_nats is not None:
            cut, tokens = counted(run.streams.segment if run.streams else 0, "token"), max(run.tokens.scored, 1)
            text = (
                f"{figure(run.total_nats / tokens)} nats a token in segments of {cut}, "
                f"{figure(other.total_nats / tokens)} in segments of {counted(other.segment, 'token')}."
            )
            yield doc.Notice(kind="fail", title="The loss depends on how the text is cut", text=text)
    records = [each.record for each in model.records if isinstance(each.record, Wiring)]
    yield from _fold("Tests of behaviour", *(oracles_table(each.oracles) for each in records if each.oracles))


def _about(rule: str) -> str | None:
    """Return the text of a rule of this package in Markdown, without its first line; a record may name another one."""
    known = {each.name: each.text for each in all_pages()}
    return known[rule].partition("\n")[2].strip() if rule in known else None


# Numbers


def checkpoints(gathered: Gathered) -> Iterator[doc.Block]:
    """Show every sweep: its learning curve, and every checkpoint."""
    note = "Checkpoints read the same text: rnneval compare of the folder says which differences are significant."
    for place, each in enumerate(gathered.sweeps):
        rows, count = best_first(each.rows), counted(len(each.rows), "checkpoint")
        shown, rest = rows[:_SHOWN_ROWS], rows[_SHOWN_ROWS:]
        blocks: list[doc.Block] = [*pictures([each])]
        blocks.append(sweeps.checkpoints_table(f"{count}, best first", shown, rows, note))
        blocks += _fold(f"{len(rest)} more", sweeps.checkpoints_table("The rest", rest, rows)) if rest else []
        failed = [row for row in rows if row["status"] != OK]
        blocks += [sweeps.failures_table(failed)] if failed else []
        yield _part(f"checkpoints-{place}", f"{count} in {each.name}", blocks)


def numbers(gathered: Gathered) -> Iterator[doc.Block]:
    """Show every evaluation: a table if there are several, then each by itself."""
    scored = gathered.scored
    if len(scored) == 1 and not gathered.sweeps:
        yield _part("numbers-0", "The evaluation", _evaluation(*scored[0]))
        return
    if len(scored) > 1:
        yield _overview(scored, gathered.unchecked)
    titles = [f"{model.name} on {_text_of(run)}" for model, run in scored]
    parts = [_part(f"numbers-{n}", titles[n], _evaluation(*pair)) for n, pair in enumerate(scored)]
    folds = (doc.Fold(title=part.title, blocks=part.blocks) for part in parts)
    title = "Each evaluation: figures, scores and what was counted"
    yield from _fold(title, *(parts if len(parts) <= _WHOLE else folds))


def _overview(evaluations: Sequence[Scored], unchecked: Collection[str]) -> doc.TableBlock:
    """Show every evaluation; `unchecked` are the names of models whose wiring was not checked."""

    def place(pair: Scored) -> tuple[bool, float]:
        run = pair[1]
        return not run.valid, run.scores["cross_entropy"].value if "cross_entropy" in run.scores else inf

    texts = [sorted(group, key=place) for group in alike(evaluations)]
    rows = []
    for model, run in (pair for group in texts for pair in group):
        # A number of a run that is not valid would be read as a score, whatever stands beside it.
        scores = run.scores if run.valid else {}
        perplexity, bits, accuracy = (figure(scores[name].value) if name in scores else "–" for name in _LARGE)
        bounds = interval(scores["perplexity"].low, scores["perplexity"].high) if "perplexity" in scores else "–"
        valid = sweeps.validity(bool(caution(run))) if run.valid else doc.TableCell(text="no", kind="fail")
        if run.valid and model.name in unchecked:
            valid = doc.TableCell(text="wiring not checked", kind="unsure")
        parameters = figure((run.checkpoint.parameters or None) if run.checkpoint else None, ",")
        name = doc.code(model.name) if len(texts) == 1 else f"{model.name} on {_text_of(run)}"
        rows.append((name, valid, perplexity, bounds, bits, accuracy, parameters))
    head = ("model", "valid", "perplexity", "95 % interval", "bits per character", "accuracy", "parameters")
    note = "Only numbers of the same text and signature can be compared."
    if not all(run.valid for _, run in evaluations):
        note += " Those of a run that is not valid do not count: they stand folded in its part below."
    order = "best first" if len(texts) == 1 else "best first of each text"
    return doc.table(f"{len(rows)} evaluations, {order}", head, rows, right=tuple(range(2, len(head))), note=note)


def _evaluation(model: ReportedModel, run: Run) -> Iterator[doc.Block]:
    if run.valid:
        if word := caution(run):
            text = "The model diverged, its vocabulary is in another order than in training, or it was not trained."
            yield doc.Notice(kind="fail", title=word.capitalize(), text=text)
        if large := tuple(_key_number(run, name) for name in _LARGE if name in run.scores):
            yield doc.KeyNumbers(items=large)
        if model.scored[0] is run:
            yield from pictures(model.records, "numbers")
    elif run.total_nats is None:
        text = "A loss is not a finite number. The warnings say where, and what it is."
        yield doc.Notice(kind="fail", title="There is no score", text=text)
    else:
        yield doc.Notice(kind="fail", title="Not valid: these numbers do not count", text=run.why_not_valid)
    if run.scores:
        title = "All scores, and what they say" if run.valid else "All scores: none of them counts"
        yield from _fold(title, runs.scores_table(run))
    if run.beside_reset is not None and run.valid:
        yield runs.reset_table(run, run.beside_reset)
    facts = [fact for fact in runs.run_facts(run) if fact.name in _COUNTED]
    yield from _fold("What was counted", doc.FactList(rows=(doc.Fact(name="file", text=_text_of(run)), *facts)))


def _text_of(run: Run) -> str:
    files = listed([file_name(file.title) for file in run.text.files], most=1)
    return (files or "text") + framed(" [", run.text.part, "]")


def _key_number(run: Run, name: str) -> doc.KeyNumber:
    score = run.scores[name]
    units = {"accuracy": f"share of {tokens_of(run)} guessed right", "perplexity": f"equally likely {tokens_of(run)}"}
    bounds = None if score.low is None else interval(score.low, score.high, number)
    spoken = "bits per character" if name == "bits_per_char" else name
    return doc.KeyNumber(name=spoken, value=number(score.value), unit=units.get(name, score.unit), interval=bounds)


def baselines(gathered: Gathered) -> Iterator[doc.Block]:
    """Show the models among the baselines, in a table for each text and signature."""
    compared = [(m, run) for m, run in gathered.scored if run.valid and run.baselines and "cross_entropy" in run.scores]
    for group in alike(compared):
        losses = {model.name: run.scores["cross_entropy"].value for model, run in group}
        best, best_run = min((losses[model.name], n) for n, (model, _) in enumerate(group))
        marked = caution(group[best_run][1]) or ("best model" if len(group) > 1 else "–")
        known = {name: nats for _, run in group for name, nats in run.baselines.items()}
        rows = []
        for name, nats in sorted([*losses.items(), *known.items()], key=lambda each: each[1]):
            perplexity = figure(exp(nats)) if nats < _LARGEST_EXPONENT else "–"
            more = signed(nats - best) if nats != best else marked
            rows.append((doc.TableCell(text=name, code=name in losses), figure(nats), perplexity, more))
        note = ". ".join(f"{model.name}: {said}" for model, run in group if (said := runs.beside_counting(run))) or None
        head = ("", "nats a token", "perplexity", "nats more")
        if len(group) == 1:
            yield from pictures(group[0][0].records, chapter="baselines")
        yield doc.table("Lowest loss first", head, rows, right=(1, 2, 3), note=note)


# Diagnostics


def diagnostics(gathered: Gathered) -> Iterator[doc.Block]:
    """Show states, gates, memory and gradients of each model, and the tables that belong to no model.

    Of several models only the findings, the state norms and the gradient norms are unfolded.
    """
    parts = [_part(f"inside-{n}", model.name, _diagnosed(model)) for n, model in enumerate(gathered.models)]
    parts = [part for part in parts if part.blocks]
    of_models = {id(each) for model in gathered.models for each in model.records} | set(map(id, gathered.sweeps))
    tables = [each for each, _ in gathered.of_kind(TidyTable) if id(each) not in of_models and each.figures]
    titles = [_CONTENTS.get(each.record.schema, each.label) for each in tables]
    for place, (each, title) in enumerate(zip(tables, titles, strict=True)):
        unique = f"{title} ({each.label})" if titles.count(title) > 1 else title
        parts.append(_part(f"inside-table-{place}", unique, pictures([each])))
    if len(parts) == 1:
        yield from parts
        return
    open_keys = {each.key(figure) for each in gathered.records for figure in each.figures if figure.name in _OPEN}
    for part in parts:
        open_blocks = [
            block
            for block in part.blocks
            if isinstance(block, doc.FindingBlock) or (isinstance(block, doc.Picture) and block.key in open_keys)
        ]
        rest = [block for block in part.blocks if block not in open_blocks]
        fold = _fold("More figures and numbers" if open_blocks else f"{part.title}: figures and numbers", *rest)
        yield from [replace(part, blocks=(*open_blocks, *fold))] if open_blocks else fold


def _diagnosed(model: ReportedModel) -> Iterator[doc.Block]:
    def fullness(run: Run) -> int:
        return sum(part is not None for part in (run.states, run.gates, run.lyapunov, run.context))

    fullest = max(model.runs, key=fullness, default=None)
    records = [each.record for each in model.records if isinstance(each.record, Gradients)]
    messages = [(w.code, w.message) for run in model.runs for w in run.warnings if w.code in THRESHOLDS]
    messages += [(finding.rule, finding.message) for record in records for finding in record.findings]
    for rule, message in dict.fromkeys(messages):
        yield doc.FindingBlock(kind="unsure", rule=rule, severity="warning", message=message, about=_about(rule))
    # The fullest run first: of two that can give the same figure it shows more.
    yield from pictures(sorted(model.records, key=lambda each: each.record is not fullest), "inside")
    figures = {figure.name for each in model.records for figure in each.figures}
    if fullest and fullest.forgetting and "loss_by_context" in figures:
        yield doc.Paragraph(text=page("loss_by_context").paragraph("Two lengths"), muted=True)
    tables = [*(runs.inside_tables(fullest) if fullest else ()), *(t for r in records for t in runs.gradient_tables(r))]
    if fullest and fullest.states:
        yield tables.pop(0)  # that of the states comes first
    yield from _fold(f"As numbers: {', '.join(each.caption for each in tables)}", *tables)


# Comparisons


def comparisons(gathered: Gathered) -> Iterator[doc.Block]:
    """Show every verdict of a gate, and every table of compared runs; a pair is told once."""
    for n, (each, gate) in enumerate(gathered.of_kind(Gate)):
        yield _part(f"gate-{n}", headline(gate) or each.label, _gate(each, gate))
    for n, ranking in enumerate(gathered.rankings):
        yield _part(f"compare-{n}", f"{len(ranking.rows)} runs, by {ranking.metric}", _ranking(ranking))


def _gate(source: PageRecord, gate: Gate) -> Iterator[doc.Block]:
    # The reason of the whole is that of one comparison, and stands below with the others.
    reason = "" if gate.comparisons else gate.reason
    yield doc.Notice(kind=doc.KINDS[gate.verdict], title=_GATE[gate.word], text=reason)
    figures, blocks = pictures([source]), list(gate_blocks(gate))
    yield from figures
    details = [block for block in blocks if figures and not isinstance(block, doc.Notice)]
    yield from _fold("As a table, with the reason of each verdict", *details)
    yield from blocks[len(details) :]


def _ranking(ranking: Ranking) -> Iterator[doc.Block]:
    yield from ranking_blocks(ranking)
    if any(row.low is not None for row in ranking.rows[1:]):
        text = "Each difference is to the best run. Their two-sided intervals hold together with 95 %."
        yield doc.Paragraph(text=text, muted=True)
    if ranking.blocks:
        yield from _fold(f"The {len(ranking.blocks)} places where they differ most", changes_table(ranking))
    of_marked = tuple(f"{row.name}: " for row in ranking.rows if row.marks)  # a record holds warnings as sentences
    for warning in ranking.warnings:
        if not warning.startswith(of_marked):
            yield doc.Notice(kind="unsure", title="warning", text=warning)


# What else to know


def warnings(gathered: Gathered) -> Iterator[doc.Block]:
    """Show every warning once, with the models that it is about, but for those that other chapters show."""
    models, elsewhere = gathered.models, {"wiring", "wrong-wiring", "leak", *THRESHOLDS}
    records = [(model.name, each.record) for model in models for each in model.records]
    every = ((name, w) for name, each in records if isinstance(each, Run | Gradients) for w in each.warnings)
    for warning, names in runs.said_once((name, w) for name, w in every if w.code not in elsewhere):
        title = f"{listed(names)}: {warning.code}" if len(models) > 1 else warning.code
        yield doc.Notice(kind="unsure", title=title, text=warning.message)


def provenance(gathered: Gathered) -> Iterator[doc.Block]:
    """Show what is needed to make each record again, folded."""
    for each in gathered.records:
        if isinstance(each.record, TidyTable):
            known = [*each.record.metadata.items(), ("rows", f"{len(each.record.frame):,}")]
            yield from _fold(each.name, doc.facts(known))
            continue
        command, text = (getattr(each.record, name, None) for name in ("command", "text"))
        code = [doc.Code(label="The command that repeats it", text=shlex.join(command))] if command else []
        rows = [
            (".".join(path), reduce(lambda at, name: getattr(at, name, None), path, each.record))
            for path in _PROVENANCE
        ]
        rows += [("text.files", ", ".join(file.title for file in text.files))] if text else []
        facts = tuple(doc.Fact(name=name, text=str(value), code=True) for name, value in rows if value)
        yield from _fold(each.name, *code, doc.FactList(rows=facts))


def parity(gathered: Gathered) -> Iterator[doc.Block]:
    """Show every candidate beside its reference: the figure, the numbers and the verdict."""
    for n, (each, record) in enumerate(gathered.of_kind(Parity)):
        *details, verdict = parity_document(record)
        yield _part(f"parity-{n}", each.label, [verdict, *pictures([each]), *details])


def servers(gathered: Gathered) -> Iterator[doc.Block]:
    """Show every check of a server."""
    for n, (each, record) in enumerate(gathered.of_kind(Server)):
        *details, verdict = server_document(record)
        yield _part(f"server-{n}", each.label, [verdict, *details])


CHAPTERS = (
    (wiring, "wiring", "Wiring",
     "Each recurrent layer has a state of its own, and must get it back at the next segment of text."),
    (checkpoints, "checkpoints", "Checkpoints",
     "How the loss on the held-out text changed in training, and every checkpoint that was found."),
    (numbers, "numbers", "Numbers",
     "How well each model predicts a text that was held out, and what exactly was counted."),
    (comparisons, "comparisons", "Comparisons",
     "Whether a change helped: differences on the same text, with their intervals."),
    (parity, "parity", "Parity",
     "Whether a port, another precision or an export is still the same model, with the state carried."),
    (servers, "servers", "Servers",
     "Whether what a server answers depends on what it was asked before."),
    (baselines, "baselines", "Baselines", "Losses of models that need no network, for comparison."),
    (diagnostics, "inside", "Diagnostics",
     "What states, gates and gradients do along the text: where to look before adding units or layers."),
    (warnings, "warnings", "Warnings", "What to know before using these numbers."),
    (provenance, "made", "How it was made",
     "Hashes, versions and, where a record holds it, the command that repeats it."),
)  # fmt: skip
"""Functions of the chapters in the order of the page, each with the anchor, the title and the lead of its section."""
