"""Loading weights into a built model. Weights that are missing or left over are an error that names them.

Keras 3 loads its own files; the layers of Keras 2 meet those of the model by name or in their order; the object graph
of a TensorFlow checkpoint, or of a SavedModel, is walked beside the model; of a name-based checkpoint of TensorFlow 1
(`tf.train.Saver`) cells are matched by order, and other weights by shape.
"""

import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import h5py
import keras
import numpy as np
import tensorflow as tf
from keras import ops

from rnneval.checkpoints import Artefact
from rnneval.checkpoints.hdf5 import NO_WEIGHTS, checked_hdf5
from rnneval.checkpoints.keras2 import IN_ORDER, REARRANGED, from_cudnn, is_cudnn, read_layers, role_of, version_of
from rnneval.checkpoints.rules import refused
from rnneval.errors import CheckpointError, ShapePair, WeightShapeError, in_one_line
from rnneval.models.keras.layers import (
    cells_in,
    is_weight,
    key_of,
    recurrent_units,
    variable_name,
    walk_below,
    weights_of,
)
from rnneval.paths import natural


class LoadNotes(NamedTuple):
    """Notes for the user on weights that were loaded: a sentence each."""

    assumptions: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


class CheckpointArrays(NamedTuple):
    """The variables that a TensorFlow checkpoint holds for a model."""

    arrays: dict[int, Any]  # by the `id` of the variable
    unused: list[str]  # names of weights that no variable takes
    notes: LoadNotes
    missing_hint: str = ""  # a likely cause of missing weights


_NOT_THE_MODELS = {*NO_WEIGHTS, "save_counter", "keras_api"}
# Errors of TensorFlow's reader for a damaged file: C++ statuses become built-in exceptions.
_UNREADABLE = (ValueError, RuntimeError, LookupError, OSError, MemoryError, tf.errors.OpError)
# Lists in which a weight has no name, only a place, which differs between versions of Keras: never a way to a weight.
_BY_PLACE = {"variables", "trainable_variables", "non_trainable_variables", "weights"}
_VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"
# The names of weights by which Keras 2 and 3 mean the same; others are matched by place and shape alone.
_ROLES_OF_KERAS = frozenset(
    ("kernel", "recurrent_kernel", "bias", "embeddings", "gamma", "beta", "moving_mean", "moving_variance")
)
_BEFORE_2_3 = re.compile(r"[01]\.|2\.[0-2]\.")  # of a release of Keras, such as 2.2.4-tf
_ANOTHER = "the builder makes another model than the one that was saved"
_IN_THE_BUILDER = (
    "in the builder's code, write `from rnneval.models.keras import keras2_hard_sigmoid` and give the layers "
    "recurrent_activation=keras2_hard_sigmoid"
)


def load_weights(model: Any, artefact: Artefact, mapped: Mapping[str, Any]) -> LoadNotes:
    """Load `.weights.h5`, weights of Keras 2, a TensorFlow checkpoint or a SavedModel's.

    `mapped` has names in the model → names in a name-based checkpoint, where they are ambiguous, and `forget_bias`.
    """
    if artefact.format == "weights-h5":
        return _load_weights_h5(model, artefact)
    if artefact.format == "keras2-weights-h5":
        return _load_keras2_h5(model, artefact)
    return _load_checkpoint(model, artefact, mapped)  # of a SavedModel, too


def _load_weights_h5(model: Any, artefact: Artefact) -> LoadNotes:
    load_hdf5(model, artefact.place, label=artefact.path)
    with h5py.File(artefact.place, "r") as file:
        unnamed = "vars" in file and "name" not in file["vars"].attrs
    return LoadNotes(warnings=changed_functions(model, "Keras 2 or an early Keras 3") if unnamed else ())


def _load_keras2_h5(model: Any, artefact: Artefact) -> LoadNotes:
    assumptions, rearranged = load_keras2_weights(model, artefact.place, label=artefact.path)
    version = version_of(artefact.place)
    # The gates of cuDNN's own layers, whose weights are rearranged, were always those of sigmoid.
    since = None
    if not rearranged and (not version or _BEFORE_2_3.match(version)):
        since = "TensorFlow 2" if version.endswith("-tf") else "Keras 2.3"
    return LoadNotes(assumptions, changed_functions(model, f"Keras {version or '2'}", since))


def keras2_hard_sigmoid(x: Any) -> Any:
    """Return 0.2 x + 0.5, at least 0 and at most 1: Keras 2's `hard_sigmoid`, the default of its gates before 2.3.

    The function of that name in Keras 3 is x / 6 + 0.5. A builder for old weights makes a layer with
    `recurrent_activation=keras2_hard_sigmoid`.

    >>> keras2_hard_sigmoid(np.array([-3.0, 0.0, 1.0])).numpy().round(3).tolist()
    [0.0, 0.5, 0.7]
    """
    return ops.clip(0.2 * x + 0.5, 0.0, 1.0)


def changed_functions(model: Any, writer: str, since: str | None = None) -> tuple[str, ...]:
    """Return warnings if layers use another function than that which the weights were likely trained with.

    `since` is the release that made sigmoid the default of gates, if the writer is older.
    """
    gates = (keras.layers.GRUCell, keras.layers.LSTMCell)
    hard, plain = [], []
    for path, layer in walk_below(model):
        for part in cells_in(layer.cell) if isinstance(layer, keras.layers.RNN) else (layer,):
            name, settings = key_of(layer, path), ("activation", "recurrent_activation")
            hard += [f"{name} ({s})" for s in settings if getattr(part, s, None) is keras.activations.hard_sigmoid]
            if since and isinstance(part, gates) and part.recurrent_activation is keras.activations.sigmoid:
                plain.append(name)
    warnings, wrote = [], f"{writer} wrote the weights, and"
    if hard:
        change = f"is Keras 3's, x / 6 + 0.5; {wrote} in Keras 2 it was 0.2 x + 0.5"
        warnings.append(f"hard_sigmoid of {_listed(hard)} {change}: {_IN_THE_BUILDER}")
    if since and plain:
        change = f"are computed by sigmoid; {wrote} before {since} the default was hard_sigmoid, 0.2 x + 0.5"
        unless = "unless it was trained with sigmoid"
        warnings.append(f"the gates of {_listed(plain)} {change}: {unless}, {_IN_THE_BUILDER}")
    return tuple(warnings)


def load_hdf5(model: Any, path: Path, *, label: Path) -> None:
    """Compare names and shapes with a file that the model itself saves, then let Keras load it; errors name `label`."""
    if not hasattr(model, "save_weights"):
        advice = "save it as a TensorFlow checkpoint (tf.train.Checkpoint(model=…).write)"
        raise CheckpointError(f"{label}: the builder made a {type(model).__name__}, and no Keras model: {advice}")
    with TemporaryDirectory() as folder:
        own = Path(folder) / "own.weights.h5"
        model.save_weights(own)
        wanted = checked_hdf5(own).weights
    held = checked_hdf5(path).weights
    if any(name.startswith("layers/") for name in held) and not any(name.startswith("layers/") for name in wanted):
        advice = "save them there as a TensorFlow checkpoint (model.save_weights('ckpt'))"
        raise CheckpointError(f"{label}: weights of a subclassed model of Keras 2, named after classes: {advice}")
    missing, unused = [name for name in wanted if name not in held], [name for name in held if name not in wanted]
    _require_match(label, missing, len(wanted), unused, ((name, held[name], wanted[name]) for name in wanted))
    try:
        model.load_weights(path)
    except (ValueError, OSError, KeyError) as error:
        raise CheckpointError(f"{label}: Keras could not load it: {in_one_line(error)}") from error


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
        _, held, wanted = wrong[0]
        turned = {len(held), len(wanted)} == {1, 2} and held[-1] == wanted[-1]
        hint = f"its GRU has reset_after={len(held) == 2}" if turned else "check the builder's sizes"
        raise WeightShapeError(f"{path}: {'; '.join(said)}{' …' * (len(wrong) > 3)}: {hint}", pairs=wrong)


def _listed(names: list[str]) -> str:
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")


# TensorFlow checkpoints


def _load_checkpoint(model: Any, artefact: Artefact, mapped: Mapping[str, Any]) -> LoadNotes:
    """Assign what the object graph or the names of a TensorFlow checkpoint match, if that is all of the model."""
    path = artefact.path
    try:
        reader = checkpoint_reader(artefact)
        by_graph = reader.has_tensor("_CHECKPOINTABLE_OBJECT_GRAPH")
        held = _matched_by_graph(model, reader) if by_graph else _matched_by_name(model, reader, path, mapped)
    except _UNREADABLE as error:
        raise CheckpointError(f"{path}: a damaged or truncated TensorFlow checkpoint: {in_one_line(error)}") from error
    variables, arrays = weights_of(model), held.arrays
    missing = [variable_name(variable) for variable in variables if id(variable) not in arrays]
    shapes = ((variable_name(v), arrays[id(v)].shape, tuple(v.shape)) for v in variables if id(v) in arrays)
    _require_match(path, missing, len(variables), held.unused, shapes, or_else=held.missing_hint)
    for variable in variables:
        variable.assign(arrays[id(variable)])
    return held.notes


def _matched_by_graph(model: Any, reader: Any) -> CheckpointArrays:
    """Walk the checkpoint's object graph and the model side by side, by attribute names.

    `Checkpoint.restore` is silent where nothing matches, and its keys are shortest paths that may lead through the
    optimizer; the graph that is stored with them has every path.
    """
    from tensorflow.core.protobuf import trackable_object_graph_pb2

    graph = trackable_object_graph_pb2.TrackableObjectGraph()
    graph.ParseFromString(reader.get_tensor("_CHECKPOINTABLE_OBJECT_GRAPH"))
    children = [{child.local_name: child.node_id for child in node.children} for node in graph.nodes]
    values = [[a.checkpoint_key for a in node.attributes] for node in graph.nodes]
    keys = [next((key for key in of_node if key.endswith(_VALUE)), None) for of_node in values]
    root, names = _best_match(children, keys, model)
    by_keras2 = any({"state_spec", "keras_api"} & set(of_node) for of_node in children)
    return CheckpointArrays(
        arrays={variable: reader.get_tensor(name) for variable, name in names.items()},
        unused=_unused(children, keys, root, names.values()),
        notes=LoadNotes(warnings=changed_functions(model, "Keras 2") if by_keras2 else ()),
        missing_hint="tf.train.Checkpoint did not save them, as happens to layers in a list under Keras 3, or ",
    )


def checkpoint_reader(artefact: Artefact) -> Any:
    """Open a TensorFlow checkpoint; refuse one whose tensors declare more bytes together than its data files have."""
    reader = tf.train.load_checkpoint(str(artefact.weights))
    types = reader.get_variable_to_dtype_map()  # a text takes at least a byte in the file
    widths = {name: 1 if kind == tf.string else kind.size for name, kind in types.items()}
    declared = sum(math.prod(shape) * widths[name] for name, shape in reader.get_variable_to_shape_map().items())
    held = sum(file.stat().st_size for file in artefact.files if ".data-" in file.name)
    if declared > held:
        seen = f"its tensors declare {declared:,} bytes, and its data files have {held:,}"
        raise refused("bundle-size", artefact.path, seen)
    return reader


def _best_match(
    children: Sequence[Mapping[str, int]], keys: Sequence[str | None], model: Any
) -> tuple[int, dict[int, str]]:
    """Return the object that matches the model best, the root or one of its children, and variable (`id`) → key."""
    wanted = set(map(id, weights_of(model)))
    matches: list[tuple[int, dict[int, str]]] = []
    for root in (0, *(node for name, node in children[0].items() if name not in NO_WEIGHTS)):
        matched: dict[int, str] = {}
        queue, visited = [(root, model)], set[tuple[int, int]]()
        while queue:
            node, value = queue.pop(0)
            if (node, id(value)) not in visited:
                visited.add((node, id(value)))
                key = keys[node]
                if key is not None and id(value) in wanted:
                    matched.setdefault(id(value), key)
                named = [(name, child) for name, child in children[node].items() if name not in _BY_PLACE]
                queue += [(child, value_below) for name, child in named for value_below in _held_by(value, name)]
        matches.append((root, matched))
    return max(matches, key=lambda match: len(match[1]))


def _unused(
    children: Sequence[Mapping[str, int]], keys: Sequence[str | None], root: int, used: Collection[str]
) -> list[str]:
    """Return the paths of the weights that no variable took; states of stateful layers are no weights."""
    states = {node for of_node in children for name, node in of_node.items() if name == "states"}
    known = {None, *used, *(keys[below] for node in states for below in (node, *children[node].values()))}
    queue, visited, names = [(root, "")], {root}, []
    while queue:
        node, path = queue.pop(0)
        if keys[node] not in known:
            names.append(path)
        for name, child in children[node].items():
            if child not in visited and name not in _NOT_THE_MODELS:
                visited.add(child)
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
        return [getattr(parent, name)]
    except (AttributeError, ValueError):
        return []


# Keras 2


def load_keras2_weights(model: Any, path: Path, *, label: Path) -> tuple[tuple[str, ...], bool]:
    """Load an `.h5` file of Keras 2, layers by name or in their order; errors name `label`.

    Return assumptions, and whether weights had the layout of cuDNN's own layers.
    """
    stored, in_order, rearranged = read_layers(path, label=label), False, False
    weighted = _weighted_layers(model)
    named = dict(weighted)
    if len(named) == len(weighted) and set(named) == set(stored):
        weighted = [(name, named[name]) for name in stored]
    elif len(stored) != len(weighted):
        own = [name for name, _ in weighted]
        raise CheckpointError(
            f"{label} has weights of {len(stored)} layers ({_listed([*stored]) or 'none'}), the model has {len(own)} "
            f"layers with weights ({_listed(own) or 'none'}): {_ANOTHER}"
        )
    else:
        in_order = True
    pairs: list[tuple[str, Any, Any]] = []  # the name of each weight, its array, and its variable
    for (layer, held), (_, variables) in zip(stored.items(), weighted, strict=True):
        arrays = [*held.values()]
        if len(variables) != len(arrays):
            seen = f"{len(arrays)} weights in the file and {len(variables)} in the model"
            raise CheckpointError(f"{label}: layer {layer} has {seen}: {_ANOTHER}")
        roles = [role_of(variable_name(variable)) for variable in variables]
        for at in range(len(roles) - 2):
            wanted = tuple(variables[at + 2].shape)
            is_cell = roles[at : at + 3] == ["kernel", "recurrent_kernel", "bias"]
            if is_cell and is_cudnn(arrays[at + 2].shape, wanted):
                arrays[at : at + 3] = from_cudnn(arrays[at], arrays[at + 1], arrays[at + 2], wanted)
                rearranged = True
        for role, stored_role, array, variable in zip(roles, map(role_of, held), arrays, variables, strict=True):
            if stored_role != role and {stored_role, role} <= _ROLES_OF_KERAS:
                where = f"where the model has {variable_name(variable)}"
                raise CheckpointError(f"{label}: layer {layer} has a {stored_role} {where}: another kind of layer")
            pairs.append((f"{layer}/{stored_role}", array, variable))
    _require_match(label, [], 0, [], ((name, array.shape, tuple(v.shape)) for name, array, v in pairs))
    for _, array, variable in pairs:
        variable.assign(np.asarray(array, np.float32))
    return (IN_ORDER,) * in_order + (REARRANGED,) * rearranged, rearranged


def _weighted_layers(model: Any) -> list[tuple[str, list[Any]]]:
    """Return name and weights of each layer, in the order of Keras 2; weights that belong to no layer come last."""
    layers = [
        (each.name, [*each.trainable_weights, *each.non_trainable_weights]) for each in getattr(model, "layers", ())
    ]
    known = {id(variable) for _, variables in layers for variable in variables}
    loose = [variable for variable in getattr(model, "weights", ()) if id(variable) not in known]
    every = [*layers, ("top_level_model_weights", loose)]
    return [(name, weights) for name, variables in every if (weights := [*filter(is_weight, variables)])]


# TensorFlow 1: one matrix for input and state together, `(inputs + units, gates · units)`. LSTM cells order the gates
# i, j, f, o and add the forget bias to f when they run; GRUCell has the gates r, u and, by itself, the candidate
# (tensorflow/python/ops/rnn_cell_impl.py of TensorFlow 1.15).

_OF_TRAINING = re.compile(
    r"/(Adam(_\d+)?|RMSProp(_\d+)?|Momentum|Adagrad|Adadelta(_\d+)?|Ftrl(_\d+)?|ExponentialMovingAverage|AdamW?)$"
    r"|(^|/)(global_step|beta\d_power(_\d+)?|learning_rate|lr|Variable(_\d+)?)$"
)
_CELL = re.compile(
    r"(?P<scope>.*?(?P<kind>lstm|gru|rnn)(_block)?_?cell(_\d+)?)"
    r"/(gates/)?(?P<part>candidate/)?(linear/)?((?P<kernel>kernel|weights|matrix)|bias|biases)",
    re.IGNORECASE,
)
_KINDS = {"lstm": "LSTM", "gru": "GRU", "rnn": "SimpleRNN"}


def _matched_by_name(model: Any, reader: Any, path: Path, weight_map: Mapping[str, Any]) -> CheckpointArrays:
    """Match cells by their order, and other weights as the map says, or by shape."""
    mapped = {end: str(name) for end, name in weight_map.items() if end != "forget_bias"}
    forget_bias = float(weight_map.get("forget_bias", 1.0))  # 1 is the default of the cells; no checkpoint has it
    left = {n: tuple(s) for n, s in reader.get_variable_to_shape_map().items() if s and not _OF_TRAINING.search(n)}
    cells: dict[str, dict[str, Any]] = {}  # the arrays of each cell by their roles
    kinds: dict[str, str] = {}
    for name, match in [(name, match) for name in left if (match := _CELL.fullmatch(name))]:
        role = f"{(match['part'] or '').lower()}{'kernel' if match['kernel'] else 'bias'}"
        cells.setdefault(match["scope"], {})[role] = reader.get_tensor(name)
        kinds[match["scope"]] = _KINDS[match["kind"].lower()]
        del left[name]
    order = sorted(cells, key=lambda scope: natural(scope.lower()))
    units = recurrent_units(model)
    if order and [kinds[scope] for scope in order] != [unit.kind.removesuffix("Cell") for unit in units]:
        raise CheckpointError(
            f"{path} has the cells {', '.join(f'{scope} ({kinds[scope]})' for scope in order)}; the model has "
            f"{', '.join(f'{unit.name} ({unit.kind})' for unit in units) or 'none'}: make the builder's layers the same"
        )
    arrays: dict[int, Any] = {}
    for scope, unit in zip(order, units, strict=False):
        weights = (unit.cell.kernel, unit.cell.recurrent_kernel, unit.cell.bias)
        matrices = _as_keras(kinds[scope], cells[scope], int(weights[0].shape[0]), forget_bias)
        arrays |= {id(weight): matrix for weight, matrix in zip(weights, matrices, strict=True)}
    others = [variable for variable in weights_of(model) if id(variable) not in arrays]
    names = _names_of(path, others, left, mapped)
    arrays |= {id(variable): reader.get_tensor(name) for variable, name in zip(others, names, strict=True)}
    met = "; ".join(f"{scope} is {unit.name}" for scope, unit in zip(order, units, strict=False))
    assumptions = [f"a checkpoint of TensorFlow 1: cells meet in their order ({met})"] if order else []
    if "LSTM" in kinds.values():
        default = 'the default of its cells, which no checkpoint holds (--weight-map: "forget_bias")'
        assumptions.append(f"forget bias {forget_bias:g}, {'as given' if 'forget_bias' in weight_map else default}")
    return CheckpointArrays(arrays, [name for name in left if name not in names], LoadNotes(tuple(assumptions)))


def _as_keras(kind: str, arrays: Mapping[str, Any], inputs: int, forget_bias: float) -> tuple[Any, Any, Any]:
    """Return kernel `(inputs, gates · units)`, recurrent kernel `(units, gates · units)` and bias in Keras' order."""
    kernel, bias = arrays["kernel"], arrays["bias"]
    if kind == "GRU":  # the order of Keras: update, reset, candidate; one that resets before the product
        (reset, update), (reset_bias, update_bias) = np.hsplit(kernel, 2), np.split(bias, 2)
        kernel = np.hstack([update, reset, arrays["candidate/kernel"]])
        bias = np.concatenate([update_bias, reset_bias, arrays["candidate/bias"]])
    elif kind == "LSTM":
        i, j, f, o = np.hsplit(kernel, 4)
        kernel = np.hstack([i, f, j, o])
        i, j, f, o = np.split(bias, 4)
        bias = np.concatenate([i, f + np.asarray(forget_bias, f.dtype), j, o])
    return kernel[:inputs], kernel[inputs:], bias


def _names_of(
    path: Path, variables: Sequence[Any], shapes: Mapping[str, tuple[int, ...]], mapped: Mapping[str, str]
) -> list[str]:
    """Return the name of each variable: as mapped, else the only one of its shape that the map leaves."""
    fitting: list[list[str]] = []
    for variable in variables:
        alike = [name for name, shape in shapes.items() if shape == tuple(variable.shape)]
        given = [name for end, name in mapped.items() if variable_name(variable).endswith(end)]
        fitting.append([n for n in alike if n in given or not (given or n in mapped.values())])
    if any(len(names) != 1 or fitting.count(names) != 1 for names in fitting):
        held = ", ".join(f"{name} {shape}" for name, shape in shapes.items()) or "none"
        own = ", ".join(f"{variable_name(each)} {tuple(each.shape)}" for each in variables)
        raise CheckpointError(
            f"{path}: which weight is which cannot be told: the checkpoint has {held}; the model wants {own}: give "
            '--weight-map FILE.json, such as {"dense/kernel": "softmax_w"}'
        )
    return [names[0] for names in fitting]
