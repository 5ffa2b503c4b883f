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
    assert table[2, "lstm", "c", "norm_mean"] == pytest.approx(after.states["lstm.c"].norm_mean, rel=1e-5)
    assert table[2, "", "", "perplexity"] == pytest.approx(after.scores["perplexity"].value, rel=1e-5)
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
    assert np.isnan(table[2, "", "", "perplexity"])
    assert np.isnan(table[3, "", "", "perplexity"])
    assert table.loc[3].index.equals(table.loc[1].index)  # every number of the first epoch
    assert np.isfinite(table[2, "lstm", "h", "norm_mean"]) == (runs == 3)
    history = NamedRecord(name="s", record=read_history(tmp_path / "s"))
    for limit in ("perplexity.last<=50", "perplexity<=inf", "perplexity.min>=0"):
        found = gate([history], require=[limit])
        assert (found.verdict, "first in epoch 2" in found.reason) == ("fail", True)
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


class Chained(keras.Model):
    """The second GRU starts from the state that the first one has at the end of the same call."""

    def __init__(self):
        super().__init__()
        self.embedding = keras.layers.Embedding(WIDTH, 6)
        self.below = keras.layers.GRU(6, return_sequences=True, return_state=True)
        self.above = keras.layers.GRU(6, return_sequences=True, return_state=True)
        self.dense = keras.layers.Dense(WIDTH)

    def call(self, ids, states=None, return_state=False):
        x, state = self.below(self.embedding(ids), initial_state=states)
        x, state = self.above(x, initial_state=state)
        return (self.dense(x), state) if return_state else self.dense(x)


@pytest.fixture
def chained():
    keras.utils.set_random_seed(3)
    model = Chained()
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def wiring_of(folder):
    return pq.read_schema(folder / "part-000000.parquet").metadata.get(b"rnneval.wiring")


def test_a_history_of_a_wrongly_wired_model_is_not_valid_anywhere(tmp_path, chained):
    states = StateNorms(tmp_path / "s", letters(tmp_path, 300), vocabulary=list(LETTERS), segment=20)
    with pytest.warns(UserWarning, match=r"fails the wiring check \(shared-state, crossed-state"):
        trained(chained, [states], epochs=1)
    assert wiring_of(tmp_path / "s").startswith(b"fail: shared-state")
    (run,) = states.runs
    assert (run.valid, run.streams.segment, run.token_by_token.segment) == (False, 20, 1)
    verdict = gate(tmp_path / "s", require=["perplexity<=100"])
    assert verdict.verdict == "fail"
    assert "not valid, by the wiring check: fail: shared-state" in str(verdict)
    assert figure_of(tmp_path / "s").title.startswith("Not valid (wiring check: fail: shared-state")


def test_a_check_leaves_the_training_as_it_is_and_may_be_left_out(tmp_path, chained):
    text, losses = letters(tmp_path, 300), []
    for name, check in (("checked", True), ("unchecked", False)):
        states = StateNorms(tmp_path / name, text, vocabulary=list(LETTERS), check=check)
        losses.append(trained(compiled(), [states]).history["loss"])
    assert losses[0] == losses[1]
    assert [wiring_of(tmp_path / name) for name in ("checked", "unchecked")] == [b"pass", None]
    trained(chained, [StateNorms(tmp_path / "s", text, vocabulary=list(LETTERS), check=False)], epochs=1)
    assert not figure_of(tmp_path / "s").title.startswith("Not valid")


def test_a_model_that_is_appended_makes_the_whole_history_not_valid(tmp_path, chained):
    options = {"vocabulary": list(LETTERS), "segment": 20, "existing": "append"}
    text = letters(tmp_path, 300)
    trained(compiled("functional"), [StateNorms(tmp_path / "s", text, **options)], epochs=1)
    with pytest.warns(UserWarning, match="wiring check"):
        trained(chained, [StateNorms(tmp_path / "s", text, **options)], epochs=1)
    assert read_history(tmp_path / "s").wiring.startswith("fail")
