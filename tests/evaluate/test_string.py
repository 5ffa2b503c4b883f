"""Text in memory: the same numbers as of a file with the same bytes, for every function of one text."""

import hashlib
from itertools import pairwise

import msgspec
import numpy as np
import pytest

import rnneval
from rnneval.errors import TextError, UsageError, VocabularyError
from rnneval.records import Run, encode
from rnneval.render.run_document import run_document
from rnneval.render.terminal import as_text
from rnneval.text import Vocabulary
from tests.models.numpy.made import stack_file

LETTERS = "abcdéf\n"


@pytest.fixture(scope="module")
def lm(tmp_path_factory):
    path, _ = stack_file(tmp_path_factory.mktemp("model") / "model.h5", "GRU")
    return rnneval.open(path, backend="numpy", vocabulary=Vocabulary.from_tokens(list(LETTERS)))


def drawn(length, seed=0):
    return "".join(np.random.default_rng(seed).choice(list(LETTERS), length))


def as_file(tmp_path, text):
    path = tmp_path / "held_out.txt"
    path.write_bytes(text.encode())
    return path


def without_origin(run: Run) -> Run:
    """The record without what two readings of one text may differ in: the time, and where the text was."""
    timing = msgspec.structs.replace(run.timing, seconds=0, tokens_per_second=0)
    files = tuple(msgspec.structs.replace(file, path="") for file in run.text.files)
    return msgspec.structs.replace(run, created="", timing=timing, text=msgspec.structs.replace(run.text, files=files))


@pytest.mark.parametrize(
    ("text", "options"),
    [(drawn(2_000), {"part": "50%:", "streams": 3}), ("\ufeff" + drawn(300).replace("\n", "\r\n"), {"newlines": "lf"})],
)
def test_every_number_of_a_string_is_that_of_the_file(lm, tmp_path, text, options):
    path = as_file(tmp_path, text)
    of_file, of_string = rnneval.evaluate(lm, path, **options), rnneval.evaluate(lm, string=text, **options)
    assert of_string.total_nats == of_file.total_nats
    plain = without_origin(of_string), without_origin(of_file)
    assert [warning.code for warning in plain[0].warnings] == [warning.code for warning in plain[1].warnings]
    assert msgspec.structs.replace(plain[0], warnings=()) == msgspec.structs.replace(plain[1], warnings=())


def test_the_record_says_that_the_text_was_in_memory(lm, tmp_path):
    text = drawn(300)
    run = rnneval.evaluate(lm, string=text)
    (file,) = run.text.files
    assert (file.path, file.sha256) == ("", hashlib.sha256(text.encode()).hexdigest())
    assert run.text.sha256 == file.sha256
    run.save(tmp_path / "run.json")
    assert rnneval.read(tmp_path / "run.json") == run
    assert "on 'text in memory'" in repr(run)
    assert "on text in memory" in as_text(run_document(run), 100)
    assert text[:40] not in encode(run)


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({}, UsageError, "no text was given: name at least one UTF-8 file, or give string="),
        ({"string": "ab", "text": "held_out.txt"}, UsageError, "both files and string="),
        ({"string": "a"}, TextError, "the text in memory: the text has 1 token, at least 2"),
        ({"string": "ab\udc80"}, TextError, r"the text in memory: character '\\udc80' at position 2 has no UTF-8"),
        ({"string": "abxyz"}, TextError, "the text in memory.*x"),
    ],
)
def test_what_is_refused(lm, options, error, said):
    with pytest.raises(error, match=said):
        rnneval.evaluate(lm, **options)


def test_a_record_whose_first_token_is_unknown_can_be_read(tmp_path):
    lm = rnneval.from_step(
        lambda ids, state: (np.zeros((*ids.shape, 4)), state),
        lambda rows: np.zeros((rows, 1)),
        vocabulary=["[UNK]", "a", "b", "c"],
    )
    run = rnneval.evaluate(lm, string="xabcx", unknown="[UNK]", check=False)
    run.save(tmp_path / "run.json")
    assert rnneval.read(tmp_path / "run.json").tokens.unknown == 2


def test_ids_of_bytes_need_no_vocabulary():
    """A bigram model over the 256 bytes, whose loss is summed by hand."""
    table = np.random.default_rng(0).normal(size=(256, 256)).astype(np.float32)
    lm = rnneval.from_step(
        lambda ids, state: (table[ids], state), lambda rows: np.zeros((rows, 1), np.float32), vocab_size=256
    )
    text = "naïve\n" * 20
    ids = list(text.encode())
    log_sums = np.logaddexp.reduce(table.astype(np.float64), axis=1)
    nats = sum(log_sums[a] - table[a, b] for a, b in pairwise(ids))
    assert rnneval.evaluate(lm, string=text, tokens="byte", check=False).total_nats == pytest.approx(nats, rel=1e-6)
    assert rnneval.trace(lm, string=text, tokens="byte", check=False).total_nats == pytest.approx(nats, rel=1e-6)
    with pytest.raises(VocabularyError, match="no vocabulary was given"):
        rnneval.evaluate(lm, string=text)
    narrow = rnneval.from_step(
        lambda ids, state: (table[ids, :99], state), lambda rows: np.zeros((rows, 1), np.float32), vocab_size=99
    )
    with pytest.raises(VocabularyError, match=r"for 256 outputs, and there are 99: .* such as \[10, 32, 97\]"):
        rnneval.evaluate(narrow, string=text, tokens="byte")
