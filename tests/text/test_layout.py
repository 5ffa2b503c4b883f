"""Whether words give their text back: by hand, and against a plain loop."""

from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rnneval.errors import TextError
from rnneval.text import TextOptions, Vocabulary, encode, tokenise
from tests.text import naive


@pytest.mark.parametrize(
    ("text", "layout"),
    [
        ("a b\na\n", "plain"),
        ("a b\na", "plain"),
        ("\n\na b\n", "plain"),
        (" a b \n a", "padded"),
        (" a b \n \n", "padded"),
        ("a  b\n", None),
        ("a b \n", None),
        ("a\tb\n", None),
        (" a b\n", None),
        ("a b\n a \n", None),
        ("a b\na ", None),
        ("a b\r\na", None),
    ],
)
def test_layouts_by_hand(write, text, layout):
    with encode(write([text]), Vocabulary.from_tokens(["a", "b", "<eos>"], kind="word")) as encoded:
        assert encoded.layout == layout
        assert encoded.lossless == (layout is not None)
        assert ("lossy" in [warning.code for warning in encoded.warnings]) == (layout is None)


lines = st.lists(st.lists(st.sampled_from(["a", "b"]), max_size=3), min_size=1, max_size=5)


@settings(max_examples=80, deadline=None)
@given(
    files=st.lists(lines, min_size=1, max_size=3),
    padded=st.booleans(),
    more=st.sampled_from(["", " ", "a", " a", "\n"]),
    documents=st.sampled_from(["one", "file", "blank-line"]),
    with_eos=st.booleans(),
)
def test_layouts_across_chunks_and_documents(write, files, padded, more, documents, with_eos):  # noqa: PLR0917
    one = (
        (lambda words: "".join(f" {word}" for word in words) + " \n")
        if padded
        else (lambda words: " ".join(words) + "\n")
    )
    texts = ["".join(map(one, file)) for file in files]
    texts[0] = texts[0].removesuffix("\n") + more
    vocabulary = Vocabulary.from_tokens(["a", "b", "<eos>"] if with_eos else ["a", "b"], kind="word")
    options = TextOptions(documents=documents)
    final = naive.documents(texts, options)
    with patch.object(tokenise, "PIECE", 4):
        try:
            encoded = encode(write(texts), vocabulary, options)
        except TextError:
            return
        with encoded:
            assert encoded.lossless == naive.lossless(final, vocabulary.ids, "word", "error")
