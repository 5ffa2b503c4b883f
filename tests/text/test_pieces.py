import sys
import unicodedata
from functools import partial
from itertools import pairwise
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rnneval.errors import TextError, UsageError
from rnneval.text import sources
from rnneval.text.pieces import (
    Piece,
    Rewriter,
    TextOptions,
    _begins_composition,
    _parts_words,
    _second_halves,
    final_text,
    rewriters,
    whole_words,
)
from rnneval.text.sources import Part
from rnneval.text.units import letters
from tests.text import naive
from tests.text.conftest import LETTERS, texts

parts = st.sampled_from([None, ":", "90%:", ":90%", "-10%:", "10%:60%", "33.3%:", "2:", ":-1", "-5:", "1:7", ":-12.5%"])
all_options = st.builds(
    TextOptions,
    part=parts,
    normalize=st.sampled_from(["none", "lower", "nfc"]),
    newlines=st.sampled_from(["keep", "lf"]),
    documents=st.sampled_from(["one", "file", "blank-line"]),
)


def gather(pieces):
    """Join pieces into documents."""
    found = []
    for piece in pieces:
        assert piece.text
        assert all(piece.text[start - 1].isspace() for start in piece.starts if start)
        bounds = [*piece.starts, len(piece.text)]
        if found:
            found[-1] += piece.text[: bounds[0]]
        found += [piece.text[start:stop] for start, stop in pairwise(bounds)]
    return found


@settings(max_examples=150, deadline=None)
@given(texts=texts(), options=all_options, chunk=st.integers(4, 40))
def test_the_stream_is_the_whole_text(write, texts, options, chunk):
    wanted = naive.documents(texts, options)
    with patch.object(sources, "CHUNK_BYTES", chunk):
        pieces = final_text(sources.Sources(write(texts)), options)
        if wanted:
            assert gather(pieces) == wanted
        else:
            with pytest.raises(TextError, match="empty"):
                list(pieces)


@settings(max_examples=80, deadline=None)
@given(texts=texts("ab \n\u3000"), chunk=st.integers(4, 20))
def test_whole_words_end_at_white_space_only(write, texts, chunk):
    with patch.object(sources, "CHUNK_BYTES", chunk):
        pieces = list(whole_words(final_text(sources.Sources(write(texts)), TextOptions(documents="file"))))
    assert gather(pieces) == [text for text in texts if text]
    assert all(piece.starts == (0,) or piece.text[0].isspace() for piece in pieces)


@given(st.text(LETTERS, max_size=12), st.lists(st.integers(0, 12)))
def test_rewriters_may_be_fed_anything(text, cuts):
    bounds = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    for normalize, whole in (("lower", text.lower()), ("nfc", unicodedata.normalize("NFC", text))):
        (rewriter,) = rewriters(normalize, "keep")
        fed = [rewriter.decode(text[a:b]) for a, b in pairwise(bounds)]
        assert "".join(fed) + rewriter.decode("", final=True) == whole


def test_every_place_to_cut_is_one():
    """Where Unicode has letters that combine, after one character of each kind that could reach over the cut."""
    nfc = partial(unicodedata.normalize, "NFC")
    before = "A\u0301\u0323\u1100\uac00"
    for point in [*range(0x3200), *range(0xA600, 0xAC10), *range(0x11000, 0x11400)]:
        character = chr(point)
        if _begins_composition(character):
            for left in before:
                assert nfc(left + character + "\u0301") == nfc(left) + nfc(character + "\u0301")
        if _parts_words(character):
            assert f"aΣ{character}Σa".lower() == "aΣ".lower() + f"{character}Σa".lower()


def test_no_composition_beyond_what_is_searched():
    beyond = (unicodedata.decomposition(chr(point)) for point in range(0x30000, sys.maxunicode + 1))
    assert not any(" " in found and not found.startswith("<") for found in beyond)
    assert {"\u0301", "\u1161", "\u11a8", "\u0338"} <= _second_halves()


def test_white_space_is_that_of_python():
    everything = "".join(chr(point) for point in range(sys.maxunicode + 1) if not 0xD800 <= point < 0xE000)
    found = letters(everything).space
    assert [character for character, space in zip(everything, found, strict=True) if space] == [
        character for character in everything if character.isspace()
    ]


def test_what_may_not_be_cut_is_bounded():
    rewriter = Rewriter(str, lambda _: False)
    with pytest.raises(TextError, match=r"1,048,577 characters in a row .* --normalize none"):
        rewriter.decode("a" * ((1 << 20) + 1))
    with pytest.raises(TextError, match=r"a word of more than 1,048,576 characters"):
        list(whole_words([Piece(text="a" * ((1 << 20) + 1))]))


@pytest.mark.parametrize(
    ("spec", "characters", "wanted"),
    [
        ("90%:", 1_115_394, range(1_003_854, 1_115_394)),
        ("-10%:", 1_115_394, range(1_003_854, 1_115_394)),
        (":90%", 1_115_394, range(1_003_854)),
        ("99.5%:", 1_115_394, range(1_109_817, 1_115_394)),  # 1,109,817.03
        ("29%:30%", 100, range(29, 30)),  # 0.29 · 100 is 28.999999999999996
        ("10%:20%", 1_115_394, range(111_539, 223_078)),
        ("-1000:", 1_115_394, range(1_114_394, 1_115_394)),
        ("100:200", 150, range(100, 150)),
        ("-1000:", 10, range(10)),
        (":", 10, range(10)),
        ("200%:", 10, range(10, 10)),
        (".5%:1.%", 1000, range(5, 10)),
    ],
)
def test_parts(spec, characters, wanted):
    assert Part.parse(spec).resolve(characters) == wanted


@settings(max_examples=30)
@given(st.integers(0, 3000), st.integers(0, 1000))
def test_a_part_and_its_complement_are_the_whole(characters, tenths):
    spec = f"{tenths // 10}.{tenths % 10}%"
    assert [*Part.parse(f":{spec}").resolve(characters), *Part.parse(f"{spec}:").resolve(characters)] == [
        *range(characters)
    ]


@pytest.mark.parametrize("spec", ["", "90%", "1:2:3", "a:", "1e3:", "٣:", "+1:", "9" * 30 + ":", "--1:", "%:", ".%:"])
def test_a_part_that_is_none(spec):
    with pytest.raises(UsageError, match=r"--part .* is not a slice: give START:STOP .*90%:"):
        TextOptions(part=spec)


def test_options_that_are_not_known():
    with pytest.raises(UsageError, match="--normalize 'upper' is not known: give one of none, lower, nfc"):
        TextOptions(normalize="upper")
    with pytest.raises(UsageError, match="--tokens 'piece' is not known: give one of char, byte, word, subword"):
        TextOptions(tokens="piece")
    with pytest.raises(UsageError, match="--unknown is empty"):
        TextOptions(unknown="")


def test_blank_lines_by_hand():
    text = "\n \none\ntwo\n\t\n\nthree\n\n  "
    assert naive.at_blank_lines(text) == ["\n \none\ntwo\n\t\n\n", "three\n\n  "]


def test_halves_of_crlf_in_two_files(write):
    paths = write(["a\r", "\nb"])
    for documents, wanted in (("one", ["a\nb"]), ("file", ["a\n", "\nb"])):
        options = TextOptions(documents=documents, newlines="lf")
        assert gather(final_text(sources.Sources(paths), options)) == wanted
