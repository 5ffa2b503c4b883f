"""Losses that another program computed: from its table and the text to a run record, without TensorFlow."""

import re
from math import log
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from rnneval.errors import RecordError, UsageError
from rnneval.evaluate.baselines import baselines_of, fit
from rnneval.evaluate.losses import Losses, add_up
from rnneval.evaluate.record import scored_text
from rnneval.options import ImportOptions, Paths, by_keyword
from rnneval.records.losses import read_losses
from rnneval.records.run import Imported, Run, VocabularyRecord
from rnneval.records.run import Warning as Warned
from rnneval.text import EncodedText, TextOptions, Vocabulary, encode_spans, given_vocabulary, text_given
from rnneval.text.spans import LossTable

_NO_VOCABULARY = (
    "the vocabulary was not given, so it was not checked that the tokens are those of the text: if one stands for "
    "unknown words, or the model read another text, bits per character are a lower bound, or wrong"
)
_UNKNOWN_STATE = (
    "it was not said how the state was handled, so this run compares with no other: give --state carry, or reset-N if "
    "it started anew every N tokens"
)
_CONSTANT = (
    "the loss of each of the {:,} tokens is {:.6g} nats: a mean, or a column that was never filled? The table needs "
    "−ln p of each token"
)


@by_keyword(ImportOptions)
def from_losses(losses: Any, text: Paths | None = None, *, options: ImportOptions) -> Run:
    """Make a run record from the losses that another program computed.

    The table has a row for each scored token: `token` (its place among all tokens of the text, from 0), `byte_start`
    and `byte_end` (its span in the final text, in bytes of UTF-8), and `nats` (its loss, −ln p). It may have `document`
    and `id`. The spans must tile the text. Only the first token of each document may have no row; it is counted as
    unscored. Tokens are counted by the table, characters, bytes and words by the text.

    Without a vocabulary the tokens are taken as they are. With it, they must be those of `rnneval.evaluate`, and the
    record has the same signature, so that both runs compare. Accuracy and calibration need more than losses: they are
    absent, and so are checkpoint, wiring, states and timing.

    Args:
        losses: Path of a .parquet or .csv file, or columns in memory: a dict of arrays `(n,)` or a pandas
            DataFrame.
        text: One or more files of UTF-8 text, joined in this order; or give `string`.
        options: Keyword arguments, each a field of `ImportOptions`.

    Returns:
        The run record.

    Raises:
        RecordError: the table cannot be read, its spans do not tile the text, or a loss is below 0 or not finite; the
            message has the row, the token and the bytes.
        UsageError: an option's value is not known.
        TextError: the text is missing, empty, not UTF-8, or has characters that the vocabulary lacks.
        VocabularyError: the vocabulary is no one-to-one map, or has another size.

    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "held_out.txt")
    ...     _ = path.write_text("abcd")
    ...     table = {"token": [1, 2, 3], "byte_start": [1, 2, 3], "byte_end": [2, 3, 4], "nats": [0.5, 0.25, 0.75]}
    ...     run = from_losses(table, path, state="carry")
    >>> run.total_nats, run.tokens.unscored, run.signature
    (1.5, 1, 'tok:char|norm:none|newlines:keep|unk:error|docs:one|bos:none|state:carry|defs:1')
    """
    source, read_as = text_given(text, options.string), TextOptions.of(options)
    state, vocabulary = options.state or "unknown", given_vocabulary(options.vocabulary, options.vocabulary_from)
    if not re.fullmatch(r"unknown|carry|reset-[1-9][0-9]{0,17}", state) or options.state == "unknown":
        raise UsageError(
            f"--state {state!r} is not known: give carry, or reset-N if the state started anew every N tokens, such as "
            "reset-100"
        )
    width = options.vocabulary_size  # of the tokens that the other program chose from; None if it is not known
    table, warnings = read_losses(losses), []
    if vocabulary is None:
        _require_no_vocabulary_is_needed(read_as, options)
        warnings.append(Warned(code="no-vocabulary", message=_NO_VOCABULARY))
    elif width is None:
        width = vocabulary.first_id + vocabulary.size
    else:
        vocabulary = vocabulary.fit(width)
    if len(table.nats) > 1 and (table.nats == table.nats[0]).all():
        warnings.append(Warned(code="constant-losses", message=_CONSTANT.format(len(table.nats), table.nats[0])))
    if state == "unknown":
        warnings.append(Warned(code="state-unknown", message=_UNKNOWN_STATE))
    encoded, unscored = encode_spans(source, table, read_as, vocabulary)
    with encoded as known:
        losses = Losses(text=known, unscored=unscored, nats=np.zeros(known.tokens))
        _require_same_text(table, known)
        fitted, base = None, {} if width is None else {"uniform": log(width)}
        if vocabulary is not None and width is not None:
            _require_same_tokens(table, losses, vocabulary)
            if options.fit_on is not None:
                fitted = fit(options, options.fit_on, read_as, vocabulary, known, width=width, unscored=unscored)
        losses.nats[table.token] = table.nats
        sums = add_up(losses, width or 1)
        if vocabulary is not None:
            base = baselines_of(sums.id_counts, fitted)
        bos = "none" if unscored else "scored"
        run = scored_text(known, read_as, sums, state=f"state:{state}", base=base, fitted=fitted, bos=bos)
    return msgspec.structs.replace(  # it is valid: every loss is finite, and of wiring nothing is known
        run,
        command=tuple(options.command),
        warnings=(*run.warnings, *warnings),
        imported=Imported(path=table.path, sha256=table.sha256),
        vocabulary=VocabularyRecord.of(vocabulary),
    )


def _require_no_vocabulary_is_needed(read_as: TextOptions, options: ImportOptions) -> None:
    options_that_need = {
        f"--tokens {read_as.tokens}": read_as.tokens in ("word", "subword"),
        f"--unknown {read_as.unknown}": read_as.unknown != "error",
        "--fit-on": options.fit_on is not None,
    }
    for name, needs_it in options_that_need.items():
        if needs_it:
            raise UsageError(f"{name} needs the vocabulary that turns the text into tokens: give --vocab")


def _require_same_text(table: LossTable, text: EncodedText) -> None:
    """Require that the table is of this text, and that its column `document` counts the documents of it from 0."""
    scored = table.text_sha256
    if scored is not None and scored != text.sha256:
        raise RecordError(
            f"{table.name}: the text that was scored has the hash {scored[:8]}…, this one has {text.sha256[:8]}…: give "
            "the same files, --part and normalization"
        )
    if table.document is None:
        return
    ours = text.blocks.document[text.blocks.block_of(np.minimum(table.byte_start, text.bytes - 1))]
    wrong = table.document != ours
    if wrong.any():
        row = int(wrong.argmax())
        raise RecordError(
            f"{table.name}: row {row:,} (token {table.token[row]:,}, byte {table.byte_start[row]:,}): is in document "
            f"{table.document[row]:,}, in the text it is in document {ours[row]:,}: say where documents begin by "
            "--documents one, file or blank-line, or leave the column out"
        )


def _require_same_tokens(table: LossTable, losses: Losses, vocabulary: Vocabulary) -> None:
    """Require that the table has the tokens into which the vocabulary divides the text."""
    row = 0
    for rows in losses.rows():
        ours = np.stack([rows.token, rows.byte_start, rows.byte_end, rows.id])
        here = slice(row, row + ours.shape[1])
        ids = rows.id[: len(table.token[here])] if table.id is None else table.id[here]
        theirs = np.stack([table.token[here], table.byte_start[here], table.byte_end[here], ids])
        count = theirs.shape[1]
        differs = np.append((ours[:, :count] != theirs).any(axis=0), count < ours.shape[1])
        if differs.any():
            at = int(differs.argmax())
            there = "has no more rows" if at == count else f"has {_described(theirs[:, at])}"
            raise RecordError(
                f"{table.name}: row {row + at:,}: the vocabulary ({vocabulary.source}) makes {_described(ours[:, at])} "
                f"of the text, the table {there}: give the vocabulary and the options of the other program, or none"
            )
        row += count
    if row < len(table.token):
        raise RecordError(f"{table.name}: has {len(table.token) - row:,} rows more than the text has tokens")


def _described(token: NDArray[Any]) -> str:
    number, start, end, id_ = token.tolist()
    return f"token {number:,} (bytes {start:,} to {end:,}, id {id_:,})"
