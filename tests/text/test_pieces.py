import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rnneval.errors import TextError, UsageError
from rnneval.text import TextOptions, final_text
from tests.text import naive
from tests.text.conftest import texts

parts = st.sampled_from([None, ":", "90%:", ":90%", "-10%:", "10%:60%", "33.3%:", "2:", ":-1", "-5:", "1:7", ":-12.5%"])
all_options = st.builds(
    TextOptions,
    part=parts,
    normalize=st.sampled_from(["none", "lower", "nfc"]),
    newlines=st.sampled_from(["keep", "lf"]),
    documents=st.sampled_from(["one", "file", "blank-line"]),
)


@settings(max_examples=80, deadline=None)
@given(texts=texts(), options=all_options)
def test_documents_are_those_of_plain_loops(write, texts, options):
    wanted = naive.documents(texts, options)
    if wanted:
        assert final_text(write(texts), options).documents == wanted
    else:
        with pytest.raises(TextError, match="empty"):
            final_text(write(texts), options)


@pytest.mark.parametrize(
    ("spec", "characters", "wanted"),
    [
        ("90%:", 1_115_394, range(1_003_854, 1_115_394)),
        (":90%", 1_115_394, range(1_003_854)),
        ("99.5%:", 1_115_394, range(1_109_817, 1_115_394)),  # 1,109,817.03
        ("29%:30%", 100, range(29, 30)),  # 0.29 · 100 is 28.999999999999996
        ("-1000:", 1_115_394, range(1_114_394, 1_115_394)),
        ("100:200", 150, range(100, 150)),
        ("200%:", 10, range(10, 10)),
        (".5%:1.%", 1000, range(5, 10)),
    ],
)
def test_parts(spec, characters, wanted):
    assert TextOptions(part=spec).part_of(characters) == wanted


@pytest.mark.parametrize("spec", ["", "90%", "1:2:3", "a:", "٣:", "9" * 30 + ":", ".%:"])
def test_a_part_that_is_none(spec):
    with pytest.raises(UsageError, match=r"part.* is not a slice: give START:STOP .*90%:"):
        TextOptions(part=spec)


def test_halves_of_crlf_in_two_files(write):
    paths = write(["a\r", "\nb"])
    for documents, wanted in (("one", ["a\nb"]), ("file", ["a\n", "\nb"])):
        options = TextOptions(documents=documents, newlines="lf")
        assert final_text(paths, options).documents == wanted
