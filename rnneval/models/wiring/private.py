"""The wiring probe's use of private parts of TensorFlow, with a test that they still work.

`tensorflow.python.framework.op_callbacks` reports every op that runs. It is not public: `hook_fires` tests that it does
what is needed here. If it does not, the probe falls back on values and intervention.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any

import tensorflow as tf

Listener = Callable[[str, Sequence[Any], Mapping[str, Any], Sequence[Any]], None]
"""Called with op type, inputs, attributes, outputs of each op that ran eagerly."""


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Report every op that runs eagerly on this thread."""
    from tensorflow.python.framework import op_callbacks

    def callback(
        op_type: Any, inputs: Any, attributes: Any, outputs: Any, *_: Any, graph: Any = None, **__: Any
    ) -> None:
        if graph is None:
            name = op_type.decode() if isinstance(op_type, bytes) else op_type
            listener(name, inputs, dict(zip((attributes or ())[::2], (attributes or ())[1::2], strict=False)), outputs)

    op_callbacks.add_op_callback(callback)
    try:
        yield
    finally:
        op_callbacks.remove_op_callback(callback)


def hook_fires() -> bool:
    """Return whether op callbacks still report an op with its inputs and outputs."""
    seen: list[tuple[str, int, int]] = []
    try:
        with listening(lambda name, inputs, _, outputs: seen.append((name, id(inputs[0]), id(outputs[0])))):
            given = tf.constant([1.0, 2.0])
            result = tf.tanh(given)
    except (ImportError, AttributeError, TypeError):
        return False
    return ("Tanh", id(given), id(result)) in seen


def is_eager(thing: Any) -> bool:
    """Return whether an object is a tensor with a value (or a variable), and not a symbol of a graph being built."""
    return hasattr(thing, "numpy") and not isinstance(thing, SymbolicTensor)


SymbolicTensor: Any = getattr(getattr(tf, "__internal__", None), "SymbolicTensor", ())


def original_line(frame: FrameType) -> tuple[str, int] | None:
    """Return the author's own file and line for a frame of code that AutoGraph generated; None if they are unknown."""
    outer: FrameType | None = frame
    while outer is not None:
        converted = outer.f_locals.get("converted_f") or outer.f_locals.get("ag_fn")
        source_map = getattr(converted, "ag_source_map", None)
        for location, origin in (source_map or {}).items():
            if location.filename == frame.f_code.co_filename and location.lineno == frame.f_lineno:
                return origin.loc.filename, origin.loc.lineno
        outer = outer.f_back
    return None


def traced_signatures(function: Any) -> list[Any]:
    """Return the input signatures of every trace that a `tf.function` holds."""
    try:
        return [concrete.structured_input_signature for concrete in function._list_all_concrete_functions()]
    except AttributeError:
        return []


def is_traced_function(thing: Any) -> bool:
    """Return whether an object is a `tf.function`."""
    return hasattr(thing, "get_concrete_function") and hasattr(thing, "python_function")
