import math

import pytest

from rnneval.gates.limits import look_up, parse_limit
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
