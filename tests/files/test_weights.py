"""Every weight of the builder's model found, every one of the file used, or the error names them; both formats."""

import json

import pytest

FORMATS = ["my.weights.h5", "ckpt_optimizer"]


@pytest.fixture
def builder(shelf, tmp_path):
    """A builder made of the shelf's model by replacing text in it."""

    def make(*replacements, name="MyModel"):
        code = (shelf / "model.py").read_text()
        for old, new in replacements:
            assert old in code
            code = code.replace(old, new)
        path = tmp_path / "changed.py"
        path.write_text(code)
        return "--builder", f"{path}:{name}", "--vocab", shelf / "vocab.json"

    return make


SECOND = ("self.dense =", "self.extra = keras.layers.Dense(6)\n        self.dense =")
CALLED = ("x = self.dense(x,", "x = self.extra(x)\n        x = self.dense(x,")


@pytest.mark.parametrize("name", FORMATS)
def test_a_weight_of_the_model_that_the_file_lacks(refused, shelf, builder, name):
    said = refused("open", shelf / name, *builder(SECOND, CALLED))
    assert said.startswith("2 of 8 weights not found in ")
    assert "extra" in said or "dense" in said
    assert said.endswith("the builder makes another model than the one that was saved")


@pytest.mark.parametrize("name", FORMATS)
def test_a_weight_of_the_file_that_the_model_does_not_use(refused, shelf, builder, name):
    said = refused("open", shelf / name, *builder(("GRU(rnn_units,", "GRU(rnn_units, use_bias=False,")))
    assert " has weights the model does not use: " in said
    assert "gru" in said
    assert said.count("cell") == 1  # one weight: the bias


@pytest.mark.parametrize("name", FORMATS)
def test_a_weight_of_another_shape(refused, shelf, builder, name):
    said = refused("open", shelf / name, *builder(), "--builder-arg", "rnn_units=7")
    assert "is (5, 18) in the file and (5, 21) in the model" in said
    assert said.endswith("check the builder's sizes")


@pytest.mark.sampled(2)
@pytest.mark.parametrize("name", FORMATS)
def test_the_order_in_which_layers_are_made_does_not_matter(shelf, builder, tmp_path, name, capsys):
    """Weights are matched by the author's attribute names."""
    from rnneval.cli.main import run

    turned = ("self.embedding = keras.layers.Embedding(vocab_size, embedding_dim)\n        self.gru", "self.gru")
    back = ("self.dense = keras", f"{turned[0].splitlines()[0]}\n        self.dense = keras")
    out = tmp_path / "run.json"
    code = run([str(a) for a in ("evaluate", shelf / name, shelf.text, *builder(turned, back), "--out", out, "-q")])
    assert (code, json.loads(out.read_text())["total_nats"]) == (0, pytest.approx(shelf.total_nats, rel=1e-6))
    capsys.readouterr()
