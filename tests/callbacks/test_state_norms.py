"""StateNorms: every epoch's numbers are those of an evaluation of the same weights."""

import keras
import pandas as pd
import pytest

import rnneval
from rnneval.callbacks import StateNorms
from rnneval.errors import VocabularyError
from rnneval.text import Vocabulary
from tests.callbacks.small import compiled, trained
from tests.engine.small import LETTERS, letters


def test_each_epoch_is_an_evaluation(tmp_path):
    text, model = letters(tmp_path, 600), compiled()
    logger = keras.callbacks.CSVLogger(tmp_path / "log.csv")
    states = StateNorms(tmp_path / "s", text, vocabulary=list(LETTERS), streams=2)
    done = trained(model, [logger, states])
    after = rnneval.evaluate(
        rnneval.wrap(model, vocabulary=Vocabulary.from_tokens(list(LETTERS))), text, check=False, streams=2
    )
    assert states.runs[-1].total_nats == pytest.approx(after.total_nats, rel=1e-6)
    table = pd.read_parquet(tmp_path / "s").set_index(["epoch", "layer", "variable", "statistic"])["value"]
    assert table[1, "lstm", "c", "norm_mean"] == pytest.approx(after.states["lstm.c"].norm_mean, rel=1e-5)
    assert table[1, "", "", "perplexity"] == pytest.approx(after.scores["perplexity"].value, rel=1e-5)
    assert done.history["heldout_perplexity"][1] == pytest.approx(after.scores["perplexity"].value, rel=1e-5)
    assert {"loss", "heldout_cross_entropy", "lstm.h/norm_mean"} <= set(pd.read_csv(tmp_path / "log.csv").columns)
    assert "_get_metrics_result_or_logs" not in vars(model)


def test_validation_is_not_taken_for_an_epoch(tmp_path):
    from tests.callbacks.small import data

    x, y = data()
    states = StateNorms(tmp_path / "s", letters(tmp_path, 300), vocabulary=list(LETTERS))
    model = compiled()
    model.fit(x, y, epochs=2, verbose=0, validation_data=(x, y), callbacks=[states])
    assert len(states.runs) == 2


def test_a_vocabulary_is_needed(tmp_path):
    with pytest.raises(VocabularyError, match="vocabulary="):
        StateNorms(tmp_path / "s", tmp_path / "t.txt")
