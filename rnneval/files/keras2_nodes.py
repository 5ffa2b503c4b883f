"""How the layers of a functional model of Keras 2 are connected, in the words of Keras 3."""

from collections.abc import Collection
from typing import Any

from rnneval.errors import CheckpointError


def rewritten_nodes(
    nodes: list[Any], *, recurrent: bool, where: str, sequentials: Collection[str] = ()
) -> list[dict[str, Any]]:
    """Rewrite the inbound nodes of one layer.

    Keras 2 has a list of `[layer, node, tensor, keyword arguments]` for each call. The initial states of a recurrent
    layer are further tensors of that list; Keras 3 wants them by name. For models inside of the model, Keras 2 counts
    their making as call 0; so does Keras 3 for functional ones, but not for `sequentials`.

    Raises:
        CheckpointError: a node is none of these.

    Example:
        >>> node = rewritten_nodes([[["a", 0, 0, {}], ["b", 0, 1, {}]]], recurrent=True, where="gru")[0]
        >>> node["kwargs"]["initial_state"][0]["config"]["keras_history"]
        ['b', 0, 1]
    """
    try:
        return [_node(node, recurrent=recurrent, sequentials=sequentials) for node in nodes]
    except (IndexError, TypeError, ValueError, KeyError) as error:
        raise CheckpointError(f"{where}: how it is connected cannot be read ({error}): the file is damaged") from error


def _node(node: Any, *, recurrent: bool, sequentials: Collection[str]) -> dict[str, Any]:
    if node and isinstance(node[0], str):  # one tensor, not in a list of its own
        node = [node]
    tensors = [_tensor(entry, sequentials) for entry in node]
    said = node[0][3] if len(node[0]) > 3 and isinstance(node[0][3], dict) else {}
    named = {
        key: _argument(value, sequentials) for key, value in said.items() if value is not None and key != "training"
    }
    if recurrent and len(tensors) > 1:
        return {"args": [tensors[0]], "kwargs": {**named, "initial_state": tensors[1:]}}
    return {"args": [tensors[0] if len(tensors) == 1 else tensors], "kwargs": named}


def _argument(value: Any, sequentials: Collection[str]) -> Any:
    if _is_tensor(value):
        return _tensor(value, sequentials)
    if isinstance(value, list):
        return [_argument(item, sequentials) for item in value]
    return value


def _is_tensor(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) in {3, 4}
        and isinstance(value[0], str)
        and all(isinstance(index, int) for index in value[1:3])
    )


def _tensor(entry: Any, sequentials: Collection[str]) -> dict[str, Any]:
    """A reference; shape and type are put in by Keras, which replaces it by the tensor itself."""
    config = {"shape": [None], "dtype": "float32", "keras_history": rewritten_reference(entry, sequentials)}
    return {"class_name": "__keras_tensor__", "config": config}


def rewritten_reference(entry: Any, sequentials: Collection[str]) -> list[Any]:
    """Rewrite one `[layer, node, tensor]`."""
    layer, node, index = str(entry[0]), int(entry[1]), int(entry[2])
    return [layer, max(0, node - 1) if layer in sequentials else node, index]
