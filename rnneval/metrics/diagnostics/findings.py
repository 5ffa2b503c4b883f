"""Rules over the diagnostics of a model: each a pure function with a default threshold and a page."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from rnneval.errors import UsageError
from rnneval.metrics.gradient_norms import together
from rnneval.pages import page
from rnneval.records.gradients import Gradients
from rnneval.records.run import Run, StateSummary
from rnneval.records.wiring import Finding


@dataclass(frozen=True, kw_only=True)
class Diagnosed:
    """Input of the rules; parts that were not measured are None."""

    run: Run | None = None
    gradients: Gradients | None = None
    truncation: int | None = None
    """Tokens through which the model was trained back in time, where known."""

    @property
    def states(self) -> Mapping[str, StateSummary]:
        """Summaries of the states, by `LAYER.SLOT`."""
        return (self.run.states if self.run else None) or {}


Matches = Iterator[tuple[str | None, str]]
"""Findings of a rule: the layer, if it is one of a layer, and the message."""
Rule = Callable[[Diagnosed, float], Matches]

THRESHOLDS: dict[str, float] = {}
"""Default threshold of each rule."""
_RULES: dict[str, Rule] = {}


def find(diagnosed: Diagnosed, thresholds: Mapping[str, float]) -> tuple[Finding, ...]:
    """Return all findings, in the order of the names of rules."""
    return tuple(
        Finding(rule=name, severity="warning", layer=layer, message=message, help=page(name).text)
        for name, rule in sorted(_RULES.items())
        for layer, message in rule(diagnosed, thresholds.get(name, THRESHOLDS[name]))
    )


def require_known(thresholds: Mapping[str, float]) -> None:
    """Refuse a threshold of a rule that does not exist."""
    for name in thresholds:
        if name not in THRESHOLDS:
            allowed = ", ".join(f"{rule}={value:g}" for rule, value in sorted(THRESHOLDS.items()))
            raise UsageError(f"--threshold {name}: there is no such rule; there are (with their defaults) {allowed}")


def _rule(threshold: float) -> Callable[[Rule], Rule]:
    """Make a function a rule, which gets the function's name with hyphens."""

    def add(function: Rule) -> Rule:
        name = function.__name__.replace("_", "-")
        THRESHOLDS[name], _RULES[name] = threshold, function
        return function

    return add


def _layer(key: str) -> str:
    return key.rpartition(".")[0]


@_rule(0.05)
def dead_units(diagnosed: Diagnosed, threshold: float) -> Matches:
    """Yield states with too many units that do not move."""
    for key, state in diagnosed.states.items():
        if not state.dead <= threshold:
            yield _layer(key), f"{key}: {100 * state.dead:.0f} % of the units never move"


@_rule(0.05)
def duplicated_units(diagnosed: Diagnosed, threshold: float) -> Matches:
    """Yield states with too many twins."""
    for key, state in diagnosed.states.items():
        if state.duplicated is not None and not state.duplicated <= threshold:
            yield _layer(key), f"{key}: {100 * state.duplicated:.0f} % of the units have a twin (|r| > 0.999)"


@_rule(0.5)
def drifting_norm(diagnosed: Diagnosed, threshold: float) -> Matches:
    """Yield states whose norm drifts."""
    for key, state in diagnosed.states.items():
        if not abs(state.drift) <= threshold:
            drift = f"the norm changes by {100 * state.drift:+.0f} % of its mean along the text"
            yield _layer(key), f"{key}: {drift}"


@_rule(0.5)
def saturated_layer(diagnosed: Diagnosed, threshold: float) -> Matches:
    """Yield states and gates at their bounds."""
    for key, state in diagnosed.states.items():
        if state.saturated is not None and not state.saturated <= threshold:
            yield _layer(key), f"{key}: {100 * state.saturated:.0f} % of the state is saturated"
    for key, gate in ((diagnosed.run.gates if diagnosed.run else None) or {}).items():
        share = gate.saturated_low + gate.saturated_high
        if not share <= (1 + threshold) / 2:
            yield _layer(key), f"{key}: the gate is saturated at {100 * share:.0f} % of position × unit"


@_rule(0.0)
def unstable_state(diagnosed: Diagnosed, threshold: float) -> Matches:
    """Yield layers with a positive exponent."""
    for name, exponent in ((diagnosed.run.lyapunov if diagnosed.run else None) or {}).items():
        if name != "stack" and not exponent.value - 2 * exponent.standard_error <= threshold:
            growth = f"{exponent.value:+.3g} ± {exponent.standard_error:.2g} nats a token"
            yield name, f"{name}: a small change grows by {growth}"


@_rule(0.01)
def unused_layer(diagnosed: Diagnosed, threshold: float) -> Matches:
    """Yield layers above the first that hardly move, or whose gradient is almost 0."""
    run, gradients = diagnosed.run, diagnosed.gradients
    for layer in run.checkpoint.layers[1:] if run and run.checkpoint else ():
        state = diagnosed.states.get(f"{layer.name}.{layer.slots[0]}")
        if state is not None and not state.speed > threshold * state.norm_mean:
            moves = f"its state moves by {state.speed:.2g} a token at a norm of {state.norm_mean:.2g}"
            yield layer.name, f"{layer.name}: {moves}"
    if gradients is None:
        return
    layers, variables = [layer.name for layer in gradients.checkpoint.layers], gradients.variables.values()
    norms = {name: float(together([v.norm_mean for v in variables if v.layer == name])) for name in layers}
    most = max(norms.values(), default=0.0)
    for name in layers[1:]:
        if most > 0 and not norms[name] > threshold * most:
            yield name, f"{name}: its gradient is {norms[name]:.2g}, that of another layer {most:.2g}"


@_rule(100.0)
def exploding_gradients(diagnosed: Diagnosed, threshold: float) -> Matches:
    """Yield states whose gradient grows back through time."""
    for key, through in diagnosed.gradients.through_time.items() if diagnosed.gradients else ():
        most = max(through.median)
        if not most <= threshold:
            back = f"{through.median.index(most)} tokens back"
            yield _layer(key), f"{key}: the gradient grows to {most:.3g} times its size over {back}"


@_rule(5.0)
def vanishing_gradients(diagnosed: Diagnosed, threshold: float) -> Matches:
    """Yield states whose gradient vanishes too soon."""
    for key, through in diagnosed.gradients.through_time.items() if diagnosed.gradients else ():
        if through.gone is not None and not through.gone >= threshold:
            yield _layer(key), f"{key}: 99 % of the gradient is gone after {through.gone} tokens"


@_rule(0.01)
def short_truncation(diagnosed: Diagnosed, threshold: float) -> Matches:
    """Yield gradients and contexts that reach further than training did."""
    length = diagnosed.truncation
    if length is None:
        return
    for key, through in diagnosed.gradients.through_time.items() if diagnosed.gradients else ():
        reach = len(through.median) - 1 if through.gone is None else through.gone
        if reach > length:
            yield _layer(key), f"{key}: the gradient reaches {reach} tokens back, training went through {length}"
    curve = diagnosed.run.context if diagnosed.run else None
    for k, nats in zip(curve.lengths, curve.nats, strict=True) if curve else ():
        more = nats - curve.whole if curve else 0.0
        if k >= length and not more <= threshold:
            yield None, f"{k} tokens of context cost {more:.3g} nats a token more than all of it"
