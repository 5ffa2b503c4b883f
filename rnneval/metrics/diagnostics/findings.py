"""Rules over the diagnostics of a model: each has a default threshold and a page."""

from collections.abc import Iterator, Mapping

from rnneval.errors import UsageError
from rnneval.metrics.gradient_norms import together
from rnneval.pages import page
from rnneval.records.run import Gradients, Run
from rnneval.records.wiring import Finding

THRESHOLDS: Mapping[str, float] = {
    "dead-units": 0.05,
    "drifting-norm": 0.5,
    "duplicated-units": 0.05,
    "exploding-gradients": 100.0,
    "saturated-layer": 0.5,
    "short-truncation": 0.01,
    "unstable-state": 0.0,
    "unused-layer": 0.01,
    "vanishing-gradients": 5.0,
}
"""Default threshold of each rule."""
RuleMatch = tuple[str, str | None, str]
"""The rule, the layer if it is one of a layer, and the message. `not a <= b` also holds where `a` is not a number."""


def find(
    thresholds: Mapping[str, float],
    *,
    run: Run | None = None,
    gradients: Gradients | None = None,
    truncation: int | None = None,
) -> tuple[Finding, ...]:
    """Return all findings in a traced run, or in gradients, in the order of the names of rules.

    `truncation` is the number of tokens through which the model was trained back in time, where it is known.
    """
    limits = {**THRESHOLDS, **thresholds}
    matches: list[RuleMatch] = []
    if gradients is not None:
        matches += [*_through_time(gradients, limits, truncation), *_of_layers(gradients, limits)]
    if run is not None:
        matches += [*_of_states(run, limits), *_of_context(run, limits, truncation)]
    return tuple(
        Finding(rule=rule, severity="warning", layer=layer, message=message, help=page(rule).text)
        for rule, layer, message in sorted(matches, key=lambda match: match[0])
    )


def require_known(thresholds: Mapping[str, float]) -> None:
    """Refuse a threshold of a rule that does not exist."""
    for name in thresholds:
        if name not in THRESHOLDS:
            allowed = ", ".join(f"{rule}={value:g}" for rule, value in THRESHOLDS.items())
            raise UsageError(f"--threshold {name}: there is no such rule; there are (with their defaults) {allowed}")


def _layer(key: str) -> str:
    return key.rpartition(".")[0]


def _of_states(run: Run, limits: Mapping[str, float]) -> Iterator[RuleMatch]:
    states = run.states or {}
    for key, state in states.items():
        figures = {
            "dead-units": (state.dead, "{:.0f} % of the units never move"),
            "duplicated-units": (state.duplicated, "{:.0f} % of the units have a twin (|r| > 0.999)"),
            "drifting-norm": (state.drift, "the norm changes by {:+.0f} % of its mean along the text"),
            "saturated-layer": (state.saturated, "{:.0f} % of the state is saturated"),
        }
        for rule, (share, said) in figures.items():
            if share is not None and not abs(share) <= limits[rule]:
                yield rule, _layer(key), f"{key}: {said.format(100 * share)}"
    for key, gate in (run.gates or {}).items():
        share = gate.saturated_low + gate.saturated_high
        if not share <= (1 + limits["saturated-layer"]) / 2:
            said = f"{key}: the gate is saturated at {100 * share:.0f} % of position × unit"
            yield "saturated-layer", _layer(key), said
    for name, exponent in (run.lyapunov or {}).items():
        value, error = exponent.value, exponent.standard_error
        if name != "stack" and not value - 2 * error <= limits["unstable-state"]:
            yield "unstable-state", name, f"{name}: a small change grows by {value:+.3g} ± {error:.2g} nats a token"
    for layer in run.checkpoint.layers[1:] if run.checkpoint else ():
        first = states.get(f"{layer.name}.{layer.slots[0]}")
        if first is not None and not first.speed > limits["unused-layer"] * first.norm_mean:
            moves = f"its state moves by {first.speed:.2g} a token at a norm of {first.norm_mean:.2g}"
            yield "unused-layer", layer.name, f"{layer.name}: {moves}"


def _of_context(run: Run, limits: Mapping[str, float], truncation: int | None) -> Iterator[RuleMatch]:
    """Yield contexts that reach further than training did."""
    if run.context is None or truncation is None:
        return
    for k, nats in zip(run.context.lengths, run.context.nats, strict=True):
        more = nats - run.context.whole
        if k >= truncation and not more <= limits["short-truncation"]:
            yield "short-truncation", None, f"{k} tokens of context cost {more:.3g} nats a token more than all of it"


def _of_layers(gradients: Gradients, limits: Mapping[str, float]) -> Iterator[RuleMatch]:
    """Yield layers above the first whose gradient is almost 0."""
    layers, variables = [layer.name for layer in gradients.checkpoint.layers], gradients.variables.values()
    norms = {name: float(together([v.norm_mean for v in variables if v.layer == name])) for name in layers}
    most = max(norms.values(), default=0.0)
    for name in layers[1:]:
        if most > 0 and not norms[name] > limits["unused-layer"] * most:
            message = f"{name}: its gradient is {norms[name]:.2g}, that of another layer {most:.2g}"
            yield "unused-layer", name, message


def _through_time(gradients: Gradients, limits: Mapping[str, float], truncation: int | None) -> Iterator[RuleMatch]:
    for key, through in gradients.through_time.items():
        most = max(through.median)
        if not most <= limits["exploding-gradients"]:
            message = f"the gradient grows to {most:.3g} times its size over {through.median.index(most)} tokens back"
            yield "exploding-gradients", _layer(key), f"{key}: {message}"
        if through.gone is not None and not through.gone >= limits["vanishing-gradients"]:
            message = f"{key}: 99 % of the gradient is gone after {through.gone} tokens"
            yield "vanishing-gradients", _layer(key), message
        reach = len(through.median) - 1 if through.gone is None else through.gone
        if truncation is not None and reach > truncation:
            message = f"{key}: the gradient reaches {reach} tokens back, training went through {truncation}"
            yield "short-truncation", _layer(key), message
