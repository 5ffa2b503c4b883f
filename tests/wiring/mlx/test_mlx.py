"""Models of mlx-lm: rows in batches, caches that are wrong, folders, and the loss of a loop by hand."""

import json
import pickle
import subprocess
import sys

import numpy as np
import pytest

import rnneval
from rnneval.cli.main import run
from rnneval.errors import CheckpointError, UsageError

mx = pytest.importorskip("mlx.core", reason="mlx is not installed: pip install 'rnneval[mlx]'")
pytest.importorskip("mlx_lm", reason="mlx-lm is not installed: pip install 'rnneval[mlx]'")

from mlx import nn  # noqa: E402 - after the skips
from mlx.utils import tree_flatten, tree_map_with_path  # noqa: E402
from mlx_lm.models import cache as caches  # noqa: E402
from mlx_lm.models import mamba2  # noqa: E402
from mlx_lm.models.cache import ArraysCache  # noqa: E402

V = 32
LETTERS = [chr(97 + each) for each in range(V)]
SIZES = {
    "model_type": "mamba2", "vocab_size": V, "hidden_size": 16, "num_hidden_layers": 2, "num_heads": 4, "head_dim": 8,
    "intermediate_size": 32, "state_size": 8, "conv_kernel": 4, "n_groups": 1, "use_bias": False, "use_conv_bias": True,
    "tie_word_embeddings": False, "layer_norm_epsilon": 1e-5, "time_step_limit": [0.0, 100.0], "time_step_rank": 4,
}  # fmt: skip


def drawn(model):
    def weight(name, array):
        if name.endswith(("A_log", "dt_bias")):
            return mx.full(array.shape, -2.0 if name.endswith("A_log") else 0.5)
        return array if "norm" in name else mx.random.normal(array.shape) * 0.3

    mx.random.seed(1)
    model.update(tree_map_with_path(weight, model.parameters()))
    model.eval()
    return model


@pytest.fixture
def model():
    return drawn(mamba2.Model(mamba2.ModelArgs.from_dict(SIZES)))


class Sum(nn.Module):
    """A decaying sum of embeddings; `skips` leaves the pads of shorter rows out."""

    def __init__(self, *, skips):
        super().__init__()
        self.embedding, self.out, self.skips = nn.Embedding(V, 8), nn.Linear(8, V), skips

    def __call__(self, ids, cache):
        x, outputs = self.embedding(ids), []
        state = cache[0] if cache[0] is not None else mx.zeros((ids.shape[0], 8))
        mask = cache.make_mask(ids.shape[1]) if self.skips else None
        for at in range(ids.shape[1]):
            new = 0.8 * state + x[:, at]
            state = new if mask is None else mx.where(mask[:, at, None], new, state)
            outputs.append(state)
        cache[0] = state
        return self.out(mx.stack(outputs, 1))


class Summing(nn.Module):
    def __init__(self, *, skips=True):
        super().__init__()
        self.layer = Sum(skips=skips)

    def __call__(self, ids, cache=None):
        return self.layer(ids, cache[0])

    def make_cache(self):
        return [ArraysCache(1)]


def test_right_models_pass(model):
    for right in (model, drawn(Summing())):
        wiring = rnneval.check(rnneval.from_mlx(right))
        assert (wiring.verdict, wiring.findings) == ("pass", ()), wiring.reason
        assert wiring.oracles["ragged"].verdict == "pass"


def test_pads_that_go_into_the_state_are_found_with_the_module():
    wiring = rnneval.check(rnneval.from_mlx(drawn(Summing(skips=False))))
    assert [finding.rule for finding in wiring.findings] == ["padding-leak"]
    assert wiring.findings[0].layer == "layer (Sum)"
    assert "mlx_lm" in wiring.script
    assert "rnneval" not in wiring.script


def keeps_first(self, rows):
    self.cache = [each[mx.arange(len(rows))] for each in self.cache]


def turns(self, other):
    self.cache = [mx.concatenate([a, b[::-1]]) for a, b in zip(self.cache, other.cache, strict=True)]


def takes_first(self, _):
    cache = ArraysCache(len(self.cache))
    cache.cache = [each[:1] for each in self.cache]
    return cache


@pytest.mark.parametrize(("method", "wrong"), [("filter", keeps_first), ("extend", turns), ("extract", takes_first)])
def test_a_wrong_method_of_a_cache_is_found(monkeypatch, method, wrong):
    monkeypatch.setattr(ArraysCache, method, wrong)
    wiring = rnneval.check(rnneval.from_mlx(drawn(Summing())))
    assert wiring.oracles[method].verdict == "fail"
    assert {finding.rule for finding in wiring.findings} >= {"cache-operation"}
    assert wiring.oracles["merge"].verdict == "pass"


def test_caches_that_lose_their_state_in_a_file_or_keep_what_was_trimmed_are_found(monkeypatch):
    load = caches.load_prompt_cache

    def halves(path):
        (cache,) = load(path)
        cache.cache = [each / 2 for each in cache.cache]
        return [cache]

    monkeypatch.setattr(caches, "load_prompt_cache", halves)
    monkeypatch.setattr(ArraysCache, "is_trimmable", lambda _: True)
    monkeypatch.setattr(ArraysCache, "trim", lambda _, tokens: tokens, raising=False)
    wiring = rnneval.check(rnneval.from_mlx(drawn(Summing())))
    assert [key for key, test in wiring.oracles.items() if test.verdict == "fail"] == ["save", "trim"]
    assert {finding.rule for finding in wiring.findings} == {"cache-operation"}


def test_the_module_of_a_row_that_leaves_its_batch_is_named(monkeypatch):
    monkeypatch.setattr(ArraysCache, "extract", takes_first)
    wiring = rnneval.check(rnneval.from_mlx(drawn(Summing())))
    assert [finding.layer for finding in wiring.findings] == ["layer (Sum)"]


def test_a_cache_that_raises_is_inconclusive(monkeypatch):
    def raises(self, other):
        raise NotImplementedError("not for this cache")

    monkeypatch.setattr(ArraysCache, "extend", raises)
    wiring = rnneval.check(rnneval.from_mlx(drawn(Summing())))
    assert wiring.verdict == "inconclusive"
    assert "not for this cache" in wiring.reason


def test_a_cache_that_cannot_be_merged_is_inconclusive(monkeypatch):
    monkeypatch.delattr(ArraysCache, "merge")
    wiring = rnneval.check(rnneval.from_mlx(drawn(Summing())))
    assert wiring.verdict == "inconclusive"
    assert "mlx-lm cannot merge caches of ArraysCache: the class has no method merge" in wiring.reason


@pytest.fixture
def folder(model, tmp_path):
    path = tmp_path / "saved"
    path.mkdir()
    mx.save_safetensors(str(path / "model.safetensors"), dict(tree_flatten(model.parameters())))
    (path / "config.json").write_text(json.dumps(SIZES))
    (tmp_path / "vocabulary.json").write_text(json.dumps(LETTERS))
    return path


def test_a_folder_has_the_loss_of_one_call_by_hand(folder, model, tmp_path):
    ids = np.random.default_rng(3).integers(0, V, 300)
    (tmp_path / "text.txt").write_text("".join(LETTERS[each] for each in ids))
    logits = np.array(model(mx.array(ids[None])))[0].astype(np.float64)[:-1]
    log_sums = np.log(np.exp(logits - logits.max(1, keepdims=True)).sum(1)) + logits.max(1)
    by_hand = (log_sums - logits[np.arange(299), ids[1:]]).mean()
    lm = rnneval.open(f"mlx:{folder}", vocabulary=tmp_path / "vocabulary.json")
    assert rnneval.evaluate(lm, tmp_path / "text.txt", check=False).scores["cross_entropy"].value == pytest.approx(
        by_hand, abs=1e-6
    )
    assert lm.checkpoint.format == "mlx"


def test_the_script_runs_without_rnneval(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(ArraysCache, "make_mask", lambda *_: None)
    assert run(["check", f"mlx:{folder}", "--reproduce", str(tmp_path / "fault.py")]) == 1
    said = subprocess.run(
        [sys.executable, tmp_path / "fault.py"], capture_output=True, text=True, check=True, timeout=120
    )
    assert said.stdout.startswith("largest difference")


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda folder: (folder / "config.json").write_text(json.dumps({**SIZES, "model_file": "x.py"})), "model_file"),
        (lambda folder: (folder / "config.json").write_text(json.dumps({**SIZES, "model_type": "none"})), "none"),
        (lambda folder: (folder / "model-2.safetensors").write_bytes(b"x"), "model-2.safetensors"),
        (lambda folder: (folder / "model.safetensors").write_bytes(pickle.dumps(1)), "cannot load"),
        (lambda folder: (folder / "model.safetensors").unlink(), "no folder with config.json"),
    ],
    ids=["code", "unknown", "extra", "pickle", "missing"],
)
def test_a_folder_that_cannot_be_read_is_refused_in_one_line(folder, spoil, says, capsys):
    (folder / "x.py").write_text("raise SystemExit('it ran')")
    spoil(folder)
    assert run(["check", f"mlx:{folder}"]) == 2
    said = capsys.readouterr().err
    assert says in said
    assert said.count("\n") == 1


def test_weights_that_are_not_finite_are_refused(folder, model):
    weights = dict(tree_flatten(model.parameters()))
    weights["backbone.norm_f.weight"] = mx.full((16,), float("nan"))
    mx.save_safetensors(str(folder / "model.safetensors"), weights)
    with pytest.raises(CheckpointError, match=r"norm_f\.weight"):
        rnneval.open(f"mlx:{folder}")


def test_a_model_that_fails_is_refused():
    model = drawn(Summing())
    model.layer.out = None
    with pytest.raises(CheckpointError, match="the model fails to read one token: TypeError"):
        rnneval.from_mlx(model)


def test_what_is_no_model_is_refused():
    with pytest.raises(UsageError, match="was given a dict"):
        rnneval.from_mlx({})
