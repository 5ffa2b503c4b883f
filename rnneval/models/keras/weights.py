"""Loading weights into a built model. Weights that are missing or left over are an error that names them.

Four kinds of files have four ways: Keras 3 loads its own; the layers of Keras 2 meet those of the model by name or in
their order; the object graph of a TensorFlow checkpoint is walked beside the model; of a name-based checkpoint of
TensorFlow 1 (`tf.train.Saver`) cells are matched by order, and other weights by shape.

TensorFlow 1 has one matrix for input and state together, `(inputs + units, gates · units)`. BasicLSTMCell, LSTMCell and
LSTMBlockCell order the gates i, j, f, o and add the forget bias to f when they run; GRUCell has the gates r, u and, by
itself, the candidate. (tensorflow/python/ops/rnn_cell_impl.py of TensorFlow 1.15.)
"""

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import h5py
import keras
import numpy as np
import tensorflow as tf
from keras import ops

from rnneval.checkpoints import Artefact
from rnneval.checkpoints.hdf5 import NO_WEIGHTS, checked_hdf5
from rnneval.checkpoints.keras2 import IN_ORDER, REARRANGED, from_cudnn, is_cudnn, read_layers, version_of
from rnneval.checkpoints.rules import refused
from rnneval.errors import CheckpointError, ShapePair, WeightShapeError, in_one_line
from rnneval.models.keras.layers import cells_in, key_of, model_variables, recurrent_units, variable_name, walk_below
from rnneval.models.numpy.chain import snake_case

Notes = tuple[tuple[str, ...], tuple[str, ...]]
"""Assumptions, and warnings: a sentence each."""

_NOT_THE_MODELS = {*NO_WEIGHTS, "save_counter", "keras_api"}
# Errors of TensorFlow's reader for a damaged file, beside its own: C++ statuses become built-in exceptions.
_UNREADABLE = (ValueError, RuntimeError, LookupError, OSError, MemoryError)
# Lists in which a weight has no name, only a place, which differs between versions of Keras: never a way to a weight.
_BY_PLACE = {"variables", "trainable_variables", "non_trainable_variables", "weights"}
_VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"
# The names of weights by which Keras 2 and 3 mean the same; others are matched by place and shape alone.
_ROLES_OF_KERAS = frozenset(
    ("kernel", "recurrent_kernel", "bias", "embeddings", "gamma", "beta", "moving_mean", "moving_variance")
)
_HARD_SIGMOID = keras.activations.hard_sigmoid
_ANOTHER = "the builder makes another model than the one that was saved"
_IN_THE_BUILDER = (
    "in the builder's code, write `from rnneval.models.keras import keras2_hard_sigmoid` and give the layers "
    "recurrent_activation=keras2_hard_sigmoid"
)


def load_weights(model: Any, artefact: Artefact, mapped: Mapping[str, Any] | None = None) -> Notes:
    """Load `.weights.h5`, weights of Keras 2, a TensorFlow checkpoint or a SavedModel's; return assumptions, warnings.

    `mapped` has names in the model → names in a name-based checkpoint, where they are ambiguous, and `forget_bias`.
    """
    if artefact.format == "weights-h5":
        load_hdf5(model, artefact.place, shown=artefact.path)
        with h5py.File(artefact.place, "r") as file:
            unnamed = "vars" in file and "name" not in file["vars"].attrs
        return (), changed_functions(model, "Keras 2 or an early Keras 3") if unnamed else ()
    if artefact.format == "keras2-weights-h5":
        notes = load_keras2_weights(model, artefact.place, shown=artefact.path)
        version = version_of(artefact.place)
        # The gates of cuDNN's own layers, whose weights are rearranged, were always those of sigmoid.
        return notes, changed_functions(model, f"Keras {version or '2'}", "3" if REARRANGED in notes else version)
    return _load_tensorflow(model, artefact, mapped)


def keras2_hard_sigmoid(x: Any) -> Any:
    """Return 0.2 x + 0.5, at least 0 and at most 1: Keras 2's `hard_sigmoid`, the default of its gates before 2.3.

    The function of that name in Keras 3 is x / 6 + 0.5. A builder for old weights makes a layer with
    `recurrent_activation=keras2_hard_sigmoid`.

    >>> keras2_hard_sigmoid(np.array([-3.0, 0.0, 1.0])).numpy().round(3).tolist()
    [0.0, 0.5, 0.7]
    """
    return ops.clip(0.2 * x + 0.5, 0.0, 1.0)


def changed_functions(model: Any, writer: str, version: str = "3") -> tuple[str, ...]:
    """Return warnings if layers use another function than that which the weights were likely trained with.

    `hard_sigmoid` of Keras 2 was another one; and before version 2.3 it was the default of gates.
    """
    layers = [
        (key_of(layer, path), part)
        for path, layer in walk_below(model)
        for part in (cells_in(layer.cell) if isinstance(layer, keras.layers.RNN) else (layer,))
    ]
    found, settings = [], ("activation", "recurrent_activation")
    hard = [f"{name} ({s})" for name, part in layers for s in settings if getattr(part, s, None) is _HARD_SIGMOID]
    if hard:
        said = f"is Keras 3's, x / 6 + 0.5; {writer} wrote the weights, and in Keras 2 it was 0.2 x + 0.5"
        found.append(f"hard_sigmoid of {_listed(hard)} {said}: {_IN_THE_BUILDER}")
    cells = (keras.layers.GRUCell, keras.layers.LSTMCell)
    own = [(name, part) for name, part in layers if isinstance(part, cells)]
    plain = [name for name, part in own if part.recurrent_activation is keras.activations.sigmoid]
    if plain and (not version or version.startswith(("0.", "1.", "2.0.", "2.1.", "2.2."))):
        since = "before TensorFlow 2" if version.endswith("-tf") else "before Keras 2.3"
        said = f"{writer} wrote the weights, and {since} the default was hard_sigmoid, 0.2 x + 0.5"
        unless = f"unless the model was trained with sigmoid, {_IN_THE_BUILDER}"
        found.append(f"the gates of {_listed(plain)} are computed by sigmoid; {said}: {unless}")
    return tuple(found)


def load_hdf5(model: Any, path: Path, *, shown: Path) -> None:
    """Compare names and shapes with a file that the model itself saves, then let Keras load it; errors name `shown`."""
    if not hasattr(model, "save_weights"):
        raise CheckpointError(
            f"{shown}: a .weights.h5 file is loaded by a Keras model, and the builder made a {type(model).__name__}: "
            "save it as a TensorFlow checkpoint (tf.train.Checkpoint(model=…).write)"
        )
    with TemporaryDirectory() as folder:
        own = Path(folder) / "own.weights.h5"
        model.save_weights(own)
        wanted = checked_hdf5(own).weights
    held = checked_hdf5(path).weights
    if any(name.startswith("layers/") for name in held) and not any(name.startswith("layers/") for name in wanted):
        known = dict(_keras2_tree(model))
        variables = [variable for variable in model_variables(model) if not _is_kept_state(variable)]
        with h5py.File(path, "r") as file:  # nothing is read before all shapes are known to match
            found = {id(known[name]): file[name] for name in held if name in known}
            _assign(shown, variables, found, [name for name in held if name not in known])
        return
    missing, unused = [name for name in wanted if name not in held], [name for name in held if name not in wanted]
    _require_match(shown, missing, len(wanted), unused, ((name, held[name], wanted[name]) for name in wanted))
    try:
        model.load_weights(path)
    except (ValueError, OSError, KeyError) as error:
        raise CheckpointError(f"{shown}: Keras could not load it: {in_one_line(error)}") from error


def _require_match(
    path: Path, missing: list[str], of: int, unused: list[str], shapes: Iterable[ShapePair], *, or_else: str = ""
) -> None:
    """Refuse weights that are missing (`of` so many), left over, or of another shape (name, in the file, wanted)."""
    if missing:
        seen = f"{len(missing)} of {of} weights not found in {path}: {_listed(missing)}"
        raise CheckpointError(f"{seen}: {or_else}{_ANOTHER}")
    if unused:
        raise CheckpointError(f"{path} has weights the model does not use: {_listed(unused)}: {_ANOTHER}")
    if wrong := [(name, held, wanted) for name, held, wanted in shapes if held != wanted]:
        said = [f"{name} is {held} in the file and {wanted} in the model" for name, held, wanted in wrong[:3]]
        more = " …" if len(wrong) > 3 else ""
        raise WeightShapeError(f"{path}: {'; '.join(said)}{more}: check the builder's sizes", pairs=wrong)


def _assign(
    path: Path, variables: Sequence[Any], found: Mapping[int, Any], unused: list[str], *, or_else: str = ""
) -> None:
    """Assign to each variable the array found for it, by its `id`, once all are known to match."""
    missing = [variable_name(variable) for variable in variables if id(variable) not in found]
    pairs = ((variable_name(v), tuple(found[id(v)].shape), tuple(v.shape)) for v in variables if id(v) in found)
    _require_match(path, missing, len(variables), unused, pairs, or_else=or_else)
    for variable in variables:
        variable.assign(np.asarray(found[id(variable)]))


def _listed(names: list[str]) -> str:
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")


# TensorFlow checkpoints


def _load_tensorflow(model: Any, artefact: Artefact, mapped: Mapping[str, Any] | None) -> Notes:
    """Walk the checkpoint's object graph and the model side by side, by attribute names, and assign what meets.

    `Checkpoint.restore` is silent where nothing matches, and its keys are shortest paths that may lead through the
    optimizer; the graph that is stored with them has every path.
    """
    prefix, unsaved = artefact.path, ""
    said: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    try:
        reader = checkpoint_reader(artefact)
        if reader.has_tensor("_CHECKPOINTABLE_OBJECT_GRAPH"):
            graph = _ObjectGraph(reader)
            found = graph.best_match(model)
            arrays = {key: reader.get_tensor(name) for key, name in found.items()}
            unused = graph.unused(set(found.values()))
            unsaved = "tf.train.Checkpoint did not save them, as happens to layers in a list under Keras 3, or "
            warnings = changed_functions(model, "Keras 2") if graph.keras2 else ()
        else:
            arrays, unused, said = _matched_by_name(model, reader, prefix, mapped)
    except (*_UNREADABLE, tf.errors.OpError) as error:
        raise CheckpointError(
            f"{prefix}: a damaged or truncated TensorFlow checkpoint: {in_one_line(error)}"
        ) from error
    _assign(prefix, [v for v in model_variables(model) if not _is_seed(v)], arrays, unused, or_else=unsaved)
    return said, warnings


def checkpoint_reader(artefact: Artefact) -> Any:
    """Open a TensorFlow checkpoint; refuse one whose tensors declare more bytes together than its data files have.

    A text counts as one byte, as each takes at least that in the file.
    """
    reader = tf.train.load_checkpoint(str(artefact.weights))
    types = reader.get_variable_to_dtype_map()
    shapes = reader.get_variable_to_shape_map()
    widths = {name: 1 if kind == tf.string else kind.size for name, kind in types.items()}
    declared = sum(math.prod(shape) * widths[name] for name, shape in shapes.items())
    held = sum(file.stat().st_size for file in artefact.files if ".data-" in file.name)
    if declared > held:
        seen = f"its tensors declare {declared:,} bytes, and its data files have {held:,}"
        raise refused("bundle-size", artefact.path, seen)
    return reader


class _ObjectGraph:
    """The objects of a TensorFlow checkpoint and the names by which they hold one another."""

    def __init__(self, reader: Any) -> None:
        from tensorflow.core.protobuf import trackable_object_graph_pb2

        proto = trackable_object_graph_pb2.TrackableObjectGraph()
        proto.ParseFromString(reader.get_tensor("_CHECKPOINTABLE_OBJECT_GRAPH"))
        self._children = [{child.local_name: child.node_id for child in node.children} for node in proto.nodes]
        self._keys = [
            next((a.checkpoint_key for a in node.attributes if a.checkpoint_key.endswith(_VALUE)), None)
            for node in proto.nodes
        ]
        self._root = 0
        self.keras2 = any({"state_spec", "keras_api"} & set(names) for names in self._children)
        """Whether Keras 2 wrote it, whose recurrent layers hold such children."""

    def best_match(self, model: Any) -> dict[int, str]:
        """Return variable (by `id`) → checkpoint key, of the best match: the root or one of its children."""
        wanted = {id(variable) for variable in model_variables(model) if not _is_seed(variable)}
        matches = []
        for root in (0, *(node for name, node in self._children[0].items() if name not in NO_WEIGHTS)):
            found: dict[int, str] = {}
            queue, seen = [(root, model)], set[tuple[int, int]]()
            while queue:
                node, value = queue.pop(0)
                if (node, id(value)) in seen:
                    continue
                seen.add((node, id(value)))
                key = self._keys[node]
                if key is not None and id(value) in wanted:
                    found.setdefault(id(value), key)
                children = [(name, child) for name, child in self._children[node].items() if name not in _BY_PLACE]
                queue += [(child, held) for name, child in children for held in _held_by(value, name)]
            matches.append((found, root))
        best, self._root = max(matches, key=lambda match: len(match[0]))
        return best

    def unused(self, used: set[str]) -> list[str]:
        """Return the paths of the weights that no variable took; states of stateful layers are no weights."""
        states = {node for children in self._children for name, node in children.items() if name == "states"}
        kept = {self._keys[below] for node in states for below in (node, *self._children[node].values())}
        queue, seen, names = [(self._root, "")], {self._root}, []
        while queue:
            node, path = queue.pop(0)
            key = self._keys[node]
            if key is not None and key not in used | kept:
                names.append(path)
            for name, child in self._children[node].items():
                if child not in seen and name not in _NOT_THE_MODELS:
                    seen.add(child)
                    queue.append((child, f"{path}/{name}".lstrip("/")))
        return names


def _held_by(parent: Any, name: str) -> list[Any]:
    """Return the children of an object under a name of the checkpoint; Keras 2 counts the layers of a model."""
    prefix, _, number = name.rpartition("-")
    if prefix == "layer_with_weights" and number.isdigit():
        counted = [layer for layer in getattr(parent, "layers", ()) if layer.weights]
        return counted[int(number) : int(number) + 1]
    if isinstance(parent, (list, tuple)):
        return list(parent[int(name) : int(name) + 1]) if name.isdigit() else []
    if isinstance(parent, dict):
        return [parent[name]] if name in parent else []
    try:
        return [getattr(parent, name)] if hasattr(parent, name) else []
    except (AttributeError, ValueError):
        return []


def _is_seed(variable: Any) -> bool:
    return "seed_generator" in variable_name(variable) or not np.issubdtype(np.dtype(variable.dtype), np.floating)


# Keras 2


def load_keras2_weights(model: Any, path: Path, *, shown: Path) -> tuple[str, ...]:
    """Load an `.h5` file of Keras 2, layers by name or in their order; return assumptions; errors name `shown`."""
    stored, notes = read_layers(path, shown=shown), dict[str, None]()
    layers = list(getattr(model, "layers", ()))
    known = {id(variable) for layer in layers for variable in layer.weights}
    own = [variable for variable in getattr(model, "weights", ()) if id(variable) not in known]
    if own:  # weights that belong to no layer come last
        top = SimpleNamespace(name="top_level_model_weights", trainable_weights=own, non_trainable_weights=[])
        layers.append(top)
    layers = [layer for layer in layers if _variables(layer)]
    names = {layer.name: layer for layer in layers}
    if len(names) == len(layers) and set(names) == {held.name for held in stored}:
        layers = [names[held.name] for held in stored]
    elif len(stored) != len(layers):
        listed = [_listed([str(one.name) for one in some]) or "none" for some in (stored, layers)]
        raise CheckpointError(
            f"{shown} has weights of {len(stored)} layers ({listed[0]}), the model has {len(layers)} layers with "
            f"weights ({listed[1]}): {_ANOTHER}"
        )
    else:
        notes[IN_ORDER] = None
    for held, layer in zip(stored, layers, strict=True):
        variables, arrays = _variables(layer), [weight.values for weight in held.weights]
        if len(variables) != len(arrays):
            raise CheckpointError(
                f"{shown}: layer {held.name} has {len(arrays)} weights in the file and {len(variables)} in the model "
                f"({layer.name}): {_ANOTHER}"
            )
        for at in range(len(variables) - 2):
            wanted = tuple(variables[at + 2].shape)
            roles = [_role(variable) for variable in variables[at : at + 3]]
            if roles == ["kernel", "recurrent_kernel", "bias"] and is_cudnn(arrays[at + 2].shape, wanted):
                arrays[at : at + 3] = from_cudnn(arrays[at], arrays[at + 1], arrays[at + 2], wanted)
                notes[REARRANGED] = None
        for weight, array, variable in zip(held.weights, arrays, variables, strict=True):
            _require_same(shown, held.name, weight.role, array, variable)
            variable.assign(np.asarray(array, np.float32))
    return tuple(notes)


def _variables(layer: Any) -> list[Any]:
    """Return weights in the order of Keras 2: those that are trained, then the others; no kept states."""
    both = [*layer.trainable_weights, *layer.non_trainable_weights]
    return [variable for variable in both if not _is_kept_state(variable)]


def _role(variable: Any) -> str:
    return variable_name(variable).rpartition("/")[2]


def _is_kept_state(variable: Any) -> bool:
    """Return whether it is the state of a stateful layer or of a random generator, rather than a weight."""
    path = variable_name(variable)
    return "rnn_state" in path or "seed_generator" in path


def _require_same(path: Path, layer: str, role: str, array: Any, variable: Any) -> None:
    own, held, wanted = _role(variable), tuple(array.shape), tuple(variable.shape)
    if role in _ROLES_OF_KERAS and own in _ROLES_OF_KERAS and role != own:
        where = f"where the model has {variable_name(variable)}"
        raise CheckpointError(f"{path}: layer {layer} has a {role} {where}: another kind of layer")
    if held != wanted:
        turned = own == "bias" and {len(held), len(wanted)} == {1, 2} and held[-1] == wanted[-1]
        hint = f"its GRU has reset_after={len(held) == 2}" if turned else "check the builder's sizes"
        seen = f"{layer}/{role} is {held} in the file and {wanted} in the model"
        raise WeightShapeError(f"{path}: {seen}: {hint}", pairs=[(f"{layer}/{role}", held, wanted)])


def _keras2_tree(layer: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the weights below a layer with their paths in the `.weights.h5` of a subclassed model of Keras 2.

    That file names layers after their classes and counts them; Keras 3 names the same tree after attributes.
    """
    own = [*getattr(layer, "_trainable_variables", ()), *getattr(layer, "_non_trainable_variables", ())]
    for number, variable in enumerate(variable for variable in own if not _is_kept_state(variable)):
        yield f"{path}vars/{number}", variable
    if hasattr(layer, "layers") and not path.endswith("cells/"):
        yield from _counted(layer.layers, f"{path}layers/")
        return
    for name in ("cell", "layer", "forward_layer", "backward_layer"):
        if hasattr(layer, name):
            yield from _keras2_tree(getattr(layer, name), f"{path}{name}/")
    if isinstance(getattr(layer, "cells", None), (list, tuple)):
        yield from _counted(layer.cells, f"{path}cells/")


def _counted(layers: Sequence[Any], path: str) -> Iterator[tuple[str, Any]]:
    counts: dict[str, int] = {}
    for layer in layers:
        name = snake_case(type(layer).__name__)
        count = counts[name] = counts.get(name, -1) + 1
        yield from _keras2_tree(layer, f"{path}{name}_{count}/" if count else f"{path}{name}/")


# TensorFlow 1

_OF_TRAINING = re.compile(
    r"/(Adam(_\d+)?|RMSProp(_\d+)?|Momentum|Adagrad|Adadelta(_\d+)?|Ftrl(_\d+)?|ExponentialMovingAverage|AdamW?)$"
    r"|(^|/)(global_step|beta\d_power(_\d+)?|learning_rate|lr|Variable(_\d+)?)$"
)
_CELL = re.compile(
    r"^(.*?(?:basic_lstm_|lstm_block_|lstm_|gru_|basic_rnn_|rnn_|BasicLSTM|LSTM|GRU|BasicRNN)[cC]ell(?:_\d+)?)"
    r"/(?:[gG]ates/)?([cC]andidate/)?(?:[lL]inear/)?(?:([kK]ernel|[wW]eights|[mM]atrix)|[bB]ias|biases)$"
)
_KINDS = {"lstm": "LSTM", "gru": "GRU", "rnn": "SimpleRNN"}


def _matched_by_name(
    model: Any, reader: Any, path: Path, given: Mapping[str, Any] | None
) -> tuple[dict[int, Any], list[str], tuple[str, ...]]:
    """Return an array for each variable, by its `id`, the names that no variable takes, and assumptions."""
    mapped = dict(given or {})
    forget_bias = float(mapped.pop("forget_bias", 1.0))  # 1 is the default of the cells; no checkpoint has it
    left = {n: tuple(s) for n, s in reader.get_variable_to_shape_map().items() if s and not _OF_TRAINING.search(n)}
    scopes: dict[str, dict[str, Any]] = {}  # the weights of each cell by their roles
    for name, match in [(name, match) for name in left if (match := _CELL.match(name))]:
        role = f"{(match[2] or '').lower()}{'kernel' if match[3] else 'bias'}"
        scopes.setdefault(match[1], {})[role] = reader.get_tensor(name)
        del left[name]
    order = sorted(scopes, key=lambda scope: [int(p) if p.isdigit() else p.lower() for p in re.split(r"(\d+)", scope)])
    kinds = [next(kind for word, kind in _KINDS.items() if word in s.rpartition("/")[2].lower()) for s in order]
    units = recurrent_units(model)
    if order and kinds != [unit.kind.removesuffix("Cell") for unit in units]:
        raise CheckpointError(
            f"{path} has the cells {', '.join(f'{s} ({k})' for s, k in zip(order, kinds, strict=True))}; the model has "
            f"{', '.join(f'{u.name} ({u.kind})' for u in units) or 'none'}: make the builder's layers the same"
        )
    found: dict[int, Any] = {}
    for scope, kind, unit in zip(order, kinds, units, strict=False):
        wanted = {"kernel", "bias"} | ({"candidate/kernel", "candidate/bias"} if kind == "GRU" else set())
        if lacks := sorted(wanted - set(scopes[scope])):
            raise CheckpointError(f"{path}: cell {scope} lacks {', '.join(lacks)}: the checkpoint is not whole")
        weights = (unit.cell.kernel, unit.cell.recurrent_kernel, unit.cell.bias)
        arrays = _as_keras(kind, scopes[scope], int(weights[0].shape[0]), forget_bias)
        found |= {id(weight): array for weight, array in zip(weights, arrays, strict=True)}
    others = [v for v in model_variables(model) if id(v) not in found and not _is_seed(v)]
    names = _names_of(path, others, left, mapped)
    found |= {id(variable): reader.get_tensor(name) for variable, name in zip(others, names, strict=True)}
    met = "; ".join(f"{scope} is {unit.name}" for scope, unit in zip(order, units, strict=False))
    said = [f"a checkpoint of TensorFlow 1: cells meet in their order ({met})"] if order else []
    if "LSTM" in kinds:
        default = 'the default of its cells, which no checkpoint holds (--weight-map: "forget_bias")'
        said.append(f"forget bias {forget_bias:g}, {'as given' if 'forget_bias' in (given or {}) else default}")
    return found, [name for name in left if name not in names], tuple(said)


def _as_keras(kind: str, held: Mapping[str, Any], inputs: int, forget_bias: float) -> tuple[Any, Any, Any]:
    """Return kernel `(inputs, gates · units)`, recurrent kernel `(units, gates · units)` and bias in Keras' order."""
    kernel, bias = held["kernel"], held["bias"]
    if kind == "GRU":  # the order of Keras: update, reset, candidate; one that resets before the product
        (reset, update), (reset_bias, update_bias) = np.hsplit(kernel, 2), np.split(bias, 2)
        kernel = np.hstack([update, reset, held["candidate/kernel"]])
        bias = np.concatenate([update_bias, reset_bias, held["candidate/bias"]])
    elif kind == "LSTM":
        i, j, f, o = np.hsplit(kernel, 4)
        kernel = np.hstack([i, f, j, o])
        i, j, f, o = np.split(bias, 4)
        bias = np.concatenate([i, f + np.asarray(forget_bias, f.dtype), j, o])
    return kernel[:inputs], kernel[inputs:], bias


def _names_of(
    path: Path, variables: Sequence[Any], left: Mapping[str, tuple[int, ...]], mapped: Mapping[str, Any]
) -> list[str]:
    """Return the name of each variable: as mapped, else the only one of its shape that the map leaves."""
    fitting: list[list[str]] = []
    for variable in variables:
        alike = [n for n, shape in left.items() if shape == tuple(variable.shape)]
        given = [str(name) for end, name in mapped.items() if variable_name(variable).endswith(end)]
        fitting.append([n for n in alike if n in given or not (given or n in mapped.values())])
    for names in fitting:
        if len(names) != 1 or fitting.count(names) != 1:
            held = ", ".join(f"{name} {shape}" for name, shape in left.items()) or "none"
            own = ", ".join(f"{variable_name(each)} {tuple(each.shape)}" for each in variables)
            raise CheckpointError(
                f"{path}: which weight is which cannot be told: the checkpoint has {held}; the model wants {own}: give "
                '--weight-map FILE.json, such as {"dense/kernel": "softmax_w"}'
            )
    return [names[0] for names in fitting]
