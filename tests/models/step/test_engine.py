"""Step functions evaluated on a text: the record holds the loss of one carried stream, that of a float64 loop."""

import numpy as np
import pytest

import rnneval
from rnneval.models.step import from_step
from tests.models.step.models import LinearAttention, SelectiveSSM, V, gru_stack, gru_weights, nats_of

TOKENS = list("abcdefghij\n")
IDS = np.random.default_rng(0).integers(0, V, 6001)


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "held_out.txt"
    path.write_text("".join(TOKENS[i] for i in IDS), encoding="utf-8", newline="")
    return path


def model(kind, **changes):
    made = kind()
    for name, value in changes.items():
        setattr(made, name, value)
    return made


SLOW = model(LinearAttention, decay=0.9999, o=LinearAttention().o / 50, dtype=np.float64)
"""A model that has not forgotten its start when a row ends, so that rows are read one after the other."""


@pytest.mark.parametrize("made", [model(LinearAttention), model(SelectiveSSM), SLOW])
def test_the_loss_is_that_of_one_carried_stream(text, made):
    lm = from_step(made.step, made.initial_state, vocabulary=TOKENS)
    run = rnneval.evaluate(lm, text)
    wanted = nats_of(made.loop(IDS[:-1]), IDS[1:]).sum()
    assert abs(run.total_nats - wanted) < 1e-6 * 6000
    assert run.streams.count > 1
    assert (run.valid, run.wiring.verdict, run.streams.kernel) == (True, "pass", "step")
    assert (run.checkpoint.format, run.checkpoint.layers) == ("step", ())
    assert [warning.code for warning in run.warnings if "every_token=True" in warning.message] == ["no-states"]


def test_rows_change_nothing_with_counters_of_either_kind(text):
    gru, begin = gru_stack(gru_weights())

    def counting(ids, state):
        logits, h = gru(ids, state["h"])
        return logits, {"h": h, "n": state["n"] + ids.shape[1]}

    plain = rnneval.evaluate(from_step(gru, begin, vocabulary=TOKENS), text, check=False)
    for zero in (lambda batch: np.zeros(batch, np.int64), lambda _: 0):
        lm = from_step(counting, lambda batch, zero=zero: {"h": begin(batch), "n": zero(batch)}, vocabulary=TOKENS)
        run = rnneval.evaluate(lm, text, check=False)
        assert run.total_nats == plain.total_nats
        assert run.streams.forgetting_length == plain.streams.forgetting_length  # the counters are not compared
    assert plain.streams.forgetting_length is not None


def test_a_leak_is_not_valid_and_states_are_summarised_on_request(text):
    leak = LinearAttention(fault="leak")
    run = rnneval.evaluate(from_step(leak.step, leak.initial_state, vocabulary=TOKENS), text, states=False)
    assert not run.valid
    assert "future-leak" in {finding.rule for finding in run.wiring.findings}
    made = SelectiveSSM(dtype=np.float64)
    lm = from_step(made.step, made.initial_state, vocabulary=TOKENS, every_token=True)
    run = rnneval.evaluate(lm, text, check=False)
    state, norms = made.initial_state(1), []
    for token in IDS[:-1]:
        _, state = made.step(np.array([[token]]), state)
        norms.append(np.linalg.norm(state["ssm"]))
    assert abs(run.states["state.ssm"].norm_mean - np.mean(norms)) < 1e-6
    assert set(run.states) == {"state.conv", "state.ssm"}


def test_check_takes_a_step_function():
    made = SelectiveSSM()
    lm = from_step(made.step, made.initial_state, vocab_size=V)
    assert rnneval.check(lm).verdict == "pass"
    with pytest.raises(rnneval.errors.UsageError, match="vocab_size=9: a StepLM knows its number of ids: leave it out"):
        rnneval.check(lm, vocab_size=9)
