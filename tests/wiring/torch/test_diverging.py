"""The first module at which two readings part, in models whose fault is written down here."""

import dataclasses

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from rnneval.models.torch.causal import CachedStep  # noqa: E402
from rnneval.models.torch.module import TorchStep  # noqa: E402
from rnneval.wiring.cases import Case  # noqa: E402
from rnneval.wiring.readings import Reading  # noqa: E402
from rnneval.wiring.torch.diverging import (  # noqa: E402
    first_diverging,
    in_calls,
    module_of_case,
    module_of_test,
)
from rnneval.wiring.torch.fingerprints import WatchedReading  # noqa: E402
from rnneval.wiring.torch.readings import CacheReader  # noqa: E402
from tests.wiring.torch.tiny import Gated, Stack, V, cached, made  # noqa: E402

pytestmark = pytest.mark.torch
IDS = np.random.default_rng(0).integers(2, V, (1, 40), dtype=np.int32)


class Slip(torch.nn.Module):
    """Adds something to the third token of every call that is longer than ten tokens."""

    def __init__(self, width):
        super().__init__()
        self.inside = torch.nn.Linear(width, width)

    def forward(self, x, state=None):
        y = self.inside(x)
        if x.shape[1] > 10:
            y = y + 1e-3 * (torch.arange(x.shape[1]) == 2)[None, :, None]
        return y, state


def layers(*made):
    torch.manual_seed(0)
    makers = iter([make(24) for make in made])
    return Stack(lambda _: next(makers), layers=len(made)).eval()


def parted(model, lengths=(13,), others=(1,) * 13):
    step = TorchStep(model)
    return first_diverging(model, in_calls(step, IDS, lengths), in_calls(step, IDS, others))


def test_names_the_module_the_position_and_the_line():
    found = parted(layers(Gated, Slip, Gated))
    assert (found.module, found.kind, found.position) == ("layers.1", "Slip", 2)
    assert found.of_inputs < 1e-6
    assert found.difference > 1e-4
    assert (found.at.layer, found.at.line) == ("layers.1", Slip.forward.__code__.co_firstlineno)
    assert found.at.file.endswith("test_diverging.py")
    assert str(found).startswith("at position 2 the inputs of layers.1 (Slip) agree to")


@pytest.mark.parametrize("name", ["LSTM", "Gated", "Mamba2", "Qwen3Next"])
def test_right_models_have_none(name):
    step = made(name)
    assert first_diverging(step.module, in_calls(step, IDS, (29,)), in_calls(step, IDS, (7, 5, 1, 11, 5))) is None


def test_a_difference_that_has_no_effect_around_the_module_is_none():
    class Deaf(torch.nn.Module):
        def __init__(self, width):
            super().__init__()
            self.slip = Slip(width)

        def forward(self, x, state=None):
            y, _ = self.slip(x)
            return x + 0 * y, state

    assert parted(layers(Gated, Deaf)) is None


def test_what_differs_from_the_start_is_no_fault_of_a_module():
    model = layers(Gated, Gated)
    step = TorchStep(model)
    other = IDS.copy()
    other[0, 4] += 1
    assert first_diverging(model, in_calls(step, IDS, (13,)), in_calls(step, other, (13,))) is None


def test_the_cause_outside_of_all_layers_is_the_module_around_them():
    class Shifted(Stack):
        def forward(self, ids, states=None):
            start = 0 if states is None else states[1]  # it forgets to count calls of one token
            logits, new = super().forward(ids, states and states[0])
            places = start + torch.arange(ids.shape[1])
            return logits + torch.sin(places.float())[None, :, None], (
                new,
                start + (ids.shape[1] if ids.shape[1] > 1 else 0),
            )

    torch.manual_seed(0)
    found = parted(Shifted(Gated, layers=2).eval())
    assert (found.module, found.kind, found.position) == ("", "Shifted", 1)


def test_positions_are_counted_after_padding_and_one_row_is_watched():
    class Masked(Stack):
        def forward(self, ids, states=None, mask=None):
            x, new = self.embedding(ids), []
            x = x if mask is None else x * mask[:, :, None]
            for layer in self.layers:
                y, state = layer(x, None)
                x = x + y
                new.append(state)
            return self.out(x), new

    torch.manual_seed(0)
    model = Masked(lambda width: torch.nn.GRU(width, width, batch_first=True), layers=2).eval()
    step = TorchStep(model)
    rows = torch.from_numpy(np.concatenate([np.pad(IDS[:, :13], ((0, 0), (4, 0))), IDS[:, 20:37]])).long()
    mask = torch.ones(rows.shape)
    mask[0, :4] = 0

    def calls(start=0):
        yield model(rows[:, start:], None, mask[:, start:])

    padded = WatchedReading(calls=calls, tokens=(17,), rows=2, row=0, start=4)
    found = first_diverging(model, in_calls(step, IDS, (13,)), padded)
    # A bias moves the state of a GRU although its inputs are zero.
    assert (found.module, found.kind, found.position) == ("layers.0", "GRU", 0)
    unpadded = WatchedReading(calls=lambda: calls(4), tokens=(13,), rows=2, row=0)
    assert first_diverging(model, in_calls(step, IDS, (13,)), unpadded) is None


def test_the_readings_of_a_test_of_calls():
    model = cached("Mamba", state_size=8)  # its scan begins at zero in every call of several tokens
    reader = CacheReader(CachedStep(model))
    case = Case(
        key="chunk",
        pattern="in calls of several tokens after a state",
        wanted=Reading(ids=((3, 4, 5, 6, 7, 8, 9),), lengths=(7,)),
        reading=Reading(ids=((3, 4, 5, 6, 7, 8, 9),), lengths=(4, 3)),
    )
    found = module_of_case(reader, case)
    assert (found.module, found.kind, found.position) == ("backbone.layers.0.mixer", "MambaMixer", 4)
    assert module_of_case(reader, dataclasses.replace(case, reading=case.wanted)) is None
    assert module_of_test("chunk", CachedStep(model), V).module == "backbone.layers.0.mixer"
