"""StateNorms of PyTorch: each epoch is what the module itself says of the text; training goes on to the bit."""

import math
import random
import sys
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

torch = pytest.importorskip("torch")

from rnneval import gate  # noqa: E402 - found by the line above
from rnneval.callbacks.torch import GradientNorms, StateNorms  # noqa: E402
from rnneval.errors import TextError, UsageError, VocabularyError  # noqa: E402
from rnneval.render.figures import figure_of  # noqa: E402
from tests.models.torch.short_text import IDS, KNOWN, LETTERS, TEXT  # noqa: E402

pytestmark = pytest.mark.torch


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.embedding = torch.nn.Embedding(len(LETTERS), 6)
        self.rnn = torch.nn.LSTM(6, 8, batch_first=True)
        self.dropout = torch.nn.Dropout(0.5)
        self.head = torch.nn.Linear(8, len(LETTERS))

    def forward(self, ids, state=None):
        outputs, state = self.rnn(self.embedding(ids), state)
        return self.head(self.dropout(outputs)), state


class Noisy(Model):
    """Draws from three generators in every call, in evaluation too; nothing depends on the numbers."""

    def forward(self, ids, state=None):
        drawn = torch.rand(()) + random.random() + np.random.rand()  # noqa: NPY002, S311
        logits, state = super().forward(ids, state)
        return logits + 0 * drawn, state


class Shared(Model):
    """Wrong: the second layer begins with the state of the first."""

    def __init__(self):
        super().__init__()
        self.above = torch.nn.GRU(8, 8, batch_first=True)
        self.rnn = torch.nn.GRU(6, 8, batch_first=True)

    def forward(self, ids, state=None):
        outputs, state = self.rnn(self.embedding(ids), state)
        outputs, state = self.above(outputs, state)
        return self.head(outputs), state


def trained(model, ends=lambda: None, epochs=3):
    """Train on batches that are drawn, with a drawn dropout, and return the losses."""
    optimizer, losses = torch.optim.Adam(model.parameters(), lr=0.01), []
    torch.manual_seed(1)
    for _ in range(epochs):
        for _ in range(4):
            at = torch.randint(0, 600, (5,)) + random.randrange(20) + np.random.randint(20)  # noqa: NPY002, S311
            some = IDS[0][at[:, None] + torch.arange(21)]
            logits = model(some[:, :-1])[0]
            loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), some[:, 1:].flatten())
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            losses.append(loss.item())
        ends()
    return losses


def by_hand(model):
    """Return the mean loss of the text in one call of the module, and the norm of h after every token."""
    model.eval()
    with torch.no_grad():
        loss = torch.nn.functional.cross_entropy(model(IDS[:, :-1])[0][0], IDS[0, 1:]).item()
        hidden = model.rnn(model.embedding(IDS[:, :-1]))[0]
    model.train()
    return loss, hidden[0].norm(dim=-1).numpy()


def numbers(path):
    return pd.read_parquet(path).set_index(["epoch", "layer", "variable", "statistic"])["value"]


def test_each_epoch_is_what_the_module_says_of_the_text(tmp_path):
    model, seen, logs = Model(), [], []
    with StateNorms(model, tmp_path / "s", logs="all", **KNOWN) as norms:

        def ends():
            seen.append(by_hand(model))
            logs.append(norms.epoch())
            assert model.dropout.training

        trained(model, ends)
    table = numbers(tmp_path / "s")
    for epoch, (loss, norms_by_token) in enumerate(seen, 1):
        call = norms.runs[epoch - 1].states["rnn.h"].call
        norm = norms_by_token[call - 1 :: call].mean()  # h of an LSTM is seen with c, at the ends of calls
        assert table[epoch, "", "", "cross_entropy"] == pytest.approx(loss, rel=1e-6)
        assert table[epoch, "", "", "perplexity"] == pytest.approx(math.exp(loss), rel=1e-6)
        assert table[epoch, "rnn", "h", "norm_mean"] == pytest.approx(norm, rel=1e-6)
        assert logs[epoch - 1]["heldout_cross_entropy"] == pytest.approx(loss, rel=1e-6)
        assert logs[epoch - 1]["rnn.h/norm_mean"] == pytest.approx(norm, rel=1e-6)
    assert [run.valid for run in norms.runs] == [True] * 3
    assert len({run.source.sha256 for run in norms.runs}) == 3
    assert pq.read_schema(tmp_path / "s" / "part-000000.parquet").metadata[b"rnneval.wiring"] == b"pass"
    assert "perplexity" in figure_of(tmp_path / "s").title
    assert gate(tmp_path / "s", require=["perplexity.last<=1e9", "norm_mean.rnn.h.last>=0"]).verdict == "pass"


def test_training_is_the_same_to_the_bit_and_modes_stay(tmp_path):
    results = []
    for watched in (False, True):
        model = Noisy()
        model.embedding.eval()  # a module that its user keeps in evaluation mode
        random.seed(0)
        np.random.seed(0)  # noqa: NPY002
        if not watched:
            losses = trained(model)
        else:
            modes = [module.training for module in model.modules()]
            with (
                GradientNorms(model, tmp_path / "g"),
                StateNorms(model, tmp_path / "s", **KNOWN) as norms,
            ):
                losses = trained(model, norms.epoch)
            assert [module.training for module in model.modules()] == modes
        weights = [parameter.detach().clone() for parameter in model.parameters()]
        results.append((losses, weights, torch.rand(3).tolist(), random.random(), np.random.rand()))  # noqa: NPY002, S311
    (losses, weights, *drawn), (others, other_weights, *others_drawn) = results
    assert losses == others
    assert drawn == others_drawn
    assert all(torch.equal(a, b) for a, b in zip(weights, other_weights, strict=True))


class Outer(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.net = Model()

    def forward(self, batch):
        return self.net(batch)[0].mean()


def test_a_step_function_reads_a_module_that_is_called_otherwise(tmp_path):
    model = Outer()
    with StateNorms(model, tmp_path / "s", wrap=lambda m, ids, state: m.net(ids, state), **KNOWN) as norms:
        assert list(norms.epoch(7)) == ["heldout_perplexity"]
    assert numbers(tmp_path / "s")[7, "", "", "cross_entropy"] == pytest.approx(by_hand(model.net)[0], rel=1e-6)


@pytest.mark.parametrize("value", [math.nan, 1e38])
def test_a_training_that_diverges_goes_on(tmp_path, value):
    model = Model()
    with StateNorms(model, tmp_path / "s", **KNOWN) as norms:
        norms.epoch()
        model.head.weight.data *= value
        assert not math.isfinite(norms.epoch()["heldout_perplexity"])
    table = numbers(tmp_path / "s")
    assert table.loc[2].index.equals(table.loc[1].index)
    failed = gate(tmp_path / "s", require=["perplexity.min>=0"])
    assert (failed.verdict, "first in epoch 2" in failed.reason) == ("fail", True)


def test_a_wrongly_wired_model_is_named_once_and_passes_no_gate(tmp_path):
    norms = StateNorms(Shared(), tmp_path / "s", segment=20, **KNOWN)
    with pytest.warns(UserWarning, match="fails the wiring check"):
        norms.__enter__()
    norms.epoch()
    norms.epoch()
    assert gate(tmp_path / "s", require=["perplexity<=1e9"]).verdict == "fail"


def test_what_is_wrong_is_said_at_once(tmp_path):
    with pytest.raises(UsageError, match="was given a list"):
        StateNorms([], tmp_path / "s", **KNOWN)
    with pytest.raises(TextError, match="no such file"):
        StateNorms(Model(), tmp_path / "s", "held_out.txt")
    with pytest.raises(UsageError, match="logs='some' is not known"):
        StateNorms(Model(), tmp_path / "s", logs="some", **KNOWN)
    with pytest.raises(VocabularyError, match="give vocabulary="), StateNorms(Model(), tmp_path / "s", string=TEXT):
        pass


def test_a_trainer_shows_the_numbers_in_its_logs(tmp_path):
    pytest.importorskip("transformers")
    model = Model()
    callback = StateNorms.for_trainer(tmp_path / "s", **KNOWN)
    state = SimpleNamespace(epoch=0, global_step=0, log_history=[])
    callback.on_train_begin(None, state, None, model=model)
    shown = []
    for epoch in (1.0, 2.0):
        trained(model, epochs=1)
        state.epoch, state.global_step = epoch, state.global_step + 4
        callback.on_epoch_end(None, state, None, model=model)
        for _ in range(2):
            callback.on_log(None, state, None, logs=(logs := {"loss": 1.0}))
            shown.append(logs)
    callback.on_train_end(None, state, None)
    perplexities = numbers(tmp_path / "s").xs(("", "", "perplexity"), level=(1, 2, 3))
    assert perplexities.index.tolist() == [1, 2]
    assert [line["heldout_perplexity"] for line in state.log_history] == perplexities.tolist()
    assert [line["step"] for line in state.log_history] == [4, 8]
    assert [logs.get("heldout_perplexity") for logs in shown] == [perplexities[1], None, perplexities[2], None]


def test_lightning_logs_the_numbers(tmp_path, monkeypatch):
    """With the methods that Lightning calls, in place of Lightning."""
    monkeypatch.setitem(sys.modules, "lightning", SimpleNamespace())
    monkeypatch.setitem(sys.modules, "lightning.pytorch", SimpleNamespace(Callback=object))
    model, logged = Model(), []
    model.log_dict = lambda shown, **_: logged.append(shown)
    callback, trainer = StateNorms.for_lightning(tmp_path / "s", **KNOWN), SimpleNamespace(current_epoch=2)
    callback.on_train_start(trainer, model)
    callback.on_train_epoch_end(trainer, model)
    callback.on_train_end(trainer, model)
    assert logged == [{"heldout_perplexity": numbers(tmp_path / "s")[3, "", "", "perplexity"]}]
