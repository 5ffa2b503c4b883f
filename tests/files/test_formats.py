"""One model in every format and by every name gives one and the same number, that of a float64 loop."""

import numpy as np
import pytest
import tensorflow as tf

import rnneval

MY, FLAT, TWIN = "MyModel", "flat", "twin"
OPENED = {
    "flat.keras": (None, "keras", 4),
    "flat.h5": (None, "keras-h5", 4),
    "flat.weights.h5": (FLAT, "weights-h5", 4),
    "flat_ckpt": (FLAT, "tf-checkpoint", 4),
    "my.weights.h5": (MY, "weights-h5", 1),
    "ckpt_root/c": (MY, "tf-checkpoint", 1),
    "ckpt_model/c": (MY, "tf-checkpoint", 1),
    "ckpt_net": (MY, "tf-checkpoint", 1),
    "ckpt_optimizer/c.index": (MY, "tf-checkpoint", 1),
    "ckpt_saved": (MY, "tf-checkpoint", 1),
    "ckpt_saved/ckpt-1.data-00000-of-00001": (MY, "tf-checkpoint", 1),
}


def opened(shelf, name, builder, **options):
    spec = None if builder is None else f"{shelf / 'model.py'}:{builder}"
    return rnneval.open(shelf / name, builder=spec, **options)


@pytest.mark.sampled(6)
@pytest.mark.parametrize("name", OPENED)
def test_the_loss_is_the_loops_whatever_the_format(shelf, name):
    builder, form, contract = OPENED[name]
    lm = opened(shelf, name, builder)
    assert (lm.checkpoint.format, lm.checkpoint.contract) == (form, contract)
    ids = np.array([[lm.vocabulary.tokens.index(c) for c in shelf.text.read_text()]])
    logits, _ = lm.step(ids[:, :-1], lm.initial_state(1))
    nats = tf.keras.losses.sparse_categorical_crossentropy(ids[:, 1:], logits, from_logits=True)
    assert float(np.sum(nats, dtype=np.float64)) == pytest.approx(shelf.total_nats, rel=1e-6)


def test_the_latest_of_several_checkpoints_is_the_one_that_the_folder_names(shelf, tmp_path):
    code = opened(shelf, "my.weights.h5", MY).model
    manager = tf.train.CheckpointManager(tf.train.Checkpoint(model=code), tmp_path, max_to_keep=3)
    for value in (1.0, 2.0, 3.0):
        code.dense.bias.assign(tf.fill([10], value))
        manager.save()
    lm = rnneval.open(tmp_path, builder=f"{shelf / 'model.py'}:MyModel", vocabulary=shelf / "vocab.json")
    assert (lm.checkpoint.path, lm.model.dense.bias.numpy()[0]) == (str(tmp_path / "ckpt-3"), 3.0)
    (tmp_path / "checkpoint").unlink()
    with pytest.raises(
        rnneval.errors.CheckpointError, match="a folder with 3 checkpoints, the newest is ckpt-3: to evaluate it"
    ):
        rnneval.open(tmp_path, builder=f"{shelf / 'model.py'}:MyModel")
