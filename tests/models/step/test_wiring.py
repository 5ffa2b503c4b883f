"""The wiring check of step functions: right forms pass, each planted fault is named with its first position."""

import re

import numpy as np
import pytest

from rnneval.errors import UsageError
from rnneval.evaluate.check import check
from rnneval.models.step import from_step
from tests.models.step.models import LinearAttention, SelectiveSSM, V, gru_stack, gru_weights

CHUNK = LinearAttention.chunk


def wiring_of(step, initial_state, **options):
    declare = options.pop("declare", ())
    return check(from_step(step, initial_state, vocab_size=V, **options), declare=declare)


def errors(wiring):
    return [finding.rule for finding in wiring.findings if finding.severity == "error"]


def failed(wiring):
    return {name for name, oracle in wiring.oracles.items() if oracle.verdict == "fail"}


def first_position(oracle):
    return int(re.findall(r"they differ first at position (\d+)", oracle.detail)[0])


# Right forms

RIGHT = {
    "gru": lambda dtype: gru_stack(gru_weights(), dtype),
    "linear attention": lambda dtype: _both(LinearAttention(dtype=dtype)),
    "selective state space": lambda dtype: _both(SelectiveSSM(dtype=dtype)),
}


def _both(model):
    return model.step, model.initial_state


@pytest.mark.parametrize(("name", "dtype"), [*((name, np.float32) for name in RIGHT), ("gru", np.float64)])
def test_right_forms_pass(name, dtype):
    wiring = wiring_of(*RIGHT[name](dtype))
    assert (wiring.verdict, wiring.findings, failed(wiring)) == ("pass", (), set())
    assert {oracle.verdict for oracle in wiring.oracles.values()} == {"pass"}
    assert set(wiring.oracles) == {"chunk", "causal", "batch", "alone", "used", "leaves", "fresh", "repeat"}
    assert wiring.oracles["chunk"].largest_difference < (1e-5 if dtype == np.float32 else 1e-13)
    assert wiring.oracles["used"].largest_difference > 1e-3
    assert "however they are cut" in wiring.reason
    assert "no difference" in str(wiring)


# Planted faults


def test_a_chunk_boundary_off_by_one():
    wiring = wiring_of(*_both(LinearAttention(fault="off by one")))
    assert (wiring.verdict, errors(wiring)) == ("fail", ["chunk-variance"])
    assert failed(wiring) == {"chunk"}
    # The carried state has the wrong power at the end of each chunk but the last of a call. It is zero before the first
    # chunk, so that the end of the second is the first at which it matters.
    first = 2 * CHUNK
    assert first_position(wiring.oracles["chunk"]) == first
    assert f"one call over 364 tokens: they differ first at position {first}" in wiring.oracles["chunk"].detail
    (finding,) = wiring.findings
    assert f"first at position {first}" in finding.message
    assert finding.file.endswith("models.py")
    assert finding.line == LinearAttention.step.__code__.co_firstlineno


def test_an_unused_array_is_named_and_harmless_where_all_else_is_right():
    def step(ids, state):
        logits, after = gru(ids, state["layers"])
        return logits, {"layers": after, "last": logits[:, -1].copy(), "spare": state["spare"]}

    gru, begin = gru_stack(gru_weights())

    def initial(batch):
        return {"layers": begin(batch), "last": np.zeros((batch, V), np.float32), "spare": np.zeros((batch, 2))}

    wiring = wiring_of(step, initial)
    assert (wiring.verdict, failed(wiring)) == ("pass", {"leaves"})
    (finding,) = wiring.findings
    assert (finding.rule, finding.severity) == ("unused-part", "warning")
    assert finding.message.startswith(
        "state['last']: with that of another text in its place, the logits of the next 64 tokens are equal, read in "
        "one call; not exchanged, since both texts leave the same: state['spare'] (all zero)."
    )


def test_random_numbers():
    noise = np.random.default_rng(0)
    step, begin = gru_stack(gru_weights())

    def noisy(ids, state):
        logits, after = step(ids, state)
        return logits + np.where(np.arange(ids.shape[1]) >= 5, 1, 0)[:, None] * noise.normal(size=logits.shape), after

    wiring = wiring_of(noisy, begin)
    assert (wiring.verdict, errors(wiring)) == ("fail", ["always-random"])
    assert first_position(wiring.oracles["repeat"]) == 5
    assert {o.verdict for name, o in wiring.oracles.items() if name != "repeat"} == {"inconclusive"}


def test_declarations():
    with pytest.raises(UsageError, match="causal=false"):
        wiring_of(*gru_stack(gru_weights()), declare=["nonsense=1"])
    with pytest.raises(UsageError, match="the model has no layer gru"):
        wiring_of(*gru_stack(gru_weights()), declare=["stateless=gru"])
