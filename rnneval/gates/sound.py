"""Does a run record add up? A file edited by hand, or pieced together, must not decide anything."""

import math
from collections.abc import Iterator

from rnneval.errors import RecordError
from rnneval.records import Run

_RELATIVE = 1e-6


def check_sound(name: str, run: Run) -> None:
    """Raise unless the record's blocks, totals and scores agree.

    Raises:
        RecordError: they do not; the message names the first pair that disagrees.
    """
    for problem in (*_shapes(run), *_totals(run), *_scores(run), *_signature(run)):
        raise RecordError(
            f"{name}: {problem}: the record does not add up, so it was changed after rnneval wrote it; "
            "make it again with rnneval evaluate"
        )


def _shapes(run: Run) -> Iterator[str]:
    blocks = run.blocks
    count = len(blocks.bytes)
    columns = {
        "document": blocks.document,
        "scored_bytes": blocks.scored_bytes,
        "tokens": blocks.tokens,
        "characters": blocks.characters,
        "words": blocks.words,
        "unknown": blocks.unknown,
        **{f"sums.{name}": values for name, values in blocks.sums.items()},
    }
    for name, values in columns.items():
        if len(values) != count:
            yield f"blocks.{name} has {len(values)} entries, blocks.bytes has {count}"
    if list(blocks.bytes) != sorted(set(blocks.bytes)):
        yield "blocks.bytes does not rise"
    if list(blocks.document) != sorted(blocks.document):
        yield "blocks.document does not rise"


def _totals(run: Run) -> Iterator[str]:
    blocks, text = run.blocks, run.text
    pairs = {
        "blocks.tokens and tokens.scored": (sum(blocks.tokens), run.tokens.scored),
        "blocks.scored_bytes and text.scored_bytes": (sum(blocks.scored_bytes), text.scored_bytes),
        "blocks.characters and text.scored_characters": (sum(blocks.characters), text.scored_characters),
        "blocks.words and text.scored_words": (sum(blocks.words), text.scored_words),
        "blocks.unknown and tokens.unknown": (sum(blocks.unknown), run.tokens.unknown),
        "the end of the last block and text.bytes": (blocks.bytes[-1] if blocks.bytes else 0, text.bytes),
    }
    for what, (seen, stated) in pairs.items():
        if seen != stated:
            yield f"{what} disagree ({seen} and {stated})"
    for name, values in blocks.sums.items():
        if not math.isfinite(sum(values)):
            yield f"blocks.sums.{name} adds up to more than any number"
    if run.total_nats is not None and "nats" not in blocks.sums:
        yield "total_nats is there and blocks.sums.nats is not"
    elif run.total_nats is not None:
        total = math.fsum(blocks.sums.get("nats", ()))
        if not math.isclose(total, run.total_nats, rel_tol=_RELATIVE, abs_tol=1e-9):
            yield f"blocks.sums.nats and total_nats disagree ({total:.9g} and {run.total_nats:.9g})"


def _scores(run: Run) -> Iterator[str]:
    if run.total_nats is None or not run.tokens.scored:
        return
    mean = run.total_nats / run.tokens.scored
    for name, value in (("cross_entropy", mean), ("perplexity", math.exp(mean) if mean < 700 else None)):
        score = run.scores.get(name)
        if score and value is not None and not math.isclose(score.value, value, rel_tol=_RELATIVE, abs_tol=1e-12):
            yield f"scores.{name} and total_nats disagree ({score.value:.9g} and {value:.9g})"


def _signature(run: Run) -> Iterator[str]:
    if not run.signature or any(":" not in part for part in run.signature.split("|")):
        yield f"signature {run.signature!r} is not of the form name:value|name:value"
