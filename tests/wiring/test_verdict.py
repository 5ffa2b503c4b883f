"""The verdict and the record, from facts written by hand."""

from dataclasses import replace

import pytest

from rnneval.errors import UsageError
from rnneval.wiring.facts import TRAINING, StateSource, WiringFacts, parse_declarations, require_known
from rnneval.wiring.judging import wiring_of
from tests.wiring.made_up import arriving, event, lstm, oracle, stack


def test_everything_carried_and_clean_passes():
    wiring = wiring_of(stack())
    assert wiring.verdict == "pass"
    assert {(f.into.layer, f.source if isinstance(f.source, str) else f.source.layer, f.kind) for f in wiring.flow} == {
        ("gru", "initial", "initial"), ("gru_2", "initial", "initial"),
        ("gru", "gru", "carried"), ("gru_2", "gru_2", "carried"),
    }  # fmt: skip
    assert {f.calls for f in wiring.flow if f.kind == "carried"} == {(1, 2, 3)}


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        (replace(stack(), units=(), events=(), arrivals=()), "no recurrent layer or cell ran"),
        (arriving(stack(), 1, unknown="went through While"), "went through While"),
        (oracle(stack(), "chunk", "inconclusive"), "oracle chunk"),
        (
            arriving(oracle(stack(), "repeat", "fail"), 0, from_call=0, random=True),
            "different logits for the same calls",
        ),
        (WiringFacts(failure="the model raises in call 2: ValueError"), "the model raises in call 2"),
    ],
)
def test_what_could_not_be_seen_is_inconclusive_with_the_reason(facts, reason):
    wiring = wiring_of(facts)
    assert wiring.verdict == "inconclusive"
    assert reason in wiring.reason


def test_print_shows_the_matrix_with_its_diagonal_and_what_is_off_it():
    wiring = wiring_of(arriving(stack(), 0, sources=lambda call: frozenset({StateSource(event(1, call - 1), 0)})))
    rows = {line.split()[0]: line for line in str(wiring).splitlines() if line.startswith("gru")}
    assert "[ ]" in rows["gru.h"]
    assert "✗ 1–3" in rows["gru.h"]
    assert "[● 1–3]" in rows["gru_2.h"]
    assert "✗" in wiring._repr_html_()


def test_declarations_are_read_and_refused():
    declared = parse_declarations(["causal=false", "stateless=a", "stateless = b", "mixed=c", "shared=d", "chunked=e"])
    assert (declared.causal, declared.stateless, declared.chunked) == (False, {"a", "b"}, {"e"})
    assert parse_declarations(["chunked=true"]).depends_on_cuts
    for wrong in ("causal=perhaps", "stateless", "stateless=", "frozen=x"):
        with pytest.raises(UsageError, match="allowed are causal=false"):
            parse_declarations([wrong])
    with pytest.raises(UsageError, match="no layer a, b, c, d, e; its recurrent layers are: gru, gru_2"):
        require_known(declared, stack().units)


def in_training(*runs):
    return replace(stack(), variants={TRAINING: runs})


def test_a_fault_of_training_alone_is_told_with_its_setting():
    crossed = arriving(stack(), 0, sources=lambda call: frozenset({StateSource(event(1, call - 1), 0)}))
    wiring = wiring_of(in_training(crossed, crossed, crossed))
    assert (wiring.verdict, wiring.reason) == ("fail", "crossed-state")
    assert wiring.findings[0].message.startswith("Only with training=True: gru gets back the state of gru_2")
    # Seen in evaluation too: told once, without the setting.
    both = wiring_of(replace(crossed, variants=in_training(crossed).variants))
    assert [f.message.startswith("Only") for f in both.findings if f.rule == "crossed-state"] == [False]


def test_what_random_numbers_do_once_in_training_is_no_fault():
    forgot = arriving(stack(), 1, sources=frozenset(), born=lambda call: call)
    noisy = arriving(stack(), 0, noisy=True)
    assert wiring_of(in_training(forgot, stack(), forgot)).verdict == "pass"
    assert wiring_of(in_training(forgot, forgot, forgot)).verdict == "fail"
    assert wiring_of(in_training(noisy, noisy, noisy)).verdict == "pass"


def test_the_cells_of_one_layer_are_crossed_and_the_parts_of_one_cell_swapped():
    unit = replace(lstm().units[0], slots=("cells[0].h", "cells[1].h"))
    exchanged = arriving(lstm(), 0, slot=0, sources=lambda call: frozenset({StateSource(call - 1, 1)}))
    assert [f.rule for f in wiring_of(exchanged).findings] == ["swapped-slots"]
    (finding,) = wiring_of(replace(exchanged, units=(unit,))).findings
    assert finding.rule == "crossed-state"
    assert "another cell of the same layer (lstm.cells[0].h ← lstm.cells[1].h" in finding.message
