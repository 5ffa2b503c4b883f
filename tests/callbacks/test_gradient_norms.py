"""GradientNorms: training equals training without, and numbers equal a tape's own."""

from types import SimpleNamespace

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from rnneval.callbacks import GradientNorms
from rnneval.callbacks.histories import WRITTEN
from rnneval.errors import RecordError
from tests.callbacks.small import MODELS, compiled, data, loss, sequential, trained

OPTIMIZERS = {
    "clipped": lambda: keras.optimizers.Adam(1e-2, global_clipnorm=0.1),
    "accumulating": lambda: keras.optimizers.SGD(0.1, gradient_accumulation_steps=2, clipnorm=0.05),
    "scaled": lambda: keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1, clipvalue=0.01)),
}
FORMS = {
    **{kind: {"kind": kind, "built": False} for kind in MODELS},
    **{name: {"optimizer": name} for name in OPTIMIZERS},
    "several steps a call": {"steps_per_execution": 3},
    "eager": {"run_eagerly": True},
    "compiled by XLA": {"jit_compile": True},
}


def made(form):
    options = dict(FORMS[form])
    if "optimizer" in options:
        options["optimizer"] = OPTIMIZERS[options["optimizer"]]()
    return compiled(**options)


@pytest.fixture(scope="module")
def training(tmp_path_factory):
    """A watched training of two epochs, with a callback on either side; read only."""
    folder = tmp_path_factory.mktemp("training")
    found = SimpleNamespace(history=folder / "h", csv=folder / "log.csv", saved=folder / "m.keras")
    model = compiled()
    callbacks = [
        keras.callbacks.CSVLogger(found.csv),
        GradientNorms(found.history, logs="all"),
        keras.callbacks.ModelCheckpoint(found.saved),
    ]
    found.logs = trained(model, callbacks).history
    found.weights = model.get_weights()
    return found


DRAWN = {"several steps a call"}


@pytest.mark.parametrize(
    "form", [form if form in DRAWN else pytest.param(form, marks=pytest.mark.grid) for form in FORMS]
)
def test_training_with_it_equals_training_without(form, tmp_path):
    plain, watched = made(form), made(form)
    trained(plain)
    trained(watched, [GradientNorms(tmp_path / "h")])
    assert "apply" not in vars(watched.optimizer)
    for a, b in zip(plain.get_weights(), watched.get_weights(), strict=True):
        np.testing.assert_allclose(b, a, rtol=0, atol=1e-6 if form == "compiled by XLA" else 0)
    assert pd.read_parquet(tmp_path / "h")["step"].max() == 8


def test_numbers_are_those_of_a_tape(tmp_path):
    # Not Adam: it divides by the gradient's own size, so that rounding in a gradient near zero is seen whole.
    model, twin = (compiled(optimizer=keras.optimizers.SGD(0.5, global_clipnorm=0.1)) for _ in range(2))
    trained(model, [GradientNorms(tmp_path / "h")], epochs=1)
    found = pd.read_parquet(tmp_path / "h").set_index(["step", "layer", "variable", "statistic"])["value"]
    x, y = data()
    twin(x[:1])
    for step in range(4):
        part = slice(8 * step, 8 * step + 8)
        with tf.GradientTape() as tape:
            value = loss()(y[part], twin(x[part], training=True))
        slices = tape.gradient(value, twin.trainable_variables)
        grads = [tf.convert_to_tensor(g).numpy() for g in slices]
        before = [v.numpy() for v in twin.trainable_variables]
        twin.optimizer.apply(slices, twin.trainable_variables)
        whole = np.sqrt(sum((g.astype(float) ** 2).sum() for g in grads))
        assert found[step + 1, "", "", "grad_norm"] == pytest.approx(whole, rel=1e-5)
        moved = sum(((v.numpy() - w) ** 2).sum() for v, w in zip(twin.trainable_variables, before, strict=True)) ** 0.5
        assert found[step + 1, "", "", "grad_norm_clipped"] == pytest.approx(moved / 0.5, rel=1e-4)
        for g, w, v in zip(grads, before, twin.trainable_variables, strict=True):
            layer = {"embedding": "embedding", "lstm": "lstm", "logits": "logits"}[
                v.path.split("/")[-2].removesuffix("_cell")
            ]
            key = (step + 1, layer, v.name)
            assert found[*key, "grad_norm"] == pytest.approx(np.linalg.norm(g), rel=1e-5, abs=1e-9)
            assert found[*key, "weight_norm"] == pytest.approx(np.linalg.norm(w), rel=1e-5)
            if not w.any():
                assert (*key, "update_ratio") not in found.index  # no ratio to nothing
                continue
            assert found[*key, "update_ratio"] == pytest.approx(
                np.linalg.norm(v.numpy() - w) / np.linalg.norm(w), rel=1e-3, abs=1e-7
            )


def test_accumulated_gradients_are_clipped_where_the_step_is(tmp_path):
    model = compiled(optimizer=OPTIMIZERS["accumulating"]())
    trained(model, [GradientNorms(tmp_path / "h")])
    table = pd.read_parquet(tmp_path / "h")
    of_model = table[(table.layer == "") & (table.variable == "")]
    assert set(of_model[of_model.statistic == "grad_norm_clipped"].step) == {2, 4, 6, 8}
    moved = of_model[of_model.statistic == "update_ratio"].set_index("step")["value"]
    assert (moved[[1, 3, 5, 7]] == 0).all()
    assert (moved[[2, 4, 6, 8]] > 0).all()
    weights = of_model[of_model.statistic == "weight_norm"].set_index("step")["value"]
    clipped = of_model[of_model.statistic == "grad_norm_clipped"].set_index("step")["value"]
    np.testing.assert_allclose((moved * weights)[clipped.index], 0.1 * clipped, rtol=1e-4)  # plain SGD moves by that
    of_variables = table[(table.variable != "") & (table.statistic == "grad_norm_clipped")]["value"]
    assert of_variables.max() == pytest.approx(0.05, rel=1e-5)


class Poison(keras.callbacks.Callback):
    """Spoils a weight after the third step of an epoch."""

    def on_train_batch_end(self, batch, logs=None):
        if batch == 2:
            self.model.get_layer("lstm").cell.bias.assign(np.full(24, np.nan))


def test_the_first_step_that_is_not_finite_is_named(tmp_path):
    norms = GradientNorms(tmp_path / "h")
    trained(compiled(), [norms, Poison()], epochs=1)
    assert norms.first_not_finite == (4, "embedding.embeddings")
    table = pd.read_parquet(tmp_path / "h")
    assert np.isfinite(table[table.step < 4]["value"]).all()
    assert (table[(table.statistic == "not_finite") & (table.step < 4)]["value"] == 0).all()
    last = table[(table.step == 4) & (table.layer == "")].set_index("statistic")["value"]
    assert np.isfinite(last).to_dict() == {name: name == "not_finite" for name in WRITTEN}


def test_a_loop_of_ones_own(tmp_path):
    model, optimizer = sequential(), keras.optimizers.SGD(0.1)
    x, y = data()
    model(x[:1])

    @tf.function
    def step(x, y):
        with tf.GradientTape() as tape:
            value = loss()(y, model(x, training=True))
        grads = tape.gradient(value, model.trainable_variables)
        optimizer.apply_gradients(zip(grads, model.trainable_variables, strict=True))
        return value

    with GradientNorms(tmp_path / "h").watching(model, optimizer) as norms:
        for _ in range(5):
            step(tf.constant(x), tf.constant(y))
        assert norms.collect()["grad_norm"] > 0
        step(tf.constant(x), tf.constant(y))
    assert "apply" not in vars(optimizer)
    assert pd.read_parquet(tmp_path / "h")["step"].max() == 6
    assert norms.lost == 0


def test_a_loss_scale_is_taken_out(tmp_path):
    plain = compiled(optimizer=keras.optimizers.SGD(0.1, clipvalue=0.01))
    scaled = compiled(optimizer=OPTIMIZERS["scaled"](), auto_scale_loss=True)
    norms = []
    for name, model in (("plain", plain), ("scaled", scaled)):
        trained(model, [GradientNorms(tmp_path / name)], epochs=1)
        table = pd.read_parquet(tmp_path / name)
        norms.append(table[(table.layer == "") & (table.statistic == "grad_norm")]["value"].to_numpy())
    np.testing.assert_allclose(norms[1], norms[0], rtol=1e-3)


def test_a_history_is_not_written_over(tmp_path):
    model = compiled()
    trained(model, [GradientNorms(tmp_path / "h")], epochs=1)
    with pytest.raises(RecordError, match="holds a history"):
        GradientNorms(tmp_path / "h")
    trained(model, [GradientNorms(tmp_path / "h", existing="replace")], epochs=2)
    assert pd.read_parquet(tmp_path / "h")["step"].max() == 8
