"""StateNorms: every epoch's numbers are those of an evaluation of the same weights."""

import keras
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

import rnneval
from rnneval.callbacks import GradientNorms, StateNorms
from rnneval.errors import TextError, VocabularyError
from rnneval.gates.limits import read_history
from rnneval.gates.verdicts import NamedRecord, gate
from rnneval.render.figures import figure_of
from rnneval.text import Vocabulary
from tests.callbacks.small import WIDTH, compiled, trained
from tests.evaluate.small import LETTERS, letters


def test_each_epoch_is_an_evaluation(tmp_path):
    text, model = letters(tmp_path, 600), compiled()
    logger = keras.callbacks.CSVLogger(tmp_path / "log.csv")
    states = StateNorms(tmp_path / "s", text, vocabulary=list(LETTERS), streams=2, logs="all")
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
    metadata = pq.read_schema(tmp_path / "s" / "part-000001.parquet").metadata
    assert metadata[b"rnneval.schema"] == b"rnneval.state-history/1"
    assert (metadata[b"rnneval.signature"].decode(), metadata[b"rnneval.text"].decode()) == (
        after.signature,
        after.text.sha256,
    )
    assert "_get_metrics_result_or_logs" not in vars(model)


class Breaks(keras.callbacks.Callback):
    """Spoil a weight before an epoch: the training run diverges."""

    def __init__(self, epoch, value):
        super().__init__()
        self.epoch, self.value = epoch, value

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.epoch:
            kernel = self.model.layers[-1].kernel
            kernel.assign(self.value * np.random.default_rng(0).standard_normal(kernel.shape))


@pytest.mark.sampled(2)
@pytest.mark.parametrize(("value", "runs"), [(np.nan, 1), (1e9, 3)])
def test_a_training_that_diverges_goes_on_and_passes_no_limit(tmp_path, value, runs):
    states = StateNorms(tmp_path / "s", letters(tmp_path, 300), vocabulary=list(LETTERS))
    norms = GradientNorms(tmp_path / "g")
    done = trained(compiled(), [Breaks(1, value), states, norms], epochs=3)
    assert len(states.runs) == runs
    assert np.isfinite(done.history["heldout_perplexity"]).tolist() == [True, False, False]
    table = pd.read_parquet(tmp_path / "s").set_index(["epoch", "layer", "variable", "statistic"])["value"]
    assert np.isnan(table[1, "", "", "perplexity"])
    assert np.isnan(table[2, "", "", "perplexity"])
    assert table.loc[2].index.equals(table.loc[0].index)  # every number of the first epoch
    assert np.isfinite(table[1, "lstm", "h", "norm_mean"]) == (runs == 3)
    history = NamedRecord(name="s", record=read_history(tmp_path / "s"))
    for limit in ("perplexity.last<=50", "perplexity<=inf", "perplexity.min>=0"):
        found = gate([history], require=[limit])
        assert (found.verdict, "first in epoch 1" in found.reason) == ("fail", True)
    assert gate([history], require=["perplexity.last1<=50"]).verdict == "fail"
    assert figure_of(tmp_path / "s").title.startswith("The training run diverged: held-out perplexity is not finite")
    metadata = pq.read_schema(tmp_path / "s" / "part-000000.parquet").metadata
    assert float(metadata[b"rnneval.uniform"]) == pytest.approx(np.log(WIDTH))


def test_what_is_missing_is_said_at_once(tmp_path):
    with pytest.raises(TextError, match="ndarray"):
        StateNorms(tmp_path / "s", np.arange(9))
    with pytest.raises(TextError, match="no such file"):
        StateNorms(tmp_path / "s", "held_out.txt")
    model = compiled()
    with pytest.raises(VocabularyError, match="vocabulary="):
        trained(model, [StateNorms(tmp_path / "s", string="abcd" * 90)])
    trained(model, epochs=1)
    assert "make_train_function" not in vars(model)
