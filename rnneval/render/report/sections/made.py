"""How it was made: everything that is needed to make it again."""

import shlex
from collections.abc import Iterator, Sequence
from itertools import count

from rnneval.records import Gate, Gradients, Opened, Run, Wiring
from rnneval.records.run import Checkpoint
from rnneval.render.report.anchors import anchor
from rnneval.render.report.blocks import Block, Code, Fact, Facts, Fold, Part, Section
from rnneval.render.report.given import Given
from rnneval.render.report.pictures import facts_of_table, is_table

ORDER = 90
_WHOLE = 4


def section(given: Sequence[Given]) -> Section:
    """A part a record; from a certain number on they are folded."""
    numbers = count()
    parts = [Part(anchor=anchor("made", next(numbers)), title=each.name, blocks=(*_blocks(each),)) for each in given]
    folds = [Fold(title=part.title, blocks=part.blocks) for part in parts]
    return Section(
        anchor="made",
        title="How it was made",
        lead="Hashes, versions and the command that repeats each record.",
        blocks=tuple(parts if len(parts) <= _WHOLE else folds),
    )


def _blocks(given: Given) -> Iterator[Block]:
    record = given.record
    rows: list[Fact] = []
    if isinstance(record, Run | Gradients):
        if record.command:
            yield Code(label="The command that repeats it", text=shlex.join(record.command))
        rows += [Fact(name="made", text=f"{record.created}, by rnneval {record.rnneval}")]
    if isinstance(record, Run | Gradients | Opened):
        rows += _of_checkpoint(record.checkpoint)
    if isinstance(record, Run | Gradients):
        rows += _of_text(record)
    if isinstance(record, Run):
        rows += _of_run(record)
    if isinstance(record, Opened):
        rows += [Fact(name="assumed", text=text) for text in record.assumptions]
    if isinstance(record, Wiring):
        rows += _of_wiring(record)
    if isinstance(record, Gate):
        rows.append(Fact(name="made of", text="the records that it names, by `rnneval gate`"))
    if is_table(given):
        rows += facts_of_table(given)
    yield Facts(rows=tuple(rows))


def _of_checkpoint(checkpoint: Checkpoint) -> Iterator[Fact]:
    yield Fact(name="checkpoint", text=checkpoint.path or "a model in memory", code=bool(checkpoint.path))
    yield Fact(name="its sha256", text=checkpoint.sha256, code=True)
    layers = ", ".join(f"{layer.name} ({layer.kind} {layer.units})" for layer in checkpoint.layers)
    yield Fact(name="layers", text=layers or "none seen")
    yield Fact(
        name="stored as",
        text=f"{checkpoint.format}, {checkpoint.dtype}, {checkpoint.parameters:,} parameters, "
        f"contract {checkpoint.contract}",
    )


def _of_text(record: Run | Gradients) -> Iterator[Fact]:
    for file in record.text.files:
        yield Fact(name="text", text=f"{file.path} {file.sha256}", code=True)
    if record.text.part:
        yield Fact(name="part of it", text=record.text.part, code=True)
    yield Fact(name="sha256 as it was scored", text=record.text.sha256, code=True)


def _of_run(run: Run) -> Iterator[Fact]:
    yield Fact(name="vocabulary", text=f"{run.vocabulary.source} {run.vocabulary.sha256}", code=True)
    yield Fact(name="in and out", text=f"{run.input.kind} in, {run.output.kind} out")
    timing = run.timing
    yield Fact(
        name="took",
        text=f"{timing.seconds:.1f} s on {timing.device} with {timing.threads} threads, "
        f"{timing.tokens_per_second:,.0f} tokens/s",
    )


def _of_wiring(wiring: Wiring) -> Iterator[Fact]:
    layers = ", ".join(f"{layer.name} ({layer.kind}, {layer.path})" for layer in wiring.layers)
    yield Fact(name="layers", text=layers or "none seen")
    yield Fact(name="calls", text=str(wiring.calls))
    carrier = {"author": "the model's own code", "rnneval": "rnneval, for a graph that has no door for it"}
    yield Fact(name="state carried by", text=carrier[wiring.wired_by])
    if wiring.declared:
        yield Fact(name="declared on purpose", text=", ".join(wiring.declared))
