"""Comparing a `tf.function` with the same code run eagerly: a trace keeps the values that Python read to make it.

Two comparisons find this. `compare_traces` alters the weights, and runs each trace that the model came with.
`compare_calls` calls the model as its user does, and once more eagerly.
"""

import inspect
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import tensorflow as tf

from rnneval.errors import type_and_message
from rnneval.models.keras.layers import OWN_ATTRIBUTES, walk_below
from rnneval.models.keras.lm import eagerly
from rnneval.wiring.difference import EPSILON, as_logits, context_spread, differences
from rnneval.wiring.facts import Spot, Trace
from rnneval.wiring.keras.names import frames_of_call
from rnneval.wiring.keras.probe import listening
from rnneval.wiring.keras.subject import Ready, Snapshot

_FUNCTION = re.compile(r"__(?:inference|forward)_(.+)_\d+|(?:Stateful)?PartitionedCall")
"""The type of the op that runs a trace, with the name of its function."""
_AGREE = 1e-3  # of the context spread: XLA and eager code may round differently
_SAME_TRACE = 1e-4  # of the median value: one large logit (a mask) hides nothing
_OLD_WEIGHTS = (
    "Traced and eager logits differ after the weights changed; no layer is named, since the trace is of the whole call"
)


def compare_traces(model: Any) -> Trace:
    """Return whether a `tf.function` on `call` keeps weights that the model no longer has.

    The weights are altered, and each trace that the model came with is compared to an eager run of the same inputs.
    Where the model is not built yet, its `call` is a trap: it would freeze the weights.
    """
    function: Any = getattr(model, "call", None)
    if not _is_function(function):
        return Trace()
    trap = "" if getattr(model, "built", True) else f"{type(model).__name__}.call"
    # A private part of TensorFlow.
    traces = function._list_all_concrete_functions() if hasattr(function, "_list_all_concrete_functions") else []
    if not traces:
        return Trace(trap=trap)
    snapshot, frozen, uncompared = Snapshot(model), False, ""
    try:
        for variable, values in snapshot.variables:
            if np.issubdtype(values.dtype, np.floating):
                variable.assign(values * 1.5 + 0.01)
        altered = Snapshot(model)
        for each in traces:
            try:
                frozen |= not _agrees(function, each.structured_input_signature, altered)
            except Exception as error:  # the author's code may raise anything
                uncompared = type_and_message(error)
    finally:
        snapshot.restore()
    return Trace(frozen=((_OLD_WEIGHTS, Spot()),) if frozen else (), uncompared=uncompared, trap=trap)


def _agrees(function: Any, signature: Any, begin: Snapshot) -> bool:
    """Return whether a traced function, and the same function run eagerly, give the same for ones."""

    def filled(spec: Any) -> Any:
        if not isinstance(spec, tf.TensorSpec):
            return spec
        return tf.ones([size or 2 for size in (spec.shape if spec.shape.rank is not None else [2, 2])], spec.dtype)

    positional, named = tf.nest.map_structure(filled, signature)
    results = []
    for eager in (False, True):
        begin.restore()  # a state in a variable goes on from one call to the next
        with eagerly(eager):
            results.append(np.asarray(tf.nest.flatten(function(*positional, **named))[0]).astype(np.float64))
    traced, wanted = results
    if traced.shape != wanted.shape:
        return False
    size = np.abs(wanted)
    return bool((np.abs(traced - wanted) <= 4 * EPSILON * size + _SAME_TRACE * np.median(size)).all())


def compare_calls(ready: Ready, seed: int, trace: Trace) -> Trace:
    """Add to `trace` whether the model, called as it is, gives the logits of the same calls run eagerly.

    Nothing is added where no trace ran, and where equal calls differ anyway.
    """
    pieces = ready.subject(seed).pieces
    ran: list[tuple[str, Spot]] = []

    def listen(name: str, *_: Any) -> None:
        found = _FUNCTION.fullmatch(name) if not ran else None
        if found:
            ran.append((found[1] or "", frames_of_call(sys._getframe(1))[1]))

    called, problem = None, ""
    with eagerly(False), listening(listen):
        try:
            called = ready.run(pieces)
        except Exception as error:  # the author's code may raise anything
            problem = type_and_message(error)
    if not ran and not problem:
        return trace
    try:
        ready.start()
        before = _python_values(ready.model)
        eager = ready.read(pieces)
        after = _python_values(ready.model)
        again = ready.run(pieces)
    except Exception:  # it raises in either way: nothing that a trace does
        return trace
    if called is None:
        return replace(trace, uncompared=f"called as a tf.function, the model raises {problem}")
    by_call = _differences(called, eager)
    late = next((call for call, difference in enumerate(by_call) if not difference <= _AGREE), None)
    if late is None or not max(_differences(eager, again)) <= _AGREE:
        return trace
    changed = [name for name, value in after.items() if name not in before or before[name] != value]
    function, spot = ran[0]
    seen = (
        f"Called as it is, with a tf.function{function and f' ({function})'}, the model gives other logits than run "
        f"eagerly, from call {late} on ({max(by_call):.2g} of the context spread)"
    )
    seen += f"; Python values that change between calls: {', '.join(changed)}" if changed else ""
    call: Any = getattr(ready.model, "call", None)
    code = getattr(inspect.unwrap(call.python_function), "__code__", None) if _is_function(call) else None
    if code and not spot.file:  # the place at which the author defined it
        spot = Spot(file=code.co_filename, line=code.co_firstlineno)
    return replace(trace, frozen=(*trace.frozen, (seen, spot)))


def _differences(one: Sequence[Any], other: Sequence[Any]) -> list[float]:
    """Return the largest difference of each call, in units of the context spread of the other's logits."""
    a, b = (as_logits([logits.reshape(len(logits), -1, logits.shape[-1]) for logits in each]) for each in (one, other))
    spread = context_spread(np.concatenate(b, axis=1))
    return [float(differences(*pair, spread).max(initial=0.0)) for pair in zip(a, b, strict=True)]


def _is_function(function: Any) -> bool:
    return hasattr(function, "get_concrete_function") and hasattr(function, "python_function")


def _python_values(model: Any) -> Mapping[str, Any]:
    """Return the plain values in attributes of the model and its layers, which a trace reads once."""
    return {
        f"{path}.{name}".removeprefix("."): value
        for path, thing in [("", model), *walk_below(model)]
        for name, value in getattr(thing, "__dict__", {}).items()
        if isinstance(value, bool | int | float | str | None)
        and not (name in OWN_ATTRIBUTES or name.startswith("_self_"))
    }
