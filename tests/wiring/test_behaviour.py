"""The suite of behaviour on models whose truth was written first: masks, small faults, faults that depend on the data.

Each model is one GRU layer in NumPy, or PyTorch, with one change; a wrong one has a right twin.
"""

import numpy as np
import pytest

from rnneval.errors import UsageError
from rnneval.evaluate.check import check
from rnneval.models.step import from_step
from rnneval.wiring.behaviour import special_ids
from tests.models.step.models import LinearAttention, V, gru_stack, gru_weights

STEP, BEGIN = gru_stack(gru_weights())
EOT = V - 1


def wiring_of(step, initial_state=BEGIN, **options):
    return check(from_step(step, initial_state, vocab_size=V), **options)


def errors(wiring):
    return {finding.rule for finding in wiring.findings if finding.severity == "error"}


def scaled(factor):
    def step(ids, state):
        logits, after = STEP(ids, state)
        return logits, tuple((h * factor).astype(np.float32) for h in after)

    return step


def by_token(before_each):
    """A step that changes the state before each token, row by row."""

    def step(ids, state):
        logits = []
        for t in range(ids.shape[1]):
            keep = before_each(ids[:, t])[:, None]
            part, state = STEP(ids[:, t : t + 1], tuple((h * keep).astype(np.float32) for h in state))
            logits.append(part)
        return np.concatenate(logits, axis=1), state

    return step


def cleared_at_the_start(ids, state):
    """Sees the future: an id 0 anywhere in a call clears the row's state at its start."""
    keep = ~(ids == 0).any(axis=1)[:, None]
    return STEP(ids, tuple((h * keep).astype(np.float32) for h in state))


def sorted_by_length(*, put_back):
    def step(ids, state):
        order = np.argsort(-(ids != 0).sum(axis=1), kind="stable")
        back = np.argsort(order)
        logits, after = STEP(ids[order], tuple(h[order] for h in state))
        return logits[back], tuple(h[back] if put_back else h for h in after)

    return step


def masked(step, constant, ids):
    mask = np.zeros(V, np.float32)
    mask[ids] = constant

    def with_mask(ids, state):
        logits, after = step(ids, state)
        return (logits + mask).astype(np.float32), after

    return with_mask


def padding_shows_nothing(ids, state):
    """Right: padding changes no state, and its own logits depend on where the call begins."""
    logits = []
    for t in range(ids.shape[1]):
        part, new = STEP(ids[:, t : t + 1], state)
        state = tuple(np.where((ids[:, t] == 0)[:, None], old, h) for old, h in zip(state, new, strict=True))
        logits.append(np.where((ids[:, t] == 0)[:, None, None], np.float32(t), part))
    return np.concatenate(logits, axis=1), state


class Clockwork:
    """A layer that moves every second token; its tick restarts in each call, or goes on in the state."""

    def __init__(self, *, goes_on):
        self.goes_on = goes_on

    def begin(self, batch):
        return BEGIN(batch), np.zeros(batch, np.int32)

    def step(self, ids, state):
        layers, tick = state
        tick, logits = tick if self.goes_on else np.zeros_like(tick), []
        for t in range(ids.shape[1]):
            part, new = STEP(ids[:, t : t + 1], layers)
            moves = (tick % 2 == 0)[:, None]
            layers = tuple(np.where(moves, h, old) for old, h in zip(layers, new, strict=True))
            tick = tick + 1
            logits.append(part)
        return np.concatenate(logits, axis=1), (layers, tick)


LEAK = LinearAttention(fault="leak")
WRONG = {
    "cleared at the start of a call": (cleared_at_the_start, BEGIN, "future-leak"),
    "end of text in any row": (by_token(lambda ids: np.repeat(EOT not in ids, len(ids))), BEGIN, "batch-leak"),
    "rows sorted": (sorted_by_length(put_back=False), BEGIN, "batch-leak"),
    "state × (1 − 1e-4)": (scaled(1 - 1e-4), BEGIN, "chunk-variance"),
    "clock restarts": (Clockwork(goes_on=False).step, Clockwork(goes_on=False).begin, "chunk-variance"),
    "leak, one id at −1e9": (masked(LEAK.step, -1e9, [3]), LEAK.initial_state, "future-leak"),
    "leak, half at −inf": (masked(LEAK.step, -np.inf, range(5)), LEAK.initial_state, "future-leak"),
}
RIGHT = {
    "end of text in its own row": (by_token(lambda ids: ids != EOT), BEGIN),
    "padding": (padding_shows_nothing, BEGIN),
    "rows sorted and put back": (sorted_by_length(put_back=True), BEGIN),
    "clock goes on": (Clockwork(goes_on=True).step, Clockwork(goes_on=True).begin),
    "one id at −1e9": (masked(STEP, -1e9, [3]), BEGIN),
}


@pytest.mark.sampled(3)
@pytest.mark.parametrize("name", WRONG)
def test_wrong_models_fail_by_the_right_rule(name):
    step, begin, rule = WRONG[name]
    wiring = wiring_of(step, begin)
    assert wiring.verdict == "fail"
    assert rule in errors(wiring), f"\n{wiring}"


@pytest.mark.sampled(3)
@pytest.mark.parametrize("name", RIGHT)
def test_their_right_twins_pass(name):
    wiring = wiring_of(*RIGHT[name])
    assert (wiring.verdict, errors(wiring)) == ("pass", set()), f"\n{wiring}"


def test_the_smallest_fault_is_far_above_rounding():
    right, wrong = (wiring_of(scaled(factor)).oracles["chunk"] for factor in (1.0, 1 - 1e-4))
    assert right.largest_difference < right.tolerance / 3
    assert wrong.largest_difference > 10 * wrong.tolerance


def test_a_dependence_on_the_cuts_can_be_declared():
    step, begin = scaled(0.5), BEGIN
    undeclared, declared = wiring_of(step, begin), wiring_of(step, begin, declare=["chunked=true"])
    assert "declare chunked=true if that is meant" in undeclared.findings[0].message
    assert (undeclared.verdict, declared.verdict) == ("fail", "pass")
    assert [(f.rule, f.severity) for f in declared.findings] == [("chunk-variance", "warning")]
    assert declared.declared == ("chunked=true",)
    with pytest.raises(UsageError, match="no layer gru"):
        wiring_of(step, begin, declare=["chunked=gru"])


def test_a_state_kept_in_an_attribute_is_not_called_random():
    class Model:
        last = None

        def step(self, ids, state):
            logits, self.last = STEP(ids, state if self.last is None or len(self.last[0]) != len(ids) else self.last)
            return logits, state

    wiring = wiring_of(Model().step)
    assert wiring.verdict == "fail"
    assert errors(wiring) == {"leftover-state"}
    assert "it remembers the last call" in wiring.findings[0].message


def test_much_noise_is_inconclusive_and_named():
    """The state grows a hundredfold a token, around the circle: its last digits are soon the first ones."""

    def step(ids, h):
        out = []
        for column in ids.T:
            h = (
                (np.sin(100 * h) + column / 10).astype(np.float32)
                if ids.shape[1] > 1
                else (np.cos(100 * h - np.float32(np.pi / 2)) + column / 10).astype(np.float32)
            )
            out.append(h)
        return np.sin(np.stack(out, axis=1)[..., None] * np.arange(1, V + 1)).astype(np.float32), h

    wiring = wiring_of(step, lambda batch: np.full(batch, 0.3, np.float32))
    assert wiring.verdict == "inconclusive"
    assert "moving its state by one unit in the last place changes the logits by" in wiring.oracles["chunk"].detail


@pytest.mark.parametrize("zeroed", [False, True])
def test_half_precision_shows_large_faults(zeroed):
    torch = pytest.importorskip("torch")
    kind = torch.bfloat16
    modules = torch.nn.GRU(4, 6, batch_first=True), torch.nn.Embedding(V, 4), torch.nn.Linear(6, V)
    gru, inputs, out = (module.to(kind) for module in modules)

    @torch.no_grad()
    def step(ids, h):
        hidden, h = gru(inputs(torch.as_tensor(ids).long()), h)
        return out(hidden).float(), h * (0 if zeroed else 1)

    torch.manual_seed(0)
    for module in (gru, inputs, out):
        for parameter in module.parameters():
            torch.nn.init.normal_(parameter, std=0.7)
    wiring = wiring_of(step, lambda batch: torch.zeros(1, batch, 6, dtype=kind))
    assert wiring.verdict == ("fail" if zeroed else "pass"), f"\n{wiring}"
    assert zeroed or "as far as bfloat16 shows" in wiring.oracles["chunk"].detail


def test_special_ids_leave_ordinary_ones():
    assert special_ids(11, newline=5) == ((0, 1, 10, 5), (2, 3, 4, 6, 7, 8, 9))
    assert special_ids(4) == ((), (1, 2, 3))
