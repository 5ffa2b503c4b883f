"""Loading weights into a built model. Weights that are missing or left over are an error that names them."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import h5py
import numpy as np
import tensorflow as tf

from rnneval.errors import CheckpointError, ShapePair, WeightShapeError
from rnneval.files import Artefact
from rnneval.files.hdf5 import shapes_of
from rnneval.models.keras2 import is_kept_state, keras2_tree, load_keras2_weights
from rnneval.models.lm import model_variables, variable_name
from rnneval.models.tf1_weights import load_tf1_weights

# State that is saved with the weights and has no part in evaluation: random generators and state of the training.
_NO_WEIGHTS = ("seed_generator", "optimizer", "metrics", "_metrics", "compile_metrics", "loss")
_NOT_THE_MODELS = {*_NO_WEIGHTS, "save_counter", "keras_api"}
# Errors of TensorFlow's reader for a damaged file, beside its own: C++ statuses become built-in exceptions.
_UNREADABLE = (ValueError, RuntimeError, LookupError, OSError, MemoryError)
# Lists in which a weight has no name, only a place, which differs between versions of Keras: never a way to a weight.
_BY_PLACE = {"variables", "trainable_variables", "non_trainable_variables", "weights"}
_VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"


def load_weights(model: Any, artefact: Artefact, mapped: Mapping[str, Any] | None = None) -> tuple[str, ...]:
    """Load `.weights.h5`, weights of Keras 2, a TensorFlow checkpoint or a SavedModel's into a built model.

    `mapped` has names in the model → names in a name-based checkpoint (see `load_tf1_weights`).

    Returns:
        Assumptions, a sentence each.

    Raises:
        CheckpointError: a weight of the model is not in the file, one of the file is not in the model, shapes differ,
            or the file is damaged.
    """
    if artefact.format == "weights-h5":
        load_hdf5(model, artefact.place, shown=artefact.path)
        return ()
    if artefact.format == "keras2-weights-h5":
        return load_keras2_weights(model, artefact.place, shown=artefact.path)
    return _load_tensorflow(model, artefact, mapped)


def load_hdf5(model: Any, path: Path, *, shown: Path | None = None) -> None:
    """Compare names and shapes with a file that the model itself saves, then let Keras load the weights.

    `shown` is the file to name in messages, if `path` is a part of it.
    """
    loaded, path = path, shown or path
    if not hasattr(model, "save_weights"):
        raise CheckpointError(
            f"{path}: a .weights.h5 file is loaded by a Keras model, and the builder made a {type(model).__name__}: "
            "save it as a TensorFlow checkpoint (tf.train.Checkpoint(model=…).write)"
        )
    with TemporaryDirectory() as folder:
        own = Path(folder) / "own.weights.h5"
        model.save_weights(own)
        wanted = dict(_weights_only(shapes_of(own).items()))
    held = dict(_weights_only(shapes_of(loaded).items()))
    if any(name.startswith("layers/") for name in held) and not any(name.startswith("layers/") for name in wanted):
        _load_keras2_tree(model, loaded, held, shown=path)
        return
    _require_all(path, missing=[name for name in wanted if name not in held], of=len(wanted))
    _require_used(path, [name for name in held if name not in wanted])
    _require_shapes(path, [(name, held[name], wanted[name]) for name in wanted])
    try:
        model.load_weights(loaded)
    except (ValueError, OSError, KeyError) as error:
        raise CheckpointError(f"{path}: Keras could not load it: {' '.join(str(error).split())[:300]}") from error


def _load_keras2_tree(model: Any, path: Path, held: Mapping[str, tuple[int, ...]], *, shown: Path) -> None:
    """Load the weights of a subclassed model of Keras 2; `held` has their shapes by their paths in the file."""
    found = keras2_tree(model)
    variables = [variable for variable in model_variables(model) if not is_kept_state(variable)]
    reached = {id(found[name]) for name in held if name in found}
    missing = [variable_name(variable) for variable in variables if id(variable) not in reached]
    _require_all(shown, missing=missing, of=len(variables))
    _require_used(shown, [name for name in held if name not in found])
    _require_shapes(shown, [(name, shape, tuple(found[name].shape)) for name, shape in held.items()])
    with h5py.File(path, "r") as file:
        for name in held:
            found[name].assign(np.asarray(file[name][()], np.float32))


def _weights_only(items: Iterable[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
    return ((name, value) for name, value in items if not set(name.split("/")) & set(_NO_WEIGHTS))


def _require_all(path: Path, *, missing: list[str], of: int, or_else: str = "") -> None:
    if missing:
        raise CheckpointError(
            f"{len(missing)} of {of} weights not found in {path}: {_listed(missing)}: "
            f"{or_else}the builder makes another model than the one that was saved"
        )


def _require_used(path: Path, unused: list[str]) -> None:
    if unused:
        raise CheckpointError(
            f"{path} has weights the model does not use: {_listed(unused)}: the builder makes another model than the "
            "one that was saved"
        )


def _require_shapes(path: Path, pairs: list[ShapePair]) -> None:
    wrong = [(name, held, wanted) for name, held, wanted in pairs if held != wanted]
    if wrong:
        said = [f"{name} is {held} in the file and {wanted} in the model" for name, held, wanted in wrong[:3]]
        more = " …" if len(wrong) > 3 else ""
        raise WeightShapeError(f"{path}: {'; '.join(said)}{more}: check the builder's sizes", pairs=wrong)


def _listed(names: list[str]) -> str:
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")


def _load_tensorflow(model: Any, artefact: Artefact, mapped: Mapping[str, Any] | None) -> tuple[str, ...]:
    """Walk the checkpoint's object graph and the model side by side, by attribute names, and assign what meets.

    `Checkpoint.restore` is silent where nothing matches, and its keys are shortest paths that may lead through the
    optimizer; the graph that is stored with them has every path.
    """
    prefix = artefact.path
    try:
        reader = tf.train.load_checkpoint(str(artefact.weights))
        if not reader.has_tensor("_CHECKPOINTABLE_OBJECT_GRAPH"):
            return load_tf1_weights(model, reader, prefix, mapped)
        graph = _ObjectGraph(reader)
        found = graph.best_match(model)
        values = {key: reader.get_tensor(key) for key in found.values()}
    except (*_UNREADABLE, tf.errors.OpError) as error:
        raise CheckpointError(
            f"{prefix}: a damaged or truncated TensorFlow checkpoint: {' '.join(str(error).split())[:300]}"
        ) from error
    variables = {id(variable): variable for variable in model_variables(model) if not _is_seed(variable)}
    missing = [variable_name(variable) for key, variable in variables.items() if key not in found]
    unsaved = "tf.train.Checkpoint did not save them, as happens to layers in a list under Keras 3, or "
    _require_all(prefix, missing=missing, of=len(variables), or_else=unsaved)
    _require_used(prefix, graph.unused(set(found.values())))
    shapes = [(variable_name(variables[i]), values[key].shape, tuple(variables[i].shape)) for i, key in found.items()]
    _require_shapes(prefix, shapes)
    for identity, key in found.items():
        variables[identity].assign(values[key])
    return ()


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

    def best_match(self, model: Any) -> dict[int, str]:
        """Return variable (by `id`) → checkpoint key, of the best match: the root or one of its children."""
        roots = [0, *(node for name, node in self._children[0].items() if name not in _NO_WEIGHTS)]
        matches = [(self._match(model, root), root) for root in roots]
        found, self._root = max(matches, key=lambda match: len(match[0]))
        return found

    def _match(self, model: Any, root: int) -> dict[int, str]:
        wanted = {id(variable) for variable in model_variables(model) if not _is_seed(variable)}
        found: dict[int, str] = {}
        queue: list[tuple[int, Any]] = [(root, model)]
        seen: set[tuple[int, int]] = set()
        while queue:
            node, value = queue.pop(0)
            if (node, id(value)) in seen:
                continue
            seen.add((node, id(value)))
            key = self._keys[node]
            if key is not None and id(value) in wanted:
                found.setdefault(id(value), key)
            for name, child in self._children[node].items():
                if name not in _BY_PLACE:
                    queue.extend((child, held) for held in _held_by(value, name))
        return found

    def unused(self, used: set[str]) -> list[str]:
        """Return the paths of the weights below the matched object that no variable took.

        The states of stateful layers are not weights: they are left from the last tokens read.
        """
        states = {node for children in self._children for name, node in children.items() if name == "states"}
        kept = (self._keys[below] for node in states for below in (node, *self._children[node].values()))
        used = used | {key for key in kept if key is not None}
        queue, seen, names = [(self._root, "")], {self._root}, []
        while queue:
            node, path = queue.pop(0)
            key = self._keys[node]
            if key is not None and key not in used:
                names.append(path)
            for name, child in self._children[node].items():
                if child not in seen and name not in _NOT_THE_MODELS:
                    seen.add(child)
                    queue.append((child, f"{path}/{name}".lstrip("/")))
        return names


def _held_by(parent: Any, name: str) -> list[Any]:
    """Return the children of an object under a name of the checkpoint: an attribute, or an item of a list or dict.

    Keras 2 counts the layers of a model, all of them and those with weights.
    """
    prefix, _, number = name.rpartition("-")
    if prefix == "layer_with_weights" and number.isdigit():
        counted = [layer for layer in getattr(parent, "layers", ()) if layer.weights]
        return counted[int(number) : int(number) + 1]
    if isinstance(parent, (list, tuple)):
        return [parent[int(name)]] if name.isdigit() and int(name) < len(parent) else []
    if isinstance(parent, dict):
        return [parent[name]] if name in parent else []
    try:
        return [getattr(parent, name)] if hasattr(parent, name) else []
    except (AttributeError, ValueError):
        return []


def _is_seed(variable: Any) -> bool:
    return "seed_generator" in variable_name(variable) or not np.issubdtype(np.dtype(variable.dtype), np.floating)
