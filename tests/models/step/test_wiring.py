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


def test_a_right_form_passes_one_row_at_a_time_and_from_a_state_of_none():
    step, initial_state = gru_stack(gru_weights())
    wiring = wiring_of(step, initial_state, batched=False)
    assert wiring.verdict == "pass"
    assert wiring.oracles["batch"].detail == "the model reads one row at a time"
    assert "alone" not in wiring.oracles
    wiring = wiring_of(lambda ids, s: step(ids, initial_state(len(ids)) if s is None else s), None)
    assert wiring.verdict == "pass"


# Planted faults


def test_state_dropped_beyond_one_token():
    wiring = wiring_of(*_both(SelectiveSSM(fault="dropped beyond one token")))
    assert wiring.verdict == "fail"
    assert errors(wiring)[0] == "chunk-variance"
    # Calls of 1, 3, 7, … tokens: the call after the one of three begins at 4. First calls of 2 tokens: at 2.
    chunk = wiring.oracles["chunk"].detail
    assert "a first call of 2 tokens and one of 8: they differ first at position 2" in chunk
    assert "calls of 1, 3, 7, … 65 tokens (in the call of 7 after 4): they differ first at position 4" in chunk
    assert "one call over" not in chunk  # within one call everything is right
    assert chunk.endswith("; state['conv'] after one call of 2 tokens is unlike that after 2 calls")


def test_a_chunk_boundary_off_by_one():
    wiring = wiring_of(*_both(LinearAttention(fault="off by one")))
    assert (wiring.verdict, errors(wiring)) == ("fail", ["chunk-variance"])
    assert failed(wiring) == {"chunk"}
    # The carried state has the wrong power at the end of each chunk but the last of a call. It is zero before the first
    # chunk, so that the end of the second is the first at which it matters.
    first = 2 * CHUNK
    assert first_position(wiring.oracles["chunk"]) == first
    assert f"one call over 364 tokens: they differ first at position {first}" in wiring.oracles["chunk"].detail
    parts = f"; state after one call of {first + 1} tokens is unlike that after {first + 1} calls"
    assert wiring.oracles["chunk"].detail.endswith(parts)
    (finding,) = wiring.findings
    assert f"first at position {first}" in finding.message
    assert finding.file.endswith("models.py")
    assert finding.line == LinearAttention.step.__code__.co_firstlineno


def test_a_parallel_form_that_ignores_h0():
    wiring = wiring_of(*_both(LinearAttention(fault="ignores h0")))
    assert wiring.verdict == "fail"
    assert set(errors(wiring)) == {"chunk-variance", "unused-state"}
    assert first_position(wiring.oracles["chunk"]) == 1  # calls of 1, then of 3 tokens
    assert "of the next 64 tokens are equal" in wiring.oracles["used"].detail


def test_an_unused_array_is_named_and_harmless_where_all_else_is_right():
    def step(ids, state):
        logits, after = gru(ids, state["layers"])
        return logits, {"layers": after, "last": logits[:, -1].copy()}

    gru, begin = gru_stack(gru_weights())
    wiring = wiring_of(step, lambda batch: {"layers": begin(batch), "last": np.zeros((batch, V), np.float32)})
    assert (wiring.verdict, failed(wiring)) == ("pass", {"leaves"})
    (finding,) = wiring.findings
    assert (finding.rule, finding.severity) == ("unused-part", "warning")
    assert finding.message.startswith(
        "state['last']: with that of another text in its place, the logits of the next 64"
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


def test_a_leak_of_the_future():
    wiring = wiring_of(*_both(LinearAttention(fault="leak")))
    assert wiring.verdict == "fail"
    assert {"future-leak", "chunk-variance"} <= set(errors(wiring))
    detail = wiring.oracles["causal"].detail
    altered = int(re.findall(r"the token at position (\d+) altered", detail)[0])
    assert first_position(wiring.oracles["causal"]) == altered - 1  # each token sees the next one of its chunk
    declared = wiring_of(*_both(LinearAttention(fault="leak")), declare=["causal=false"])
    assert "future-leak" not in [finding.rule for finding in declared.findings]
    assert declared.declared == ("causal=false",)


def test_a_function_that_fails_at_some_lengths_is_inconclusive():
    step, begin = gru_stack(gru_weights())

    def picky(ids, state):
        if ids.shape[1] == 33:
            raise ValueError("33 tokens cannot be divided into chunks")
        return step(ids, state)

    wiring = wiring_of(picky, begin)
    assert wiring.verdict == "inconclusive"
    assert "step raised ValueError: 33 tokens cannot be divided" in wiring.reason
    assert "of shape (2, 33)" in wiring.reason


def test_declarations():
    with pytest.raises(UsageError, match="causal=false"):
        wiring_of(*gru_stack(gru_weights()), declare=["nonsense=1"])
    with pytest.raises(UsageError, match="the model has no layer gru"):
        wiring_of(*gru_stack(gru_weights()), declare=["stateless=gru"])


def test_a_position_that_matters_is_no_unused_part():
    gru, begin = gru_stack(gru_weights())

    def placed(ids, state):
        logits, after = gru(ids, state["h"])
        position = state["n"][:, None] + np.arange(ids.shape[1])
        return logits + np.sin(position)[..., None] * np.arange(V), {"h": after, "n": state["n"] + ids.shape[1]}

    wiring = wiring_of(placed, lambda batch: {"h": begin(batch), "n": np.zeros(batch, np.int64)})
    assert (wiring.verdict, wiring.findings) == ("pass", ())
    assert wiring.oracles["leaves"].detail.startswith("each of 2 arrays")  # h, and not n, which is alike in both texts
