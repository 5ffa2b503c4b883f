"""Spans of another program: tables that do not tile the text are refused with the place, the others counted exactly."""

from types import SimpleNamespace

import numpy as np
import pytest

from rnneval.errors import RecordError
from rnneval.records.losses import LossTable
from rnneval.text import TextOptions, encode_spans

LINE = "größer 😀 und äße\n"


def table_of(token, start, end, name="t.csv"):
    nats = np.ones(len(token))
    return LossTable(path=name, sha256="", token=np.asarray(token), byte_start=start, byte_end=end, nats=nats)


def spans_of(pieces, *, without=(), first_token=0):
    """A table of losses of a text in pieces of bytes, without the rows of some of them."""
    ends = np.cumsum([len(piece) for piece in pieces])
    starts = ends - [len(piece) for piece in pieces]
    kept = [place for place in range(len(pieces)) if place not in without]
    return table_of(np.array(kept, int) + first_token, starts[kept], ends[kept])


def counted(pieces, first):
    """Characters, bytes and words from token `first` on, by a loop over bytes that knows nothing of rnneval."""
    rows, after_word = [], False
    whole = b"".join(pieces)
    starts = {len(whole[: len("".join(whole.decode()[:n]).encode())]) for n in range(len(whole.decode()))}
    place = 0
    for number, piece in enumerate(pieces):
        characters = words = 0
        for offset in range(place, place + len(piece)):
            if offset in starts:
                characters += 1
                letter = whole[offset:].decode(errors="ignore")[0]
                begins = not letter.isspace() and (
                    not after_word or (number == first and not words and characters == 1)
                )
                words += begins and number >= first
                after_word = not letter.isspace()
        rows.append((characters, len(piece), words))
        place += len(piece)
    return rows


def cut(data, sizes):
    """Cut bytes into pieces of these sizes, again and again."""
    pieces, place, turn = [], 0, 0
    while place < len(data):
        size = sizes[turn % len(sizes)]
        pieces.append(data[place : place + size])
        place, turn = place + size, turn + 1
    return pieces


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text(LINE * 40)
    return path


def encoded(text, spans, **options):
    known, unscored = encode_spans(text, spans, TextOptions(**options))
    return SimpleNamespace(text=known, unscored=unscored)


@pytest.mark.parametrize("sizes", [(3,), (1, 4, 2), (7, 1), (2, 5, 0)], ids=str)
@pytest.mark.parametrize("unscored", [0, 1])
def test_units_are_those_of_a_loop_over_bytes(text, sizes, unscored):
    """Spans end inside characters and may be empty: a character counts at its first byte."""
    pieces = cut(text.read_bytes(), sizes)
    found = encoded(text, spans_of(pieces, without=range(unscored)))
    assert found.unscored == unscored
    with found.text as known:
        assert known.tokens == len(pieces)
        piece = known.read(0, known.tokens, scored_from=unscored)
        ours = list(zip(piece.characters.tolist(), piece.bytes.tolist(), piece.words.tolist(), strict=True))
        assert ours[unscored:] == counted(pieces, unscored)[unscored:]
        assert known.token_kind.startswith("spans-")


@pytest.mark.parametrize(
    ("content", "asked", "kind"), [("äb\n", None, "char"), ("ab\n", None, "char"), ("ab\n", "byte", "byte")]
)
def test_spans_of_one_character_or_one_byte_are_known_as_such(tmp_path, content, asked, kind):
    path = tmp_path / "text.txt"
    path.write_text(content * 9)
    pieces = [letter.encode() for letter in content * 9]
    with encoded(path, spans_of(pieces), tokens=asked).text as known:
        assert known.token_kind == kind


PIECES = cut((LINE * 40).encode(), (4,))
SIZE = len((LINE * 40).encode())


def changed(row, **values):
    """The sound spans with one value exchanged."""
    spans = spans_of(PIECES)
    columns = {"token": spans.token.copy(), "start": spans.byte_start.copy(), "end": spans.byte_end.copy()}
    for name, value in values.items():
        columns[name][row] = value
    return table_of(**columns)


@pytest.mark.parametrize(
    ("spans", "said"),
    [
        (spans_of(PIECES, without=(7,)), r"row 7 \(token 8, bytes 32 to 36\): .* byte 28; has bytes before it without"),
        (spans_of(PIECES, without=(7, 20, 21)), r"row 7 .* ends at byte 28; .* \(the first of 2 such rows\)"),
        (spans_of(PIECES, without=(0, 1)), r"row 0 \(token 2, bytes 8 to 12\): .* tokens are numbered from 0"),
        (spans_of(PIECES, without=range(200, 240)), rf"the end of the text has no row: bytes 800 to {SIZE}, "),
        (spans_of(PIECES, without=(0,), first_token=-1), r"row 0 \(token 0, .*: has bytes before it without a row"),
        (changed(5, start=19), r"row 5 \(token 5, bytes 19 to 24\): .* ends at byte 20; overlaps the row before"),
        (changed(5, end=19), r"row 5 \(token 5, bytes 20 to 19\): .* a span ends before it begins"),
        (changed(5, end=10**15), rf"row 5 .*: .* a span ends after the text, which has {SIZE} bytes"),
        (changed(0, start=-1), r"row 0 .*: a span begins before the text"),
        (changed(0, token=-1), r"row 0 .*: a token number is below 0"),
        (changed(5, token=4), r"row 5 .*: the row before is token 4 .* tokens are numbered from 0"),
        (spans_of([*PIECES, b""]), r"row 240 .*: .* an empty span after the text"),
        (spans_of(PIECES, without=range(240)), "has no row: one row for each scored token is needed"),
    ],
)  # fmt: skip
def test_what_does_not_tile_the_text_is_refused_with_the_place(text, spans, said):
    assert len(PIECES) == 240
    with pytest.raises(RecordError, match=rf"^t\.csv: {said}" if not said.startswith("bytes") else said):
        encoded(text, spans)


def test_ten_streams_without_their_first_tokens(tmp_path):
    """Their starts have no row; where they are documents, they are counted, else the first is named."""
    parts = [f"part {number} of it\n".encode() for number in range(10)]
    whole, files = tmp_path / "whole.txt", [tmp_path / f"{number}.txt" for number in range(10)]
    whole.write_bytes(b"".join(parts))
    for path, part in zip(files, parts, strict=True):
        path.write_bytes(part)
    pieces = cut(b"".join(parts), (1,))
    size = len(parts[0])
    spans = spans_of(pieces, without=range(0, len(pieces), size))
    with pytest.raises(
        RecordError,
        match=rf"row {size - 1} \(token {size + 1}, .* ends at byte {size}; has bytes before it without a row.*"
        r"--documents file or blank-line \(the first of 9 such rows\)",
    ):
        encoded(whole, spans)  # fmt: skip
    found = encoded(files, spans, documents="file")
    with found.text as known:
        assert (known.tokens, len(known.document_starts), found.unscored) == (len(pieces), 10, 1)
        assert known.document_starts.tolist() == list(range(0, len(pieces), size))
    with pytest.raises(
        RecordError, match=r"row 12 .*: the first token of the text has no row, that of document 1 has one"
    ):
        encoded(files, spans_of(pieces, without=(0,)), documents="file")
    with pytest.raises(RecordError, match=r"ends at byte 11; has bytes before it without a row"):
        encoded(files, spans_of(pieces, without=(0, 11, 12, 13)), documents="file")
    crossing = spans_of([*pieces[:12], pieces[12] + pieces[13], *pieces[14:]])
    with pytest.raises(RecordError, match=r"row 12 \(token 12, bytes 12 to 14\): .* crosses the end of a document"):
        encoded(files, crossing, documents="file")


def test_documents_of_one_token_have_no_row_and_are_counted(tmp_path):
    """Of six files, the second and third are one token each, and the fifth is white space without any."""
    contents, tokens = ["ab ", "c", "d ", "ef", "  ", "gh"], [b"a", b"b ", b"c", b"d ", b"e", b"f", b"  g", b"h"]
    files = [tmp_path / f"{number}.txt" for number in range(6)]
    for path, content in zip(files, contents, strict=True):
        path.write_text(content)
    found = encoded(files, spans_of(tokens, without=(0, 2, 3, 4, 6)), documents="file")
    with found.text as known:
        assert (known.tokens, known.text_documents, found.unscored) == (8, 6, 1)
        assert known.document_starts.tolist() == [0, 2, 3, 4, 6]
        assert known.read(0, 8).byte_end.tolist() == np.cumsum([len(token) for token in tokens]).tolist()
    with pytest.raises(RecordError, match=r"row 0 \(token 5, .* tokens are numbered"):
        encoded(files, spans_of(tokens, without=(0, 1, 2, 3, 4, 6)), documents="file")
