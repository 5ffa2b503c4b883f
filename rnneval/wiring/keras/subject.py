"""The model under check, made ready: built, with its ids, and restorable.

The check must run models that are wrong, so it calls them by `adapters_for` of `models/keras/recognition.py`: a model
that takes a state and never returns one, that keeps it in an attribute, or that returns it in a container of its own,
is called too, with the state exactly as it returned it.
"""

import inspect
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from dis import get_instructions
from functools import partial
from itertools import product
from types import FunctionType
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras.src.backend.common import global_state
from numpy.typing import NDArray

from rnneval.errors import type_and_message
from rnneval.models.keras.adapters import Adapter
from rnneval.models.keras.layers import OWN_ATTRIBUTES, is_recurrent, recurrent_layers, sublayers, walk_below
from rnneval.models.keras.recognition import adapters_for, call_parameters, fixed_batch
from rnneval.models.protocol import one_unit_off
from rnneval.wiring.difference import HALF_TYPES
from rnneval.wiring.keras.names import UnitNames
from rnneval.wiring.subject import SHORT, Outputs, Pieces, Subject, special_ids

_SOURCE_TOKENS = 3  # a second text (an encoder's) has a length of its own, which tells the two apart
_RESET = re.compile(
    r"(reset|clear|forget|begin|start|new)(_all|_rnn|_my|_own|_new)?"
    r"(_(hidden_)?(state|states|memory|memories|cache|caches|hidden|carry|context|document|text|session|sequence))?"
)
# The packages whose objects are not searched for states.
_FOREIGN = {"builtins", "tensorflow", "keras", "numpy", "functools", "types", "inspect", "abc"}


class Snapshot:
    """The values of everything below a model that a call may change.

    A state may live in a variable, in `layer.states`, in a Python attribute, list or dict: all are remembered. The
    tensors themselves are not copied, since they cannot change.

    Before the model has run (`built=False`), what comes to hold layers or variables is its building, and stays. Later,
    an attribute that comes to hold variables keeps a state: a reset that makes them, say.
    """

    def __init__(self, model: Any, *, built: bool = True) -> None:
        self._made_once: Any = keras.layers.Layer if built else (keras.layers.Layer, tf.Variable, keras.Variable)
        self.variables: list[tuple[Any, np.ndarray[Any, Any]]] = []
        self._undo: list[Callable[[], object]] = []
        self._seen: set[int] = set()
        self._visit(model)

    def restore(self, *, seeds: bool = True) -> None:
        """Put everything back; without `seeds`, Keras' random generators go on, so that equal calls draw anew."""
        self.restore_variables(seeds=seeds)
        for undo in self._undo:
            undo()

    def restore_variables(self, *, seeds: bool = True) -> None:
        """Put the values of variables back, and leave attributes as they are."""
        for variable, value in self.variables:
            if seeds or getattr(variable, "name", "") != "seed_generator_state":
                variable.assign(value)

    def _visit(self, thing: Any) -> None:
        """Keep a copy of a thing that can change, and of all that can be reached from it, each once."""
        if id(thing) in self._seen:
            return
        self._seen.add(id(thing))
        children: list[Any] = []
        if isinstance(thing, (tf.Variable, keras.Variable)):
            self.variables.append((thing, (thing.value if isinstance(thing, keras.Variable) else thing).numpy()))
        elif isinstance(thing, np.ndarray):
            self._undo.append(partial(thing.__setitem__, ..., thing.copy()))
        elif isinstance(thing, dict):
            self._undo.append(partial(_refill_dict, thing, dict(thing)))
            children = [*thing.values()]
        elif isinstance(thing, list | tuple):
            if isinstance(thing, list):
                self._undo.append(partial(_refill_list, thing, list(thing)))
            children = [*thing]
        elif isinstance(thing, FunctionType):
            children = self._visit_function(thing)
        elif isinstance(thing, type):
            shared = _class_attributes(thing)
            self._undo.append(partial(_set_attributes, thing, shared))
            children = [*shared.values(), *(value for value in vars(thing).values() if isinstance(value, FunctionType))]
        else:
            children = self._visit_object(thing)
        for child in children:
            self._visit(child)

    def _visit_function(self, function: FunctionType) -> list[Any]:
        """Keep the variables that a function closes over, and the globals that it assigns; return what it holds."""
        cells = [cell for cell in function.__closure__ or () if not repr(cell).endswith("empty>")]
        self._undo += [partial(setattr, cell, "cell_contents", cell.cell_contents) for cell in cells]
        known = function.__globals__
        assigned = {step.argval for step in get_instructions(function) if step.opname == "STORE_GLOBAL"}
        self._undo.append(partial(known.update, {name: known[name] for name in assigned if name in known}))
        return [*(function.__defaults__ or ()), *(cell.cell_contents for cell in cells)]

    def _visit_object(self, thing: Any) -> list[Any]:
        """Keep the attributes of an object that is not a library's own; return what it and its classes hold."""
        children: list[Any] = []
        if isinstance(thing, keras.layers.Layer):
            layers = thing._flatten_layers(include_self=False, recursive=False)
            children = [*thing.variables, *layers, *keras.tree.flatten(getattr(thing, "states", None) or ())]
        elif not hasattr(thing, "__dict__") or (_is_foreign(type(thing)) and not isinstance(thing, tf.Module)):
            return children
        attributes = {name: value for name, value in vars(thing).items() if _may_change(name)}
        if not _is_foreign(type(thing)):
            self._undo.append(partial(self._put_back, vars(thing), attributes))
        return [*children, *attributes.values(), *(owner for owner in type(thing).__mro__ if not _is_foreign(owner))]

    def _put_back(self, now: dict[str, Any], before: dict[str, Any]) -> None:
        for name in [name for name in now if name not in before and _may_change(name) and not self._stays(now[name])]:
            del now[name]
        for name, value in before.items():
            if (name not in now or now[name] is not value) and not self._stays(now.get(name)):
                now[name] = value

    def _stays(self, value: Any) -> bool:
        """Return whether a value holds layers or weights: made once, and not a state."""
        leaves = keras.tree.flatten(value) if isinstance(value, (list, tuple, dict)) else [value]
        return any(isinstance(leaf, self._made_once) for leaf in leaves)


def _refill_list(items: list[Any], saved: list[Any]) -> None:
    if len(items) != len(saved) or any(a is not b for a, b in zip(items, saved, strict=True)):
        items[:] = saved


def _refill_dict(mapping: dict[Any, Any], saved: dict[Any, Any]) -> None:
    if list(mapping) != list(saved) or any(mapping[key] is not saved[key] for key in saved):
        mapping.clear()
        mapping.update(saved)


def _set_attributes(owner: type, attributes: dict[str, Any]) -> None:
    for name, value in attributes.items():
        if vars(owner).get(name) is not value:
            setattr(owner, name, value)


def _class_attributes(owner: type) -> dict[str, Any]:
    """Return the attributes that a class shares among its objects, without methods and the like."""
    return {
        name: value
        for name, value in vars(owner).items()
        if _may_change(name) and not name.startswith("__") and not callable(value) and not hasattr(value, "__get__")
    }


def _may_change(name: str) -> bool:
    return name not in OWN_ATTRIBUTES and not name.startswith("_self_")


def _is_foreign(owner: type) -> bool:
    return owner.__module__.partition(".")[0] in _FOREIGN


def reset_of(model: Any) -> Callable[[], Any] | None:
    """Return the method by which the model's author begins a new document, such as `reset_state`; None without one."""
    for name in dir(type(model)):
        method: Callable[[], Any] | None = getattr(model, name, None) if _RESET.fullmatch(name) else None
        if callable(method) and not any(p.default is p.empty for p in inspect.signature(method).parameters.values()):
            return method
    return None


@dataclass(kw_only=True, eq=False)
class Ready:
    """A model that is built and can be called, and put back at any time."""

    model: Any
    call: Adapter
    snapshot: Snapshot
    names: UnitNames
    cells: tuple[Any, ...]
    batch: int
    width: int  # ids are below it
    main: int  # the index of the text that the model predicts, among the texts that it reads
    newline: int | None = None  # the id of a new line, if it is known
    half: str = ""  # the type of half precision in which it computes, if there is one
    trains: bool = False  # whether it can be called with training=True
    why_not_training: str = ""  # the error that the model raises with training=True

    @property
    def ordinary(self) -> tuple[int, ...]:
        """The ids that no model treats in a way of its own, as it may an end of the text."""
        return special_ids(self.width, self.newline)[1]

    @property
    def text_names(self) -> list[str]:
        """The names of the texts: `ids` for the text that is predicted, `ids1` and so on for others."""
        others = iter(range(1, self.call.texts + 1))
        return ["ids" if at == self.main else f"ids{next(others)}" for at in range(self.call.texts)]

    def segment(self, ids: NDArray[np.int32]) -> list[NDArray[np.int32]]:
        """Return the texts of one call: the ids, and the same source for each of the others."""
        shape, lowest = (self.batch, _SOURCE_TOKENS), int(self.width > 2)
        source = np.random.default_rng(7).integers(lowest, self.width, shape, dtype=np.int32)
        return [ids if at == self.main else source[: len(ids)] for at in range(self.call.texts)]

    def start(self, *, seeds: bool = True) -> None:
        """Put everything back, and begin a document; without `seeds`, Keras' random generators are not put back."""
        self.snapshot.restore(seeds=seeds)
        self._begin()

    def run(self, pieces: Pieces, *, seeds: bool = False) -> Outputs:
        """Read pieces one after the other from the model's start; with `seeds`, equal calls draw the same numbers."""
        self.start(seeds=seeds)
        return self.read(pieces)

    def run_moved(self, pieces: Pieces, draw: int) -> Outputs:
        """Read pieces as `run` does, with weights moved by ± one unit in the last place."""
        self.snapshot.restore(seeds=False)
        self.move_weights(draw)
        self._begin()  # after the move: a state that a variable holds is no weight
        return self.read(pieces)

    def move_weights(self, draw: int) -> None:
        """Move every weight by ± one unit in the last place, until the snapshot puts it back."""
        generator = np.random.default_rng(draw)
        for variable, values in self._movable:
            variable.assign(one_unit_off(values, generator))

    @property
    def _movable(self) -> list[tuple[Any, NDArray[Any]]]:
        """The variables that hold weights: not half precision, and no counters and initial values."""
        single = [pair for pair in self.snapshot.variables if pair[1].dtype in (np.float32, np.float64)]
        return [pair for pair in single if (pair[1] != np.rint(pair[1])).any()]

    @contextmanager
    def in_float32(self) -> Iterator[bool]:
        """Let every layer compute in float32 if it computes in half precision; yield whether it does."""
        layers = {id(one): one for one in (self.model, *self.names.objects, *sublayers(self.model))}.values()
        before = [(one, one.dtype_policy) for one in layers if getattr(one, "compute_dtype", "") in HALF_TYPES]
        half, self.half = self.half, ""
        try:
            for layer, policy in before:
                layer.dtype_policy = keras.DTypePolicy("float32")
                # Keras casts variables only where their type differs from that of the computation.
                layer.dtype_policy._variable_dtype = policy.variable_dtype
            if half and not self._computes_in_float32():
                self._put_back(before, half)
            yield half != self.half
        finally:
            self._put_back(before, half)

    def _put_back(self, policies: Sequence[tuple[Any, Any]], half: str) -> None:
        self.half = half
        self.snapshot.restore()
        for layer, policy in policies:
            layer.dtype_policy = policy

    def _computes_in_float32(self) -> bool:
        self.start()
        state, types = None, ""
        texts = self.segment(np.ones((self.batch, self.call.time or _SOURCE_TOKENS), np.int32))
        try:
            for _ in range(2):
                logits, state = self.call([tf.constant(text) for text in texts], state)
                types += str([getattr(leaf, "dtype", "") for leaf in keras.tree.flatten((logits, state))])
        except Exception:  # the author's code casts to half precision itself
            return False
        return not any(half in types for half in HALF_TYPES)

    def run_after(self, before: Pieces, pieces: Pieces, *, training: bool = False) -> Outputs:
        """Read one document, then another as the model's user would begin it; return the logits of the second."""
        self.leave_behind(before, training=training)
        return self.read(pieces)

    def leave_behind(self, document: Pieces, *, training: bool = False) -> None:
        """Read a document, and begin a new one."""
        self.start(seeds=False)
        (self.in_training if training else self).read(document)
        if training:
            self.snapshot.restore_variables(seeds=False)  # moving averages are learned, and no state of a document
        self._begin()

    def read(self, pieces: Pieces) -> Outputs:
        """Read pieces one after the other, the state carried, from wherever the model is."""
        state, logits = None, []
        for ids in pieces:
            answer = self.call([tf.constant(text) for text in self.segment(ids)], state)
            state = answer.state
            logits.append(np.asarray(tf.cast(answer.logits, tf.float64)))
        return logits

    def _begin(self) -> None:
        """Begin a new document where that takes more than a call without a state."""
        begin = reset_of(self.model) or partial(_reset, recurrent_layers(self.model))
        begin()

    @property
    def in_training(self) -> "Ready":
        """This model, called with training=True."""
        return replace(self, call=replace(self.call, training=True))

    @property
    def takes_one_row(self) -> bool:
        """True if it can be called with a batch of one row as well as with others."""
        return self.call.batch is None and fixed_batch(self.model) is None and self.batch > 1

    def subject(self, seed: int) -> Subject:
        """Return the model as the suite of behaviour sees it."""
        # A model that keeps its state in itself, without a reset, reads one document for ever. A list or dict that is
        # the default of a parameter is made once by Python, and a call may fill it.
        begins = (
            self.call.takes_states
            or reset_of(self.model) is not None
            or any(layer.stateful for layer in recurrent_layers(self.model))
            or any(isinstance(p.default, dict | list) for p in call_parameters(self.model))
        )
        return Subject(
            read=self.run,
            rows=self.batch,
            ordinary=self.ordinary,
            special=special_ids(self.width, self.newline)[0],
            plan=SHORT,
            seed=seed,
            alone=(1 if self.call.texts > 1 else self.batch) if self.takes_one_row else 0,  # other texts: of row 0
            half=self.half,
            read_moved=self.run_moved if self._movable else None,
            read_after=self.run_after if begins else None,
            read_training=self.in_training.run if self.trains else None,
            why_not_training=self.why_not_training,
        )


def make_ready(model: Any, vocab_size: int | None) -> Ready:
    """Find the way in which the model wants to be called, build it, and put it back; a ValueError if none works."""
    before = Snapshot(model, built=False)
    fresh = [layer for _, layer in walk_below(model) if isinstance(layer, keras.layers.RNN) and not layer.built]
    errors: list[str] = []
    # Two rows show whether rows mix. A model whose own variables hold one row can only be called with one.
    for rows, call in product((2, 1), adapters_for(model)):
        try:
            ready = _warmed(model, call, rows, vocab_size)
        except Exception as error:
            errors.append(type_and_message(error) + _symbols_left(model))
            # An initializer that raises (one without a kernel for bfloat16, say) leaves its variable in Keras' list of
            # those that wait for their values: it would raise again while the next model of the process is built.
            if global_state.get_global_attribute("uninitialized_variables"):
                global_state.set_global_attribute("uninitialized_variables", [])
            continue
        finally:
            before.restore()
        _reset(fresh)
        ready.snapshot = Snapshot(model, built=not call.takes_training)
        if call.takes_training:  # twice: the first call builds what only training uses
            try:
                ready.in_training.run([np.ones((ready.batch, call.time or _SOURCE_TOKENS), np.int32)] * 2)
                ready.trains = True
            except Exception as error:  # the author's code may raise anything; the check says that it was not looked at
                ready.why_not_training = type_and_message(error)
            ready.snapshot.restore()
            ready.snapshot = Snapshot(model)
        return ready
    raise ValueError(errors[0])


def _warmed(model: Any, call: Adapter, rows: int, vocab_size: int | None) -> Ready:
    """Call it twice without hooks: the first builds it, the second builds what only a given state needs."""
    batch = call.batch or rows
    # Before the first call: an embedding that is only made there may be one of positions.
    layers = [layer for _, layer in walk_below(model)] + sublayers(model)
    embedded = min((int(one.input_dim) for one in layers if isinstance(one, keras.layers.Embedding)), default=None)
    texts = [tf.ones((batch, _SOURCE_TOKENS - (at == 0)), tf.int32) for at in range(call.texts)]
    try:
        first = call(texts, None)
    except Exception:
        if call.texts == 1:
            raise
        texts.reverse()
        first = call(texts, None)
    call, second = call.called_again(texts, first.state)
    shape = tuple(second.logits.shape)
    size = vocab_size or embedded or (int(shape[-1]) if len(shape) > 1 else 3)
    length = shape[1] if len(shape) == 3 else None
    names = UnitNames(model)
    types = {str(getattr(thing, "compute_dtype", "")) for thing in names.objects} | {second.logits.dtype.name}
    return Ready(
        model=model,
        call=call,
        snapshot=Snapshot(model),
        names=names,
        cells=tuple(t for t in names.objects if is_recurrent(t) and not isinstance(t, keras.layers.RNN)),
        batch=fixed_batch(model) or batch,
        width=max(size, 1),
        main=next((at for at, text in enumerate(texts) if text.shape[1] == length), 0),
        half=next((name for name in HALF_TYPES if name in types), ""),
    )


def _reset(layers: Sequence[Any]) -> None:
    """Reset stateful layers, which hold the state of the call that built them."""
    for layer in layers:
        if layer.stateful and layer.states is not None:
            if all(hasattr(state, "assign") for state in layer.states):
                layer.reset_state()
            else:  # Keras cannot reset the nested states of a cell that is a stack
                for state in keras.tree.flatten(layer.states):
                    state.assign(keras.ops.zeros_like(state))


def _symbols_left(model: Any) -> str:
    """Return an explanation if Keras' symbolic build left a tensor without a value in an attribute; else nothing."""
    for name, value in getattr(model, "__dict__", {}).items():
        for leaf in keras.tree.flatten(value) if isinstance(value, (list, tuple, dict)) else [value]:
            if isinstance(leaf, keras.KerasTensor) or (isinstance(leaf, tf.Tensor) and tf.is_symbolic_tensor(leaf)):
                return (
                    f" (attribute {name} holds a symbolic tensor: Keras runs call once without values to build the "
                    "model, and call keeps its state there; keep it in a variable, or return it)"
                )
    return ""
