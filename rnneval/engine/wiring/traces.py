"""Whether a `tf.function` on `call` keeps weights that the model no longer has."""

from typing import Any

import numpy as np
import tensorflow as tf

from rnneval.engine.wiring.private import is_traced_function, traced_signatures
from rnneval.engine.wiring.probe import brief
from rnneval.engine.wiring.snapshot import Snapshot, numbers_in
from rnneval.wiring.facts import Trace


def traced_call(model: Any) -> Any:
    """The model's `call` where it is a `tf.function`; else None."""
    call = getattr(model, "call", None)
    return call if is_traced_function(call) else None


def trap_of(model: Any) -> str:
    """What would freeze the weights of a model that is not built yet; empty where nothing would."""
    if traced_call(model) is None or getattr(model, "built", True):
        return ""
    return f"{type(model).__name__}.call"


def compare_traces(model: Any, trap: str) -> Trace:
    """Alter the weights, and compare each trace that the model came with to an eager run of the same inputs."""
    function = traced_call(model)
    signatures = traced_signatures(function) if function is not None else []
    if not signatures:
        return Trace(trap=trap)
    snapshot = Snapshot(model)
    worst, uncompared = 0.0, ""
    try:
        for variable in snapshot.variables:
            values = numbers_in(variable)
            if np.issubdtype(values.dtype, np.floating):
                variable.assign(values * 1.5 + 0.01)
        for signature in signatures:
            try:
                worst = max(worst, _difference(function, signature))
            except Exception as error:  # the author's code may raise anything
                uncompared = brief(error)
    finally:
        snapshot.restore()
    return Trace(difference=worst, uncompared=uncompared, trap=trap)


def _difference(function: Any, signature: Any) -> float:
    positional, named = tf.nest.map_structure(_filled, signature)
    results = []
    before = tf.config.functions_run_eagerly()
    for eager in (False, True):
        tf.config.run_functions_eagerly(eager)
        try:
            results.append(tf.nest.flatten(function(*positional, **named))[0])
        finally:
            tf.config.run_functions_eagerly(before)
    traced, fresh = (np.asarray(result).astype(np.float64) for result in results)
    return float(np.abs(traced - fresh).max() / max(np.abs(fresh).max(), 1e-30))


def _filled(spec: Any) -> Any:
    if not isinstance(spec, tf.TensorSpec):
        return spec
    shape = [size or 2 for size in (spec.shape.as_list() if spec.shape.rank is not None else [2, 2])]
    return tf.ones(shape, spec.dtype)
