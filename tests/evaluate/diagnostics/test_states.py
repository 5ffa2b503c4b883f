"""State summaries over the exact carried stream, against a float64 loop and the definitions written out."""

from unittest.mock import Mock

import msgspec
import numpy as np
import pytest

import rnneval
from rnneval.errors import TextError
from rnneval.evaluate import losses, states
from rnneval.evaluate.diagnostics.trace import trace
from tests.evaluate.diagnostics.oracle import courses, summary_of
from tests.evaluate.small import ids_of, letters, numbers_of, on_numpy, stacked

LOOSE = {"participation_ratio": 1e-4, "drift": 1e-4}


def assert_summary(seen, expected):
    for name, value in expected.items():
        scale = max(abs(value), 1e-2)
        assert seen[name] == pytest.approx(value, abs=LOOSE.get(name, 1e-5) * scale), name


def only(run):
    """The one slot of a model of one layer."""
    (summary,) = run.states.values()
    return numbers_of(summary)


@pytest.mark.parametrize(("name", "streams"), [("GRU reset before 7-5", 7), ("LSTM 7-5", 1), ("SimpleRNN 6-4-9", 7)])
def test_each_statistic_agrees_with_a_float64_loop(numpy_of, tmp_path, name, streams):
    small, text = numpy_of(name), letters(tmp_path, 1_500)
    run = rnneval.evaluate(small.lm, text, streams=streams, check=False, segment=32)
    seen = courses(small, ids_of(text))
    assert list(run.states) == list(seen)
    for key, course in seen.items():
        assert_summary(msgspec.to_builtins(run.states[key]), summary_of(key, course, 1_500))


def test_long_texts_are_summed_up_at_fewer_positions_and_the_record_says_so(keras_of, tmp_path, monkeypatch):
    monkeypatch.setattr(states, "_FEWEST_SUMS", 300)
    small, text = keras_of("LSTM 7-5"), tmp_path / "documents.txt"
    rng = np.random.default_rng(3)
    text.write_text("\n\n".join("".join(rng.choice(list("abcdefg "), n)) for n in (290, 601, 99, 510)))
    ids, starts = ids_of(text), [0, 292, 895, 996]
    assert len(ids) == 1_506
    run = rnneval.evaluate(small.lm, text, documents="blank-line", streams=4, segment=16, check=False)
    assert {summary.every for summary in run.states.values()} == {4}  # 1,506 ≥ 2 · 2 · 300, and not 2 · 4 · 300
    for key, course in courses(small, ids, starts).items():
        assert_summary(msgspec.to_builtins(run.states[key]), summary_of(key, course, 603, every=4))
    traced = trace(small.lm, text, documents="blank-line", check=False)
    for key, course in courses(small, ids, starts).items():
        assert_summary(msgspec.to_builtins(traced.states[key]), summary_of(key, course, 603))


def test_a_model_that_does_not_forget_is_summed_up_after_its_repair(tmp_path):
    small, text = on_numpy(stacked("GRU", (6,), scale=8.0)), letters(tmp_path, 1_000)
    run = rnneval.evaluate(small.lm, text, streams=5, segment=20, check=False)
    assert run.streams.passes > 1
    one = rnneval.evaluate(small.lm, text, streams=1, segment=20, check=False)
    for name, value in only(one).items():
        assert only(run)[name] == pytest.approx(value, rel=2e-3, abs=1e-5), name


def test_dead_and_duplicated_units_are_counted(tmp_path):
    small = stacked("GRU", (8,))
    layer = small.lm.model.layers[1]
    kernel, recurrent, bias = layer.get_weights()
    for part in range(3):
        at = 8 * part
        kernel[:, at + 1], recurrent[:, at + 1], bias[:, at + 1] = kernel[:, at], recurrent[:, at], bias[:, at]
        kernel[:, at + 2], recurrent[:, at + 2], bias[:, at + 2] = 0, 0, 0
    layer.set_weights([kernel, recurrent, bias])
    state = only(rnneval.evaluate(on_numpy(small).lm, letters(tmp_path, 900), check=False))
    assert state["dead"] == pytest.approx(1 / 8)
    assert state["duplicated"] == pytest.approx(2 / 8)


def test_no_states_leaves_them_out_and_changes_nothing_else(numpy_of, tmp_path):
    small, text = numpy_of("GRU 8"), letters(tmp_path, 700)
    with_states = rnneval.evaluate(small.lm, text, check=False)
    without = rnneval.evaluate(small.lm, text, check=False, states=False)
    assert without.states is None
    assert without.total_nats == with_states.total_nats


def test_a_disk_that_is_full_is_one_line(monkeypatch):
    monkeypatch.setattr(losses, "_IN_MEMORY", 100)
    with pytest.raises(TextError, match=r"cannot hold .* bytes of losses: .*: set TMPDIR to a folder with more room"):
        losses.Observations(Mock(output_kind="logits"), 0, 1 << 55)
