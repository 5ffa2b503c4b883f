"""Gradient norms of PyTorch: what autograd, a step by hand and clip_grad_norm_ give."""

import math
from types import SimpleNamespace

import pandas as pd
import pytest

torch = pytest.importorskip("torch")

from rnneval import gate  # noqa: E402 - found by the line above
from rnneval.callbacks.torch import GradientNorms  # noqa: E402
from rnneval.errors import RecordError, UsageError  # noqa: E402
from rnneval.render.figures import figure_of  # noqa: E402

pytestmark = pytest.mark.torch
V, RATE, MOST = 11, 0.1, 0.5


class Model(torch.nn.Module):
    def __init__(self, *, sparse=False):
        super().__init__()
        torch.manual_seed(0)
        self.embedding = torch.nn.Embedding(V, 6, sparse=sparse)
        self.rnn = torch.nn.LSTM(6, 8, 2, batch_first=True)
        self.head = torch.nn.Linear(8, V)
        self.scale = torch.nn.Parameter(torch.ones(()))

    def forward(self, ids):
        return self.scale * self.head(self.rnn(self.embedding(ids))[0])


def losses(model, steps, seed=0):
    ids = torch.randint(0, V, (steps, 3, 10), generator=torch.Generator().manual_seed(seed))
    for part in ids:
        yield torch.nn.functional.cross_entropy(model(part[:, :-1]).transpose(1, 2), part[:, 1:])


def numbers(path):
    table = pd.read_parquet(path)
    return table.set_index(["step", "layer", "variable", "statistic"])["value"]


def norm(tensors):
    return math.sqrt(sum(float((t.detach().to_dense().double() ** 2).sum()) for t in tensors))


@pytest.mark.parametrize("sparse", [False, True])
def test_norms_are_those_of_autograd_of_clipping_and_of_a_step_by_hand(tmp_path, sparse):
    model, expected = Model(sparse=sparse), []
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE)
    named = dict(model.named_parameters())
    with GradientNorms(model, tmp_path / "g") as norms:
        for loss in losses(model, 20):
            gradients = dict(zip(named, torch.autograd.grad(loss, [*named.values()], retain_graph=True), strict=True))
            weights = norm(named.values())
            loss.backward()
            whole = (
                norm(gradients.values()) if sparse else float(torch.nn.utils.clip_grad_norm_(model.parameters(), MOST))
            )
            expected.append((gradients, whole, min(whole, MOST) if not sparse else whole, weights))
            optimizer.step()
            optimizer.zero_grad()
            norms.step()
    seen = numbers(tmp_path / "g")
    for step, (gradients, whole, clipped, weights) in enumerate(expected, 1):
        assert seen[step, "", "", "grad_norm"] == pytest.approx(norm(gradients.values()), rel=1e-5)
        assert seen[step, "", "", "grad_norm"] == pytest.approx(whole, rel=1e-5)
        assert seen[step, "", "", "grad_norm_clipped"] == pytest.approx(clipped, rel=1e-4)
        assert seen[step, "", "", "update_ratio"] == pytest.approx(RATE * clipped / weights, rel=1e-3)
        for layer in ("embedding", "rnn", "head"):
            own = [gradient for name, gradient in gradients.items() if name.startswith(f"{layer}.")]
            assert seen[step, layer, "", "grad_norm"] == pytest.approx(norm(own), rel=1e-5)
        assert seen[step, "rnn", "weight_hh_l1", "grad_norm"] == pytest.approx(
            norm([gradients["rnn.weight_hh_l1"]]), rel=1e-5
        )
        assert seen[step, "Model", "scale", "grad_norm"] == pytest.approx(norm([gradients["scale"]]), rel=1e-5)
    assert seen.index.get_level_values("step").max() == 20
    assert "Gradient" in figure_of(tmp_path / "g").title
    assert gate(tmp_path / "g", require=["grad_norm.max<=1e9", "grad_norm.last>=0"]).verdict == "pass"


def test_several_backward_passes_are_one_step_and_hooks_are_taken_off(tmp_path):
    model = Model()
    optimizer = torch.optim.Adam(model.parameters())
    with GradientNorms(model, tmp_path / "g") as norms:
        for k, loss in enumerate(losses(model, 6), 1):
            (loss / 3).backward()
            if k % 3 == 0:
                whole = norm(p.grad for p in model.parameters())
                optimizer.step()
                optimizer.zero_grad()
            norms.step()  # in each pass: those that no optimizer has used are no step
    seen = numbers(tmp_path / "g")
    assert seen.index.get_level_values("step").max() == 2
    assert seen[2, "", "", "grad_norm"] == pytest.approx(whole, rel=1e-5)
    next(losses(model, 1)).backward()
    optimizer.step()
    assert not norms._line
    with pytest.raises(UsageError, match="watches nothing yet"):
        norms.step()


def test_a_closure_makes_the_gradients_within_the_step(tmp_path):
    """As Lightning calls an optimizer: backward and clipping happen inside of its step."""
    model, expected = Model(), []
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE)
    with GradientNorms(model, tmp_path / "g") as norms:
        for loss in losses(model, 3):

            def closure(loss=loss):
                optimizer.zero_grad()
                loss.backward()
                expected.append(float(torch.nn.utils.clip_grad_norm_(model.parameters(), 0.01)))
                return loss

            optimizer.step(closure)
            norms.step()
    seen = numbers(tmp_path / "g")
    for step, whole in enumerate(expected, 1):
        assert seen[step, "", "", "grad_norm"] == pytest.approx(whole, rel=1e-5)
        assert seen[step, "", "", "grad_norm_clipped"] == pytest.approx(0.01, rel=1e-3)
        assert seen[step, "", "", "update_ratio"] == pytest.approx(
            RATE * 0.01 / seen[step, "", "", "weight_norm"], rel=1e-3
        )


def test_what_is_frozen_is_absent_until_it_is_thawed(tmp_path):
    model = Model()
    model.embedding.requires_grad_(False)
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE)
    with GradientNorms(model, tmp_path / "g", steps_per_part=1) as norms:
        for k, loss in enumerate(losses(model, 2)):
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            norms.step()
            model.embedding.requires_grad_(k == 0)
    seen = numbers(tmp_path / "g")
    assert (1, "embedding", "", "grad_norm") not in seen.index
    assert seen[2, "embedding", "", "grad_norm"] > 0
    fresh = Model()
    rest = [parameter for name, parameter in fresh.named_parameters() if "embedding" not in name]
    expected = norm(torch.autograd.grad(next(losses(fresh, 1)), rest))
    assert seen[1, "", "", "grad_norm"] == pytest.approx(expected, rel=1e-5)


def test_a_loss_scale_is_taken_out_and_a_step_left_out_by_it_is_not_finite(tmp_path):
    model, plain = Model(), Model()
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    expected = norm(torch.autograd.grad(next(losses(plain, 1)), [*plain.parameters()]))
    with GradientNorms(model, tmp_path / "g", scaler=scaler) as norms:
        for k, loss in enumerate(losses(model, 2)):
            scaler.scale(loss * (1 if k == 0 else torch.inf)).backward()
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad()
            norms.step()
    seen = numbers(tmp_path / "g")
    assert seen[1, "", "", "grad_norm"] == pytest.approx(expected, rel=1e-5)
    assert seen[2, "", "", "not_finite"] > 0
    assert seen[2, "", "", "update_ratio"] == 0
    assert norms.first_not_finite[0] == 2


def test_a_trainer_calls_the_same(tmp_path):
    transformers = pytest.importorskip("transformers")
    model, other = Model(), Model()
    tables = []
    for name, trained in (("loop", other), ("trainer", model)):
        optimizer = torch.optim.SGD(trained.parameters(), lr=RATE)
        callback = GradientNorms.for_trainer(tmp_path / name)
        assert isinstance(callback, transformers.TrainerCallback)
        state = (SimpleNamespace(), SimpleNamespace(), SimpleNamespace())
        callback.on_train_begin(*state, model=trained)
        for loss in losses(trained, 3):
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            callback.on_step_end(*state, model=trained)
        callback.on_train_end(*state, model=trained)
        tables.append(numbers(tmp_path / name))
    pd.testing.assert_series_equal(*tables)
    with pytest.raises(UsageError, match="lightning is not installed"):
        GradientNorms.for_lightning(tmp_path / "l")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.complex64])
def test_numbers_that_are_not_finite_are_counted(tmp_path, dtype):
    weight = torch.nn.ParameterDict({"w": torch.ones(5, dtype=dtype)})
    optimizer = torch.optim.SGD(weight.parameters(), lr=0.1)
    with GradientNorms(weight, tmp_path / "g") as norms:
        slopes = torch.tensor([0.0, math.inf, -math.inf, math.nan, 3e38]).to(dtype)
        weight["w"].backward(slopes)
        optimizer.step()
        norms.step()
    assert numbers(tmp_path / "g")[1, "", "", "not_finite"] == 3


def test_wrong_use_is_said_at_once(tmp_path):
    with pytest.raises(UsageError, match="the model is a list"):
        GradientNorms([], tmp_path / "g")
    with pytest.raises(UsageError, match="has no parameter"):
        GradientNorms(torch.nn.Tanh(), tmp_path / "g")
    (tmp_path / "file").write_text("")
    with pytest.raises(RecordError, match="is a file"):
        GradientNorms(Model(), tmp_path / "file")
