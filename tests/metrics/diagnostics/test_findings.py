"""Each rule with a case that fires and one that stays silent, its default in its text, and a threshold that is set."""

from types import SimpleNamespace as Plain

import pytest

from rnneval.errors import UsageError
from rnneval.metrics.diagnostics.findings import find, require_known
from rnneval.records.run import ContextCurve, Exponent, GateSummary, StateSummary, ThroughTime, VariableGradient

GOOD = {
    "norm_mean": 4.0, "norm_max": 5.0, "rms": 0.4, "mean": 0.0, "lowest": -1.0, "highest": 1.0, "saturated": 0.1,
    "dead": 0.0, "duplicated": 0.0, "participation_ratio": 9.0, "speed": 3.0, "drift": 0.01,
}  # fmt: skip
LAYERS = (Plain(name="one", slots=("h",)), Plain(name="two", slots=("h",)))


def run_of(upper=None, **more):
    states = {"one.h": StateSummary(**GOOD), "two.h": StateSummary(**GOOD | (upper or {}))}
    fields = {"states": states, "gates": None, "lyapunov": None, "context": None, "checkpoint": Plain(layers=LAYERS)}
    return Plain(**fields | more)


def gate(low, high):
    return {"one.update": GateSummary(mean=0.5, saturated_low=low, saturated_high=high, time_constant=2.0, every=16)}


def back(median, gone):
    course = ThroughTime(median=median, low=median, high=median, base=0, decay=0.9, gone=gone)
    return Plain(through_time={"two.h": course}, variables={}, checkpoint=Plain(layers=LAYERS))


def variables(upper):
    found = {
        f"{layer}.kernel": VariableGradient(
            layer=layer, variable="kernel", norm_mean=norm, norm_max=norm, norm_of_mean=norm, weight_norm=1.0
        )
        for layer, norm in (("one", 1.0), ("two", upper))
    }
    return Plain(through_time={}, variables=found, checkpoint=Plain(layers=LAYERS))


def curve(at_100):
    return ContextCurve(lengths=(10, 100), nats=(2.0, at_100), extra_error=(0.01, 0.01), whole=1.5, anchors=9)


CASES = {
    "exploding-gradients": [
        ({"gradients": back((1.0, 500.0), None)}, {"gradients": back((1.0, 0.5), None)}),
    ],
    "vanishing-gradients": [
        ({"gradients": back((1.0, 0.5, 0.001), 2)}, {"gradients": back((1.0, 0.9), None)}),
    ],
    "saturated-layer": [
        ({"run": run_of({"saturated": 0.8})}, {"run": run_of()}),
        ({"run": run_of(gates=gate(0.5, 0.4))}, {"run": run_of(gates=gate(0.3, 0.3))}),
    ],
    "dead-units": [({"run": run_of({"dead": 0.2})}, {"run": run_of()})],
    "duplicated-units": [({"run": run_of({"duplicated": 0.2})}, {"run": run_of()})],
    "drifting-norm": [({"run": run_of({"drift": -0.9})}, {"run": run_of()})],
    "unused-layer": [
        ({"run": run_of({"speed": 0.001})}, {"run": run_of()}),
        ({"gradients": variables(1e-5)}, {"gradients": variables(0.2)}),
    ],
    "short-truncation": [
        (
            {"run": run_of(context=curve(1.6)), "truncation": 100},
            {"run": run_of(context=curve(1.501)), "truncation": 100},
        ),
        (
            {"gradients": back((1.0,) * 50, 40), "truncation": 20},
            {"gradients": back((1.0,) * 50, 10), "truncation": 20},
        ),
    ],
    "unstable-state": [
        (
            {"run": run_of(lyapunov={"one": Exponent(value=0.1, standard_error=0.01, steps=900)})},
            {"run": run_of(lyapunov={"one": Exponent(value=0.1, standard_error=0.06, steps=900)})},
        )
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("rule", "fires", "silent"), [(rule, *pair) for rule, pairs in CASES.items() for pair in pairs]
)
def test_a_rule_fires_and_stays_silent(rule, fires, silent):
    assert rule in {found.rule for found in find({}, **fires)}
    assert rule not in {found.rule for found in find({}, **silent)}


def test_a_threshold_can_be_set():
    assert not find({"dead-units": 0.3}, run=run_of({"dead": 0.2}))
    with pytest.raises(UsageError, match=r"dead-units=0\.05"):
        require_known({"dead": 1.0})
