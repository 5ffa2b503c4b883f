import math

import pytest

from rnneval.errors import UsageError
from rnneval.gates import NamedRecord, gate, judge
from rnneval.gates.histories import ABSENT
from rnneval.gates.limits import look_up, parse_limit
from rnneval.records import Wiring
from tests.gates.synthetic import ar_losses, make_run

RUN = make_run(ar_losses(128))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("perplexity", RUN.scores["perplexity"].value),
        ("scores.perplexity.value", RUN.scores["perplexity"].value),
        ("scores.perplexity", RUN.scores["perplexity"].value),
        ("states.gru.h.saturated", 0.1),
        ('states."gru".h.saturated', 0.1),
        ('states."gru.h".saturated', 0.1),
        ("tokens.unknown", 0),
        ("valid", True),
        ("checkpoint.layers.0.units", 8),
        ("timing.device", "CPU"),
        ("blocks.largest_nats_per_token", max(ar_losses(128))),
    ],
)
def test_figures_are_found_by_their_path(name, value):
    found = look_up(RUN, name).value
    assert found == (pytest.approx(value) if isinstance(value, float) else value)


def test_names_with_dots_and_brackets():
    states = {"stack[1].lstm.h": RUN.states["gru.h"]}
    run = make_run(ar_losses(128), states=states)
    assert look_up(run, 'states."stack[1].lstm".h.saturated').value == 0.1
    assert look_up(run, "states.stack[1].lstm.h.saturated").value == 0.1


@pytest.mark.parametrize("name", ["no_such", "scores", "states.gru", "blocks.bytes", "blocks.sums.nats", "", "."])
def test_what_is_no_figure_is_absent(name):
    assert look_up(RUN, name).value is ABSENT


@pytest.mark.parametrize(
    ("limit", "seen", "holds"),
    [
        ("x<=1", 1, True),
        ("x<1", 1, False),
        ("x>=1", 1, True),
        ("x>1", 1, False),
        ("x==1", 1.0, True),
        ("x<=1", math.nan, False),
        ("x>=1", math.nan, False),
        ("x!=1", math.nan, False),
        ("x<=1", "1", False),
        ("x<=1", True, False),
        ("x==pass", "pass", True),
        ("x==true", True, True),
        ("x==true", "true", False),
        ("x!=fail", 3, False),
        ("x <= 1e-3", 0.0005, True),
    ],
)
def test_limits_fail_closed(limit, seen, holds):
    assert parse_limit(limit).holds(seen) is holds


def test_a_limit_needs_no_baseline():
    value = RUN.scores["perplexity"].value
    assert gate(RUN, require=[f"perplexity<={value + 0.1}"]).verdict == "pass"
    assert gate(RUN, require=[f"perplexity<={value - 0.1}"]).verdict == "fail"
    absent = gate(RUN, require=["states.gru.h.saturate<=5"])
    assert (absent.verdict, "did you mean states.gru.h.saturated?" in absent.reason) == ("fail", True)


def test_a_wiring_record_serves_limits_and_is_no_baseline():
    wiring = Wiring(
        verdict="pass", reason="", layers=(), flow=(), findings=(), oracles={}, declared=(), calls=4, wired_by="author"
    )
    pair = [NamedRecord(name="run.json", record=RUN), NamedRecord(name="wiring.json", record=wiring)]
    found = judge(pair, require=["verdict==pass", "calls>=2", "perplexity<=1000"])
    assert [(each.candidate, each.verdict) for each in found.comparisons] == [
        ("wiring.json", "pass"),
        ("wiring.json", "pass"),
        ("run.json", "pass"),
    ]
    assert judge(pair, pair[:1]).verdict == "pass"
    with pytest.raises(UsageError, match=r"wiring.json: is no run record"):
        judge(pair[:1], pair)
    with pytest.raises(UsageError, match="no run record as candidate"):
        judge(pair[1:], pair[:1])
