"""EarlyStopping and ModelCheckpoint on `heldout_perplexity`, whose value in each epoch is known by construction.

The output layer has no kernel but only a bias, and the learning rate is 0. The held-out text repeats one letter, so its
perplexity is 1 / p(letter), and the bias of the letter sets it. The training loss has no part in it.
"""

import re
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

import rnneval
from tests.callbacks.small import ROWS, WIDTH, compiled, data
from tests.evaluate.small import LETTERS

PERPLEXITIES = [6.0, 4.0, 3.0, 3.5, 3.2, 2.0]  # with patience 2, the last is never reached
PAGE = (Path(__file__).resolve().parents[2] / "docs" / "callbacks.md").read_text(encoding="utf-8")


class Sets(keras.callbacks.Callback):
    """Sets the perplexity of the epoch that begins."""

    def on_epoch_begin(self, epoch, logs=None):
        bias = np.zeros(WIDTH)
        bias[0] = np.log((WIDTH - 1) / (PERPLEXITIES[epoch] - 1))
        self.model.get_layer("logits").set_weights([np.zeros((6, WIDTH)), bias])


@pytest.fixture
def model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("held_out.txt").write_text(LETTERS[0] * 300)
    made = compiled(optimizer=keras.optimizers.SGD(0.0))
    made(data()[0][:1])
    return made


def perplexity(model):
    lm = rnneval.wrap(model, vocabulary=rnneval.text.Vocabulary.from_tokens(list(LETTERS)))
    return rnneval.evaluate(lm, "held_out.txt", check=False).scores["perplexity"].value


def require_stopped_at_the_best(done, model):
    assert done.epoch == [0, 1, 2, 3, 4]
    assert done.history["heldout_perplexity"] == pytest.approx(PERPLEXITIES[:5], rel=1e-5)
    assert perplexity(model) == pytest.approx(3.0, rel=1e-5)  # the best weights came back
    assert perplexity(keras.models.load_model("best.keras")) == pytest.approx(3.0, rel=1e-5)
    table = pd.read_parquet("states.parquet")
    written = table[table.statistic == "perplexity"].sort_values("epoch")["value"]
    assert written.to_numpy() == pytest.approx(PERPLEXITIES[:5], rel=1e-5)


def test_the_block_of_the_page_stops_and_keeps_the_best(model):
    (block,) = [
        each
        for each in re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
        if "EarlyStopping" in each
    ]
    fits = []

    def fit(batches, callbacks, **options):
        fits.append(model.fit(batches, verbose=0, shuffle=False, callbacks=[Sets(), *callbacks], **options))

    batches = tf.data.Dataset.from_tensor_slices(data()).batch(ROWS)
    exec(block, {"model": SimpleNamespace(fit=fit), "batches": batches, "tokens": list(LETTERS)})  # noqa: S102 - ours
    assert len(fits) == 1
    require_stopped_at_the_best(fits[0], model)
