"""The listings of the question and the answer, adapted to Keras 3 and nothing else."""

import inspect
import linecache

import pytest

from rnneval.evaluate.check import check
from tests.wiring.corpus import origin


def test_the_single_layer_of_the_tutorial_passes():
    wiring = check(origin.tutorial())
    assert (wiring.verdict, wiring.findings) == ("pass", ())


def test_the_answers_stack_passes_with_layers_of_different_widths():
    wiring = check(origin.answer())
    assert (wiring.verdict, wiring.findings) == ("pass", ())
    carried = {(flow.into.layer, flow.source.layer) for flow in wiring.flow if flow.kind == "carried"}
    assert carried == {("gru1", "gru1"), ("gru2", "gru2")}


@pytest.mark.sampled(2)
@pytest.mark.parametrize("build", [origin.question, origin.question_guarded])
def test_the_questions_stack_fails_at_the_line_of_the_call(build):
    wiring = check(build())
    assert wiring.verdict == "fail"
    first, second = wiring.findings[:2]
    assert (first.rule, first.layer, first.source_layer) == ("shared-state", "gru_2", "gru")
    assert (second.rule, second.layer, second.source_layer) == ("crossed-state", "gru", "gru_2")
    assert first.file == inspect.getsourcefile(origin)
    assert "self.gru_2(x, initial_state=states" in linecache.getline(first.file, first.line)
    assert "`x, gru_2_state = self.gru_2(x, initial_state=gru_2_state, training=training)`" in first.help
