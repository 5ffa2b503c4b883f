"""The files of the pages on step functions, taken from them and run: their losses are those of float64 loops."""

import importlib.util
import re
from pathlib import Path

import numpy as np
import pytest

from rnneval.evaluate.check import check
from tests.models.step.models import LinearAttention, nats_of
from tests.models.step.reading import read
from tests.oracles import Layer, Stack

DOCS = Path(__file__).resolve().parents[3] / "docs"
PAGES = (DOCS / "backends.md", DOCS / "reference" / "step-functions.md")
FILE = re.compile(r"^Save this as `(\S+)`:\n\n```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILES = dict(found for page in PAGES for found in FILE.findall(page.read_text(encoding="utf-8")))
TOKENS = list("abcdefg")
IDS = np.random.default_rng(3).integers(0, len(TOKENS), (3, 71), dtype=np.int32)


@pytest.fixture
def taken(tmp_path):
    """Import a file of the page."""

    def taken(name):
        path = tmp_path / name
        path.write_text(FILES[name], encoding="utf-8")
        spec = importlib.util.spec_from_file_location(path.stem, path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return taken


def drawn(**shapes):
    rng = np.random.default_rng(0)
    return {name: (rng.normal(size=shape) / np.sqrt(shape[0])).astype(np.float32) for name, shape in shapes.items()}


def require_equal(lm, loop):
    """Read a text in three rows, and compare with the loop; the check passes."""
    nats, _, _ = read(lm, IDS, segment=16)
    wanted = [nats_of(loop(row[:-1]), row[1:]) for row in IDS]
    assert np.abs(nats - wanted).max() < 1e-5
    assert abs(nats.mean(dtype=np.float64) - np.mean(wanted)) < 1e-6
    assert lm.mixable
    wiring = check(lm)
    assert (wiring.verdict, wiring.findings) == ("pass", ())


def test_every_file_of_the_page_has_its_test():
    assert set(FILES) == {"pytorch_model.py", "numpy_model.py", "linear_attention.py"}


def test_numpy(taken, tmp_path):
    v, units = len(TOKENS), 5
    w = drawn(embedding=(v, 4), kernel=(4, 3 * units), recurrent=(units, 3 * units), out=(units, v)) | {
        "bias": np.linspace(-1, 1, 3 * units, dtype=np.float32)
    }
    np.savez(tmp_path / "gru.npz", **w)
    lm = taken("numpy_model.py").build(tmp_path / "gru.npz", vocabulary=TOKENS)
    w = {name: array.astype(np.float64) for name, array in w.items()}

    bias = np.stack([np.zeros(3 * units), w["bias"]])
    layer = Layer(kind="GRU", kernel=w["kernel"], recurrent=w["recurrent"], bias=bias)
    require_equal(lm, Stack(embedding=w["embedding"], layers=(layer,), kernel=w["out"], bias=np.zeros(v)).logits)
    assert lm.checkpoint.path == str(tmp_path / "gru.npz")


def test_linear_attention(taken, tmp_path):
    v, width = len(TOKENS), 4
    w = drawn(**dict.fromkeys(("query", "key", "value"), (width, width)), embedding=(v, width), out=(width, v))
    np.savez(tmp_path / "attention.npz", **w)
    lm = taken("linear_attention.py").build(tmp_path / "attention.npz", vocabulary=TOKENS)

    model = LinearAttention()
    model.width, model.decay, model.e, model.o = width, 0.95, w["embedding"].astype(np.float64), w["out"]
    model.q, model.k, model.v = w["query"], w["key"], w["value"]
    require_equal(lm, model.loop)


@pytest.mark.torch
def test_pytorch(taken, tmp_path):
    torch = pytest.importorskip("torch")
    module = taken("pytorch_model.py")
    torch.manual_seed(0)
    model = module.CharLSTM(len(TOKENS), 6)
    torch.save(model.state_dict(), tmp_path / "model.pt")
    lm = module.build(tmp_path / "model.pt", vocabulary=TOKENS, units=6)
    w = {name: tensor.detach().numpy().astype(np.float64) for name, tensor in model.state_dict().items()}

    layers = tuple(
        Layer(
            kind="LSTM",  # gates in the order of Keras: i, f, c, o
            kernel=w[f"lstm.weight_ih_l{k}"].T,
            recurrent=w[f"lstm.weight_hh_l{k}"].T,
            bias=w[f"lstm.bias_ih_l{k}"] + w[f"lstm.bias_hh_l{k}"],
        )
        for k in range(2)
    )
    embedding, kernel = w["embedding.weight"], w["out.weight"].T
    require_equal(lm, Stack(embedding=embedding, layers=layers, kernel=kernel, bias=w["out.bias"]).logits)
    assert [leaf.path for leaf in lm.carrier.leaves] == ["state[0]", "state[1]"]
    assert [(leaf.axis, leaf.shape) for leaf in lm.carrier.leaves] == [(1, (2, 6))] * 2
