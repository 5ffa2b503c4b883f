"""The suite of behaviour: the smallest faults, masks without bound, noise, half precision, declarations.

Each model is one GRU layer in NumPy, or PyTorch, with one change. The held-out step functions show the other faults.
"""

import numpy as np
import pytest

from rnneval.errors import UsageError
from rnneval.evaluate.check import check
from rnneval.models.step import from_step
from tests.models.step.models import LinearAttention, V, gru_stack, gru_weights

STEP, BEGIN = gru_stack(gru_weights())


def wiring_of(step, initial_state=BEGIN, **options):
    return check(from_step(step, initial_state, vocab_size=V), **options)


def errors(wiring):
    return {finding.rule for finding in wiring.findings if finding.severity == "error"}


def scaled(factor):
    def step(ids, state):
        logits, after = STEP(ids, state)
        return logits, tuple((h * factor).astype(np.float32) for h in after)

    return step


def masked(step):
    """Rule half of the ids out, without bound."""

    def with_mask(ids, state):
        logits, after = step(ids, state)
        return np.where(np.arange(V) < 5, -np.inf, logits).astype(np.float32), after

    return with_mask


def padding_shows_nothing(ids, state):
    """Right: padding changes no state, and its own logits depend on where the call begins."""
    logits = []
    for t in range(ids.shape[1]):
        part, new = STEP(ids[:, t : t + 1], state)
        state = tuple(np.where((ids[:, t] == 0)[:, None], old, h) for old, h in zip(state, new, strict=True))
        logits.append(np.where((ids[:, t] == 0)[:, None, None], np.float32(t), part))
    return np.concatenate(logits, axis=1), state


def test_a_mask_hides_no_leak_and_padding_may_show_nothing():
    leak = LinearAttention(fault="leak")
    assert errors(wiring_of(masked(leak.step), leak.initial_state)) >= {"future-leak"}
    for right in (masked(STEP), padding_shows_nothing):
        assert wiring_of(right).verdict == "pass"


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
    assert declared.reason.endswith("and what was found is declared: chunked=true")
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


def test_logits_that_add_up_to_1_in_one_call_are_no_probabilities():
    def step(ids, before):
        last = np.concatenate([before, ids[:, :-1] * 0.1], axis=1)
        return np.eye(4)[ids] + last[:, :, None] * np.arange(4), ids[:, -1:] * 0.1

    lm = from_step(step, lambda rows: np.zeros((rows, 1)), vocab_size=4)
    assert check(lm).verdict == "pass"
