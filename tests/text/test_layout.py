"""Whether words give their text back, against a plain loop."""

from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st

from rnneval.errors import TextError
from rnneval.text import TextOptions, Vocabulary, encode, tokenise
from tests.text import naive

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
