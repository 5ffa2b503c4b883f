"""Gradients of states that are complex, nested and mixed with real ones: those of torch.autograd."""

import numpy as np
import pandas as pd
import pytest

torch = pytest.importorskip("torch")

import rnneval  # noqa: E402 - found by the line above
from rnneval.callbacks.torch import GradientNorms  # noqa: E402
from rnneval.models.protocol import Place  # noqa: E402
from rnneval.models.torch.derivatives import through_time, variable_gradients  # noqa: E402

pytestmark = pytest.mark.torch
V, LAGS = 7, 6
IDS = np.random.default_rng(0).integers(0, V, 60).astype("i4")


class Text:
    def ids(self, start, stop):
        return IDS[start:stop]


class Mixed(torch.nn.Module):
    """Two layers, each a complex recurrence beside a real one: s ← λ s + x, h ← tanh(W h + Re s); a counter above."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.embedding, self.out = torch.nn.Embedding(V, 4), torch.nn.Linear(4, V)
        turns = [0.9 * np.exp(0.5j), 0.7 * np.exp(-1.1j)]
        self.turns = torch.nn.ParameterList(torch.full((4,), turn, dtype=torch.complex64) for turn in turns)
        self.mixes = torch.nn.ModuleList(torch.nn.Linear(4, 4) for _ in turns)

    def begin(self, rows):
        layers = [{"s": torch.zeros(rows, 4, dtype=torch.complex64), "h": torch.zeros(rows, 4)} for _ in self.turns]
        return {"layers": tuple(layers), "count": 0}

    def token(self, x, layers):
        after = []
        for turn, mix, layer in zip(self.turns, self.mixes, layers, strict=True):
            s = turn * layer["s"] + x
            x = torch.tanh(mix(layer["h"]) + s.real)
            after.append({"s": s, "h": x})
        return self.out(x), tuple(after)


def step(module, ids, state):
    state = module.begin(len(ids)) if state is None else state
    layers, logits = state["layers"], []
    for x in module.embedding(ids).unbind(1):
        made, layers = module.token(x, layers)
        logits.append(made)
    return torch.stack(logits, 1), {"layers": layers, "count": state["count"] + ids.shape[1]}  # noqa: PD013


def test_gradients_are_those_of_autograd():
    model = Mixed()
    lm = rnneval.from_torch(model, step)
    place = Place(at=5, state=lm.carrier.pack(lm.step(IDS[None, :5], None)[1], 1)[0])
    loss, variables, missing = variable_gradients(lm, Text(), [place], LAGS)
    assert not missing
    state = step(model, torch.tensor(IDS[None, :5]).long(), None)[1]
    state["layers"] = tuple({slot: array.detach() for slot, array in layer.items()} for layer in state["layers"])
    logits, _ = step(model, torch.tensor(IDS[None, 5 : 5 + LAGS]).long(), state)
    by_hand = torch.nn.functional.cross_entropy(logits[0], torch.tensor(IDS[6 : 6 + LAGS]).long())
    by_hand.backward()
    assert loss == pytest.approx(by_hand.item(), rel=1e-5)
    assert set(variables) == {name for name, _ in model.named_parameters()}
    for name, parameter in model.named_parameters():
        assert variables[name].norm_mean == pytest.approx(parameter.grad.abs().square().sum().sqrt().item(), rel=1e-5)


def test_gradients_back_through_time_are_those_of_autograd():
    model = Mixed()
    lm = rnneval.from_torch(model, step)
    place = Place(at=5, state=lm.carrier.pack(lm.step(IDS[None, :5], None)[1], 1)[0])
    decays, missing = through_time(lm, Text(), [place], LAGS)
    assert not missing
    layers, seen = step(model, torch.tensor(IDS[None, :5]).long(), None)[1]["layers"], []
    for token in IDS[5 : 5 + LAGS + 1]:
        logits, layers = model.token(model.embedding(torch.tensor([int(token)])), layers)
        # The state that a call returns acts through the next call alone.
        layers = tuple({slot: array.clone() for slot, array in layer.items()} for layer in layers)
        for layer in layers:
            for array in layer.values():
                array.retain_grad()
        seen.append(layers)
    torch.nn.functional.cross_entropy(logits, torch.tensor([int(IDS[5 + LAGS + 1])])).backward()
    for number in (0, 1):
        for slot in ("s", "h"):
            grads = [layers[number][slot].grad for layers in reversed(seen)]
            norms = [0.0 if each is None else each.abs().square().sum().sqrt().item() for each in grads]
            decay = decays[f"state.layers[{number}].{slot}"]
            expected = np.array(norms) / norms[decay.base]
            assert decay.median == pytest.approx(expected.tolist(), rel=1e-5, abs=1e-7)


def test_gradient_norms_in_training_count_both_parts(tmp_path):
    model = Mixed()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with GradientNorms(model, tmp_path / "g") as norms:
        logits, _ = step(model, torch.tensor(IDS[None, :-1]).long(), None)
        torch.nn.functional.cross_entropy(logits[0], torch.tensor(IDS[1:]).long()).backward()
        whole = torch.nn.utils.clip_grad_norm_(model.parameters(), 1e9).item()
        turn = torch.view_as_real(model.turns[0].grad).norm().item()
        optimizer.step()
        norms.step()
    table = pd.read_parquet(tmp_path / "g").set_index(["layer", "variable", "statistic"])["value"]
    assert table["", "", "grad_norm"] == pytest.approx(whole, rel=1e-5)
    assert table["turns", "0", "grad_norm"] == pytest.approx(turn, rel=1e-5)
