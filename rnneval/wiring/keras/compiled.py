"""Keras' own recurrent layers as graphs, while a model is called many times."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import keras
import tensorflow as tf

from rnneval.models.keras.state_tap import LayerResult, LayerRun, Proceed, tap

_LAYERS = (keras.layers.RNN, keras.layers.GRU, keras.layers.LSTM, keras.layers.SimpleRNN)
_CELLS = (keras.layers.GRUCell, keras.layers.LSTMCell, keras.layers.SimpleRNNCell)


@contextmanager
def compiled_loops() -> Iterator[None]:
    """Run the loops of Keras' own recurrent layers as graphs while the block runs, wherever they are called.

    Eagerly, a layer takes milliseconds a token, nearly all of them in Python. Its graph is made once, for any number of
    rows and tokens, and reads the layer's variables in each call. Layers and cells of the model's author run as they
    are, and so do unrolled layers, and dropout.
    """
    graphs: dict[Any, tuple[Any, Any]] = {}

    def observe(run: LayerRun, proceed: Proceed) -> LayerResult:
        by_time = (run.inputs,) if run.mask is None else (run.inputs, run.mask)
        leaves = [*by_time, *keras.tree.flatten(run.state)]
        if not _is_plain(run) or any(not tf.is_tensor(leaf) or tf.is_symbolic_tensor(leaf) for leaf in leaves):
            return proceed(run)
        own = keras.tree.map_structure(lambda leaf: tf.TensorSpec([None, *leaf.shape[1:]], leaf.dtype), run.state)
        given = [tf.TensorSpec([None, None, *leaf.shape[2:]], leaf.dtype) for leaf in by_time]
        key = (id(run.layer), run.layer.dtype_policy.name, *given, *keras.tree.flatten(own))
        if key not in graphs:

            def loop(state: Any, inputs: Any, *mask: Any) -> LayerResult:
                arguments = (mask[0] if mask else None, run.training)
                return proceed(replace(run, inputs=inputs, state=state, arguments=arguments, options={}))

            made = tf.function(loop, autograph=False).get_concrete_function(own, *given)
            graphs[key] = made, run.layer  # the layer: its id stays its own
        return LayerResult(*graphs[key][0](run.state, *by_time))

    with ExitStack() as stack:
        for owner in _LAYERS:
            if "inner_loop" in vars(owner):
                stack.enter_context(tap(owner, observe))
        yield


def _is_plain(run: LayerRun) -> bool:
    """Return whether a run is Keras' own code alone, and the same for every length and in training."""
    layer = run.layer
    if type(layer) not in _LAYERS or layer.unroll:
        return False
    cells = layer.cell.cells if type(layer.cell) is keras.layers.StackedRNNCells else [layer.cell]
    own = all(type(cell) in _CELLS and "call" not in vars(cell) for cell in cells)
    return own and not (run.training and any(cell.dropout or cell.recurrent_dropout for cell in cells))
