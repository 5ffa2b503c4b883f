"""Spans of another program: tables that do not tile the text are refused with the place, the others counted exactly."""

from types import SimpleNamespace

import numpy as np
import pytest

from rnneval.errors import RecordError
from rnneval.text import TextOptions, encode_spans
from rnneval.text.spans import LossTable

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
