"""The choice of an adapter: how a model is called, by the signature of `call`, or by the inputs and outputs of a graph.

`recognise` finds the adapter of a language model whose state rnneval carries, and refuses what cannot be called without
a guess. `adapters_for` finds the ways in which the wiring check may call a model as its author wrote it: it has to run
models that are wrong, so it guesses.
"""

import inspect
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import keras

from rnneval.errors import CheckpointError
from rnneval.models.keras.adapters import (
    STATE_NAME,
    Adapter,
    GraphAdapter,
    Inputs,
    LayerStatesAdapter,
    SignatureAdapter,
    StateContract,
    WindowAdapter,
    single_place,
)
from rnneval.models.keras.layers import (
    RecurrentUnit,
    is_graph,
    predicts_once,
    recurrent_layers,
    recurrent_units,
    sublayers,
)
from rnneval.models.protocol import ONE_HOT, SCALED, about_transformer, input_kind_of

_STATE_WORDS = ("state", "hidden", "carry", "memory", "cell")  # in the name of a state whose default is None, or a flag
_STATE_LETTERS = re.compile(r"[hc]x?_?\d*")  # h and c, hx and cx, h1 and h2, with the default None
_BEGINNINGS = ("h", "c", "s", "prev", "past", "mem", "queue", "ring", "buffer")  # of states' names, and of many others
_SCALE = 16  # the divisor of ids for an input of single numbers whose V is not known: it keeps a probe's ids apart
# Layers that look at more than one position at a time: with them, a carried state does not hold all of the past.
_ATTENTION = ("Attention", "AdditiveAttention", "MultiHeadAttention", "GroupQueryAttention")
_MIX_TIME = (
    *_ATTENTION, "Bidirectional", "Conv1D", "SeparableConv1D", "DepthwiseConv1D", "Conv1DTranspose", "Conv2D",
    "ConvLSTM1D", "ConvLSTM2D", "MaxPooling1D", "AveragePooling1D", "GlobalMaxPooling1D", "GlobalAveragePooling1D",
    "UpSampling1D", "ZeroPadding1D", "Cropping1D",
)  # fmt: skip


def recognise(
    model: Any, *, vocabulary_width: int | None = None, window: int | None = None
) -> tuple[Adapter, tuple[RecurrentUnit, ...]]:
    """Find how a model is called, and its recurrent units; `vocabulary_width` is how many ids its vocabulary has."""
    if not callable(model):
        raise CheckpointError(f"a {type(model).__name__} cannot be called: a Keras model is needed")
    units = recurrent_units(model)
    inputs = (_inputs_of(model, units, vocabulary_width),)
    graph, length = is_graph(model), window  # the N of a window model; None where every token has a prediction
    if graph:
        into, out = (len(getattr(model, ends, None) or [None]) for ends in ("inputs", "outputs"))
        if into != out:
            seen = f"a functional model that takes {into} and gives {out} tensors"
            raise CheckpointError(f"{seen}: ids and states go in, and logits and as many states come out")
        if into > 1:
            return replace(_graph_adapter(model), inputs=inputs), units
        length = (window or next(iter(model.inputs[0].shape[1:2]), None)) if predicts_once(model) else None
    elif (by_signature := signature_of(model)).state_names:
        return replace(by_signature, inputs=inputs), units
    contract = _contract_of([unit.layer for unit in units])
    one_step = graph and contract is StateContract.STATEFUL_LAYERS and length == 1
    if length is None or one_step:
        _require_carriable(model, units, one_step=one_step)
        carried = LayerStatesAdapter(model=model, inputs=inputs, units=units, contract=contract, takes_training=graph)
        return carried, units
    if not units:
        raise CheckpointError(f"{type(model).__name__} has no recurrent layer: rnneval evaluates recurrent models")
    return WindowAdapter(model=model, inputs=inputs, window=length, takes_training=graph), units


def _inputs_of(model: Any, units: Sequence[RecurrentUnit], vocabulary_width: int | None) -> Inputs:
    """Recognise the inputs of a model; one-hot rows of a model that was never built are as long as the vocabulary."""
    if is_graph(model) and getattr(model, "inputs", None):
        shape = tuple(model.inputs[0].shape)
        if len(shape) != 3:
            return Inputs()
        outputs = int(next(t.shape[-1] for t in model.outputs if len(t.shape) in {2, 3}))
        return Inputs(kind=input_kind_of(shape, outputs), width=outputs)
    if any(isinstance(layer, keras.layers.Embedding) for layer in sublayers(model)):
        return Inputs()
    first = units[0].cell if units else None
    kernel = getattr(first, "kernel", None) if getattr(first, "built", False) else None
    known = vocabulary_width if kernel is None else int(kernel.shape[0])
    return Inputs() if known is None else Inputs(kind=SCALED if known == 1 else ONE_HOT, width=known)


def attention_without_state(model: Any) -> str | None:
    """Return the name of an attention layer of a model that neither takes nor holds a state; None of another model."""
    attention = next((layer.name for layer in sublayers(model) if type(layer).__name__ in _ATTENTION), None)
    if attention is None or recurrent_units(model):
        return None
    has_inputs = is_graph(model) and len(getattr(model, "inputs", None) or ()) > 1
    takes = has_inputs or (not is_graph(model) and bool(signature_of(model, tolerant=True).state_names))
    holds = any("float" in str(each.dtype) for each in getattr(model, "non_trainable_variables", ()))
    return None if holds or takes else attention


def _require_carriable(model: Any, units: tuple[RecurrentUnit, ...], *, one_step: bool) -> None:
    """Refuse a model that takes no states and whose layers cannot be given theirs; `one_step`: one token a call."""
    if (attention := attention_without_state(model)) is not None:
        raise CheckpointError(about_transformer(type(model).__name__, attention))
    cells = [unit.name for unit in units if not unit.is_layer]
    if not one_step and (not units or cells):
        what = f"only cells ({', '.join(cells)}) called by hand" if cells else "no recurrent layer"
        advice = "give it call(ids, states=None, return_state=False)"
        raise CheckpointError(f"{type(model).__name__} has {what} and takes no states: {advice}")
    mixing = [
        *(unit.name for unit in units if getattr(unit.layer, "go_backwards", False)),
        *(f"{layer.name} ({type(layer).__name__})" for layer in sublayers(model) if type(layer).__name__ in _MIX_TIME),
    ]
    if mixing:
        why = "looks at more than one position at a time, so that no state holds all of the past"
        raise CheckpointError(f"{', '.join(mixing)}: {why}: no perplexity can be measured")
    once = next((unit.name for unit in units if not one_step and not unit.layer.return_sequences), None)
    if once is not None:
        what = "a window model (the last N tokens in, one prediction out) whose input does not say N"
        raise CheckpointError(f"layer {once} has return_sequences=False: {what}: give --window N")


def adapters_for(model: Any) -> Iterator[Adapter]:
    """Yield the ways in which a model may want to be called, the likeliest first."""
    if is_graph(model):
        # Without `training`, which would override what the author set for a layer: training=True stays on as written.
        yield _graph_adapter(model, training=None)
        return
    plain = signature_of(model, tolerant=True)
    yield plain
    if not plain.more_texts:
        yield replace(plain, pair_of="two texts", inputs=(Inputs(),) * 2)
        if not plain.takes_states:
            yield replace(plain, pair_of="ids and state", takes_states=True)


def _graph_adapter(model: Any, training: bool | None = False) -> GraphAdapter:
    """Return the way to call a graph of Keras; its states are the last inputs, or all but the one text."""
    tensors = list(getattr(model, "inputs", None) or [])
    outputs, places = len(getattr(model, "outputs", None) or [None]), tuple(range(len(tensors)))
    states = places[len(tensors) - (outputs - 1) :] if 1 < outputs <= len(tensors) else ()
    if states and outputs == len(tensors):  # one text, which may stand anywhere, as in [h, ids] → [logits, h]
        text = single_place(
            ["int" in str(one.dtype) or (len(one.shape) == 2 and one.shape[1] is None) for one in tensors]
        )
        states = tuple(place for place in places if place != text)
    texts = tuple(place for place in places if place not in states) or (0,)
    shapes = [tuple(tensors[place].shape) if tensors else (None, None) for place in texts]
    shape = shapes[0]
    return GraphAdapter(
        model=model,
        contract=StateContract.GRAPH_INPUTS if states else _contract_of(recurrent_layers(model)),
        takes_states=bool(states),
        inputs=tuple(map(_inputs_like, shapes)),
        training=training,
        batch=shape[0] or fixed_batch(model),
        time=shape[1] if len(shape) > 1 else None,
        text_places=texts,
        state_places=states,
    )


def _contract_of(layers: Sequence[Any]) -> StateContract:
    """Return the contract of a model without inputs for states."""
    stateful = any(getattr(layer, "stateful", False) for layer in layers)
    return StateContract.STATEFUL_LAYERS if stateful else StateContract.STATELESS_GRAPH


def _inputs_like(shape: Sequence[int | None]) -> Inputs:
    width = int(shape[-1] or 1) if len(shape) > 2 else 0
    return Inputs(kind=ONE_HOT, width=width) if width > 1 else Inputs(kind=SCALED, width=_SCALE) if width else Inputs()


def fixed_batch(model: Any) -> int | None:
    """Return the batch size that a stateful layer was built for."""
    stateful = (layer for layer in recurrent_layers(model) if layer.stateful)
    states = (state for layer in stateful for state in keras.tree.flatten(getattr(layer, "states", None) or ()))
    return next((int(state.shape[0]) for state in states), None)


def call_parameters(model: Any) -> list[inspect.Parameter]:
    """Return the parameters of a model's `call` (or of a function) after the ids; none where they cannot be read."""
    call = getattr(model, "call", model)
    try:
        parameters = list(inspect.signature(getattr(call, "python_function", call)).parameters.values())
    except (TypeError, ValueError):
        return []
    return parameters[2:] if parameters and parameters[0].name == "self" else parameters[1:]


def signature_of(model: Any, *, tolerant: bool = False) -> SignatureAdapter:
    """Return how a model is called by the signature of `call`; `tolerant`: by names that begin like a state's, too."""
    every = call_parameters(model)
    parameters = [p for p in every if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    states = [p.name for p in parameters if _names_a_state(p)]
    asking = (p.name for p in parameters if p.name.startswith("return_"))
    flags = [name for name in asking if any(word in name for word in _STATE_WORDS)][:1]
    if tolerant:
        states = [p.name for p in parameters if _may_take_a_state(p, states)]
        flags = [p.name for p in parameters if _is_flag(p)]
    needed = [p.name for p in parameters if p.default is p.empty and p.kind is not p.POSITIONAL_ONLY]
    spread = not states and any(p.kind is p.VAR_POSITIONAL for p in every)
    more_texts = tuple(name for name in needed if name not in {*states, *flags, "training"})
    return SignatureAdapter(
        model=model,
        takes_states=bool(states) or spread,
        takes_training=any(p.name == "training" for p in parameters),
        inputs=(Inputs(),) * (1 + len(more_texts)),
        batch=fixed_batch(model),
        state_names=tuple(states),
        required=tuple(name for name in needed if name in states),
        flags=tuple(flags),
        spread=spread,
        more_texts=more_texts,
    )


def _names_a_state(parameter: inspect.Parameter) -> bool:
    name = parameter.name
    like_one = any(word in name for word in _STATE_WORDS) or _STATE_LETTERS.fullmatch(name)
    return bool(STATE_NAME.fullmatch(name) or (parameter.default is None and like_one))


def _may_take_a_state(parameter: inspect.Parameter, usual: Sequence[str]) -> bool:
    """Return whether a parameter has a usual name, or begins like one where there is none or None is its default."""
    if isinstance(parameter.default, (dict, list)) or _is_flag(parameter):
        return False
    begins_alike = parameter.name.startswith(_BEGINNINGS)
    return parameter.name in usual or (begins_alike and (not usual or parameter.default is None))


def _is_flag(parameter: inspect.Parameter) -> bool:
    asks = parameter.name.startswith(("return_", "with_", "output_", "give_"))
    about_states = any(word in parameter.name for word in _STATE_WORDS)
    return about_states and (asks or isinstance(parameter.default, bool))
