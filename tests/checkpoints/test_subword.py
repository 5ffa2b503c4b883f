"""A model of word pieces from its file to its record, and against a model of characters on the same text."""

import keras
import numpy as np
import pytest

import rnneval
from rnneval.errors import VocabularyError
from tests.oracles import stack_of
from tests.text.subword import zoo

WORDS = ["to", "be", "or", "not", "that", "is", "the", "question", "whether", "'tis", "nobler", "and", "outrageous"]


def open_for_check(width, seed=0):
    model = keras.Sequential(
        [
            keras.Input((None,), dtype="int32"),
            keras.layers.Embedding(width, 4),
            keras.layers.GRU(5, return_sequences=True),
            keras.layers.Dense(width),
        ]
    )
    rng = np.random.default_rng(seed)
    model.set_weights([rng.normal(0, 0.6, w.shape) for w in model.get_weights()])
    return model


@pytest.fixture(scope="module")
def text():
    return "To " + " ".join(np.random.default_rng(5).choice(WORDS, 9000).tolist())


@pytest.fixture
def folder(tmp_path, text):
    (tmp_path / "text.txt").write_text(text)
    (tmp_path / "short.txt").write_text(text[:900])
    return tmp_path


@pytest.mark.sampled(2)
@pytest.mark.parametrize(("name", "file"), [("gpt2", "tokenizer.json"), ("spm_bpe", "spm.model")])
def test_the_total_is_that_of_the_float64_loop_over_the_librarys_ids(folder, text, name, file):
    path = zoo.write(name, folder).rename(folder / file)
    ids = zoo.ids_of(name, text[:900])
    width = zoo.processor(name).get_piece_size() if name in zoo.PIECES else zoo.huggingface(name).get_vocab_size()
    model = open_for_check(width)
    model.save(folder / "model.keras")
    _, embedding, gru, dense = [None, *model.layers]
    total = float(stack_of(embedding, [gru], dense).losses(ids).sum())
    lm = rnneval.open(folder / "model.keras", vocabulary=path)
    found = rnneval.evaluate(lm, folder / "short.txt", check=False, losses=folder / "losses.parquet")
    assert found.total_nats == pytest.approx(total, rel=1e-6)
    assert found.scores["bits_per_char"].value == pytest.approx(
        total / np.log(2) / found.text.scored_characters, rel=1e-6
    )
    assert found.signature.startswith(f"tok:subword-{lm.vocabulary.sha256[:8]}|")
    assert (found.tokens.total, found.vocabulary.sha256) == (len(ids), lm.vocabulary.sha256)
    beside = rnneval.open(folder / "model.keras")  # found by its name
    assert beside.vocabulary.sha256 == lm.vocabulary.sha256
    with pytest.raises(VocabularyError, match=f"has {width:,} tokens .*, the model has {width + 3:,} outputs"):
        rnneval.wrap(open_for_check(width + 3), vocabulary=lm.vocabulary)
