"""Loggers of other packages, where they are installed: they pick up the numbers on either side of our callbacks."""

import keras
import pytest
import tensorflow as tf

from rnneval.callbacks import GradientNorms, StateNorms
from tests.callbacks.small import compiled, trained
from tests.evaluate.small import LETTERS, letters

WANTED = {"loss", "grad_norm", "grad_norm/lstm", "update_ratio", "heldout_perplexity", "lstm.c/norm_mean"}
pytestmark = [
    pytest.mark.parametrize("first", [True, False]),
    pytest.mark.filterwarnings("default"),  # other packages' warnings are not ours to mend
]


def fitted(logger, first, folder):
    ours = [
        GradientNorms(folder / "h", logs="all"),
        StateNorms(folder / "s", letters(folder, 300), vocabulary=list(LETTERS), logs="all"),
    ]
    trained(compiled(), [logger, *ours] if first else [*ours, logger], epochs=1)


def test_mlflow(first, tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    pytest.importorskip("mlflow.keras")
    monkeypatch.chdir(tmp_path)  # artifacts go where the process is
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/runs.db")
    with mlflow.start_run() as run:
        fitted(mlflow.keras.MlflowCallback(), first, tmp_path)
    assert set(mlflow.get_run(run.info.run_id).data.metrics) >= WANTED


def test_weights_and_biases(first, tmp_path, monkeypatch):
    wandb = pytest.importorskip("wandb")
    keras_side = pytest.importorskip("wandb.integration.keras")
    monkeypatch.setenv("WANDB_SILENT", "true")
    run = wandb.init(project="rnneval", dir=str(tmp_path), mode="offline")
    fitted(keras_side.WandbMetricsLogger(), first, tmp_path)
    found = set(dict(run.summary))
    wandb.finish()
    assert found >= {f"epoch/{name}" for name in WANTED}


def test_tensorboard(first, tmp_path):
    pytest.importorskip("tensorboard")
    fitted(keras.callbacks.TensorBoard(tmp_path / "board", write_graph=False), first, tmp_path)
    (events,) = (tmp_path / "board" / "train").glob("events.*")
    tags = {
        value.tag
        for raw in tf.data.TFRecordDataset(str(events))
        for value in tf.compat.v1.Event.FromString(raw.numpy()).summary.value
    }
    assert tags >= {f"epoch_{name}" for name in WANTED}
