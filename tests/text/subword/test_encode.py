import tempfile
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rnneval.text import TextOptions, Vocabulary, encode
from tests.text.subword import zoo

FRAGMENTS = [
    "To", " be", " or", "not", " the", " question", "'s", "don't", " ", "  ", "   ", "\n", "\n\n", "\r\n", "\t", "12",
    "1234567",
    "!\n", "...", "é", "e\u0301", "日本", "語", "😀", "½", "a", "aaaaaaaa", "<|endoftext|>", "<unk>", "ﬁ", "\u3000",
]  # fmt: skip
long_texts = st.lists(st.sampled_from(FRAGMENTS), min_size=2, max_size=250).map("".join)


@cache
def vocabulary(name):
    with tempfile.TemporaryDirectory() as folder:
        return Vocabulary.from_file(zoo.write(name, Path(folder)))


@cache
def folder():
    return tempfile.TemporaryDirectory()


def encoded(text, name, **more):
    path = Path(folder().name, "text.txt")
    path.write_bytes(text.encode())
    unknown = next((token for token in ("<unk>", "[UNK]") if token in vocabulary(name).ids), "error")
    return encode(path, vocabulary(name), TextOptions(**({"unknown": unknown} | more)))


@pytest.mark.parametrize("name", zoo.ALL)
@settings(max_examples=20, deadline=None)
@given(text=long_texts)
def test_ids_are_the_librarys(name, text):
    wanted = zoo.ids_of(name, text)
    if len(wanted) < 2:
        return
    with encoded(text, name) as found:
        read = found.read(0, found.tokens, scored_from=0)
    assert read.ids.tolist() == wanted
    check_sums(read, text)


def check_sums(read, text):
    """Every byte, character, line feed and word of the text is in one span, and spans follow one another."""
    assert read.byte_start[0] == 0
    assert read.byte_end[-1] == len(text.encode())
    assert (read.byte_start[1:] == read.byte_end[:-1]).all()
    assert (read.byte_start < len(text.encode())).all()
    sums = [int(getattr(read, name).sum()) for name in ("bytes", "characters", "newlines", "words")]
    assert sums == [len(text.encode()), len(text), text.count("\n"), len(text.split())]
    assert (read.bytes == read.byte_end - read.byte_start).all()


@pytest.mark.parametrize("name", ["gpt2", "gpt2_prefix", "gpt4", "llama", "metaspace", "spm_bpe"])
@settings(max_examples=10, deadline=None)
@given(text=st.lists(st.sampled_from(FRAGMENTS), min_size=2, max_size=20).map("".join))
def test_a_token_ends_where_the_librarys_own_decoding_of_all_up_to_it_ends(name, text):
    ids = zoo.ids_of(name, text)
    if len(ids) < 2:
        return
    with encoded(text, name) as found:
        ends = found.read(0, found.tokens).byte_end.tolist()
        lossless = found.lossless
    if not lossless:
        assert name in {"gpt2_prefix", "llama", "metaspace", "spm_bpe"}
        return
    for count, end in enumerate(ends, start=1):
        prefix = zoo.decoded(name, ids[:count])
        prefix = prefix.removeprefix(" ") if name == "gpt2_prefix" else prefix
        if "\ufffd" not in prefix:  # the character is whole
            assert text.encode()[:end] == prefix.encode()


@pytest.mark.parametrize("name", ["nfkc", "wordpiece", "wordlevel", "suffixed", "spm_unigram"])
@settings(max_examples=20, deadline=None)
@given(text=st.lists(st.sampled_from(FRAGMENTS), min_size=2, max_size=20).map("".join))
def test_where_the_pieces_are_not_the_text_a_token_ends_where_the_library_says(name, text):
    offsets = zoo.offsets_of(name, text)
    if len(offsets) < 2:
        return
    with encoded(text, name) as found:
        ends = found.read(0, found.tokens).byte_end.tolist()
        lossless = found.lossless
    if lossless:
        return
    for place, (start, end) in enumerate(offsets[:-1]):
        following = offsets[place + 1][0]
        if following >= end > start and offsets[place + 1][1] > following and end < len(text):
            assert ends[place] == len(text[:end].encode())
