"""Copies of PyTorch models in which no parameter is zero."""

import pytest

torch = pytest.importorskip("torch")

from rnneval.wiring.torch.fresh import awakened  # noqa: E402

pytestmark = pytest.mark.torch


def test_zero_parameters_and_the_padding_row_are_filled_on_a_copy() -> None:
    module = torch.nn.Sequential(torch.nn.Embedding(5, 4, padding_idx=2), torch.nn.Linear(4, 3))
    torch.nn.init.zeros_(module[1].bias)
    before = {name: value.clone() for name, value in module.state_dict().items()}

    made = awakened(module)

    assert made[0].weight[2].abs().min() > 0
    assert 0 < made[1].bias.abs().max() < 1
    kept = [0, 1, 3, 4]
    assert torch.equal(made[0].weight[kept], before["0.weight"][kept])
    assert torch.equal(made[1].weight, before["1.weight"])
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert torch.equal(made[1].bias, awakened(module)[1].bias)


def test_tied_weights_stay_tied() -> None:
    module = torch.nn.Sequential(torch.nn.Embedding(5, 4), torch.nn.Linear(4, 5))
    module[1].weight = module[0].weight

    made = awakened(module)

    assert made[1].weight is made[0].weight
    assert made[0].weight is not module[0].weight
