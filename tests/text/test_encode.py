import hashlib
import re
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rnneval.errors import TextError
from rnneval.text import TextOptions, Vocabulary, encode, encoding, final_text, tokenise, units
from rnneval.text.units import block_cuts
from tests.text import naive
from tests.text.conftest import texts

COUNTS = ("characters", "bytes", "words", "newlines")
CHARS = ["?", *"ab \n\rAé\u3000中😀"]
WORDS = ["?", "a", "b", "ab", "é", "aa", "中"]
BYTES = [ord("?"), *range(0x20, 0x22), *b"ab\n\xc3\xa9\xcc\xf0\x9f\x80\xe3"]
vocabularies = st.sampled_from(
    [
        Vocabulary.from_tokens(CHARS),
        Vocabulary.from_tokens(dict(zip(CHARS, range(1, 99), strict=False))),
        Vocabulary.from_bytes(),
        Vocabulary.from_tokens(BYTES),
        Vocabulary.from_tokens(WORDS, kind="word"),
        Vocabulary.from_tokens([*WORDS, naive.EOS]),
    ]
)
options = st.builds(
    TextOptions,
    unknown=st.sampled_from(["skip", "?"]),
    documents=st.sampled_from(["one", "file", "blank-line"]),
    newlines=st.sampled_from(["keep", "lf"]),
)
FRAGMENTS = ["a", "ab", "é", "中", " ", "  ", "\n", "\n\n", " \n", "\r\n", "\u3000", "x", " xx", "😀", "\n\n  x"]
some_texts = st.lists(st.lists(st.sampled_from(FRAGMENTS), max_size=15).map("".join), min_size=1, max_size=3).filter(
    any
)


def columns(slice_):
    return {name: getattr(slice_, name).tolist() for name in (*COUNTS, "ids", "unknown", "byte_start", "byte_end")}


def wanted_columns(tokens, facts):
    """Add up the facts of each token's span, in plain loops."""
    found = {name: [sum(getattr(facts, name)[token.start : token.end]) for token in tokens] for name in COUNTS}
    found["byte_end"] = [sum(facts.bytes[: token.end]) for token in tokens]
    return found | {
        "ids": [token.id for token in tokens],
        "unknown": [token.unknown for token in tokens],
        "byte_start": [sum(facts.bytes[: token.start]) for token in tokens],
    }


@settings(max_examples=60, deadline=None)
@given(texts=some_texts, vocabulary=vocabularies, options=options, chunk=st.integers(4, 30), data=st.data())
def test_everything_is_as_in_plain_loops(  # noqa: PLR0917 - what hypothesis draws
    write, texts, vocabulary, options, chunk, data
):
    documents = naive.documents(texts, options)
    facts = naive.facts(documents, vocabulary.kind)
    tokens = naive.tokens(documents, vocabulary.ids, vocabulary.kind, options.unknown)
    with (
        patch.object(tokenise, "PIECE", chunk),
        patch.object(units, "PIECE", chunk),
        patch.object(encoding, "IN_MEMORY", 5),
    ):
        if len(tokens) <= len({token.document for token in tokens}):
            with pytest.raises(TextError, match="at least 2 are needed in one document"):
                encode(write(texts), vocabulary, options)
            return
        with encode(write(texts), vocabulary, options) as encoded:
            check_totals(encoded, documents, tokens, facts)
            everything = columns(encoded.read(0, encoded.tokens, scored_from=0))
            assert everything == wanted_columns(tokens, facts)
            for _ in range(3):
                check_range(encoded, tokens, facts, data)
            assert encoded.lossless == naive.lossless(documents, vocabulary.ids, vocabulary.kind, options.unknown)


def check_totals(encoded, documents, tokens, facts):
    final = "".join(documents)
    assert (encoded.characters, encoded.bytes) == (len(final), len(final.encode()))
    assert encoded.words == sum(len(document.split()) for document in documents)
    assert encoded.sha256 == hashlib.sha256(final.encode()).hexdigest()
    assert encoded.tokens == len(tokens)
    assert encoded.unknown == sum(token.unknown for token in tokens)
    assert encoded.text_documents == len(documents)
    numbers = [token.document for token in tokens]
    assert list(zip(encoded.document_starts.tolist(), encoded.document_stops.tolist(), strict=True)) == [
        (numbers.index(n), numbers.index(n) + numbers.count(n)) for n in sorted(set(numbers))
    ]
    everything = encoded.read(0, encoded.tokens)
    for name in COUNTS:
        assert getattr(everything, name).sum() == sum(getattr(facts, name))


def check_range(encoded, tokens, facts, data):
    """Any range is the same range of the whole, and the words of what is scored are its runs of non-space."""
    start = data.draw(st.integers(0, len(tokens)))
    stop = data.draw(st.integers(start, len(tokens)))
    scored_from = data.draw(st.integers(0, 4))
    everything = columns(encoded.read(0, encoded.tokens, scored_from=scored_from))
    some = columns(encoded.read(start, stop, scored_from=scored_from))
    assert some == {name: column[start:stop] for name, column in everything.items()}
    assert encoded.ids(start, stop).tolist() == everything["ids"][start:stop]
    for start, stop in zip(encoded.document_starts.tolist(), encoded.document_stops.tolist(), strict=True):
        first = start + scored_from
        if first < stop:
            begin, end = tokens[first].start, tokens[stop - 1].end
            if len({token.document for token in tokens}) == encoded.text_documents:
                assert sum(everything["words"][first:stop]) == naive.runs(facts.visible[begin:end])
    assert sum(everything["words"]) == encoded.words


@settings(max_examples=50, deadline=None)
@given(texts=texts("aab  \n\u3000中😀"), apart=st.sampled_from(["one", "file"]), chunk=st.integers(4, 30))
def test_blocks_are_as_in_plain_loops(write, texts, apart, chunk):
    options = TextOptions(documents=apart)
    with patch.multiple(units, _SMALLEST_BLOCK=4, _MOST_BLOCKS=8), patch.object(tokenise, "PIECE", chunk):
        documents = [document.encode() for document in final_text(write(texts), options).documents]
        starts = np.cumsum([0, *map(len, documents[:-1])])
        cuts = block_cuts(np.frombuffer(b"".join(documents), np.uint8), starts)
    wanted = naive.block_ends(naive.documents(texts, options), smallest=4, most=8)
    assert list(zip(cuts.ends, cuts.document, strict=True)) == wanted


@settings(max_examples=50, deadline=None)
@given(texts=some_texts, vocabulary=vocabularies, apart=st.sampled_from(["one", "file"]), chunk=st.integers(4, 30))
def test_unknowns_are_counted_over_the_whole_text(write, texts, vocabulary, apart, chunk):
    options = TextOptions(documents=apart)
    documents = naive.documents(texts, options)
    absent, place = [], 0
    for document in documents:
        for token, end in naive.split(document, vocabulary.kind, naive.EOS in vocabulary.ids):
            if token not in vocabulary.ids:
                absent.append((token, place + naive.first_character(document, token, end, vocabulary.kind)))
        place += len(document)
    with patch.object(tokenise, "PIECE", chunk):
        if not absent:
            return
        with pytest.raises(TextError) as error:
            encode(write(texts), vocabulary, options)
    seen = re.search(
        r" has (\d+) .* \((\d+) distinct: .*; first at character offset (\d+), line (\d+), column (\d+)( of .*)?\)",
        str(error.value),
    )
    number, offset = 0, absent[0][1]
    while offset >= len(texts[number].removeprefix("\ufeff")):
        offset -= len(texts[number].removeprefix("\ufeff"))
        number += 1
    before = texts[number].removeprefix("\ufeff")[:offset]
    place = [offset, 1 + before.count("\n"), 1 + len(before.rpartition("\n")[2])]
    assert [*map(int, seen.groups()[:5])] == [len(absent), len({token for token, _ in absent}), *place]
    assert (seen[6] is not None) == (len(texts) > 1)
    assert seen[6] is None or seen[6].endswith(f"{number}.txt")


def test_words_by_hand(write):
    """Two documents; `tab` runs on from its unscored `t`, `a` and `ünd` stand by themselves."""
    paths = write(["tab c", "a\nünd"])
    chars = Vocabulary.from_text(paths)
    with encode(paths, chars, TextOptions(documents="file")) as encoded:
        assert encoded.read(0, 10).words.tolist() == [0, 1, 0, 0, 1, 1, 0, 1, 0, 0]
        assert encoded.read(0, 10, scored_from=0).words.tolist() == [1, 0, 0, 0, 1, 1, 0, 1, 0, 0]
        assert encoded.read(1, 2).words.tolist() == [1]
        assert encoded.read(0, 1).words.tolist() == [0]
        assert encoded.read(0, 10, scored_from=2).words.tolist() == [1, -1, 1, 0, 1, 1, 0, 1, 0, 0]
        assert encoded.read(7, 10).bytes.tolist() == [2, 1, 1]
        assert (encoded.words, encoded.bytes, encoded.characters) == (4, 11, 10)


@pytest.mark.parametrize(
    ("text", "cause"),
    [("a\r\nb", "newlines='lf' turns CRLF"), ("aBZ", "some are known in lower case: normalize='lower'")],
)
def test_causes_of_unknowns(write, text, cause):
    with pytest.raises(TextError, match=cause):
        encode(write([text]), Vocabulary.from_tokens(["a", "b", "\n"]))


def test_the_very_text_that_the_vocabulary_was_taken_from_is_no_held_out_text(tmp_path):
    trained, copy, other = (tmp_path / name for name in ("train.txt", "copy.txt", "other.txt"))
    for path in (trained, copy):
        path.write_text("ab ba " * 9)
    other.write_text("ba ab")
    vocabulary = Vocabulary.from_text(trained).fit(4)

    def warned(given, path, **options):
        with encode(path, given, TextOptions(**options)) as text:
            return [code for code, _ in text.warnings]

    assert warned(vocabulary, trained) == warned(vocabulary, copy) == ["training-text"]
    assert warned(vocabulary, trained, part="90%:") == warned(vocabulary, other) == []
    assert warned(vocabulary, trained, part="2:") == ["training-text"]  # characters, not per cent
    assert warned(vocabulary, [trained, other]) == warned(Vocabulary.from_text([trained, other]), other) == []
    assert warned(Vocabulary.from_tokens(vocabulary.tokens), trained) == []  # nothing says what it was taken from
