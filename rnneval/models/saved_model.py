"""The vocabulary in a SavedModel: string constants of its graph, read as data. No graph is loaded or run."""

from typing import Any

import tensorflow as tf

from rnneval.errors import CheckpointError, VocabularyError
from rnneval.files import Artefact
from rnneval.text import Vocabulary

_UNKNOWN = "[UNK]"
_LARGEST = 1 << 31


def stored_vocabulary(artefact: Artefact) -> Vocabulary | None:
    """Find the one table of tokens that is as long as some weight is wide.

    StringLookup keeps id 0 for [UNK] and stores only the other tokens, so that a table of one token less fits, too.

    Returns:
        The vocabulary; None if there is no such table.

    Raises:
        CheckpointError: saved_model.pb is damaged.
        VocabularyError: several tables fit and differ.
    """
    sizes = _sizes(artefact)
    fitting: dict[str, Vocabulary] = {}
    for tokens in _tables(artefact):
        known = tokens if len(tokens) in sizes else [_UNKNOWN, *tokens] if len(tokens) + 1 in sizes else None
        if known is not None and len(set(known)) == len(known):
            found = Vocabulary.from_tokens(known, source=f"a lookup table of the SavedModel {artefact.path}")
            fitting.setdefault(found.sha256, found)
    if len(fitting) > 1:
        raise VocabularyError(
            f"{artefact.path}: {len(fitting)} tables of tokens fit and differ: say which by --vocab FILE"
        )
    return next(iter(fitting.values()), None)


def _sizes(artefact: Artefact) -> set[int]:
    """Return every dimension of a weight: the vocabulary is as long as one of them."""
    try:
        reader: Any = tf.train.load_checkpoint(str(artefact.weights))
        return {int(size) for shape in reader.get_variable_to_shape_map().values() for size in shape}
    except (tf.errors.OpError, ValueError, RuntimeError) as error:
        raise CheckpointError(
            f"{artefact.path}: its variables are damaged: {' '.join(str(error).split())[:200]}"
        ) from error


def _tables(artefact: Artefact) -> list[list[str]]:
    """Return the rows of strings among the constants of the graph; its functions have only names of weights."""
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped, unused-ignore]
    from tensorflow.core.protobuf import saved_model_pb2

    path, program = artefact.path / "saved_model.pb", artefact.place / "saved_model.pb"
    if program.stat().st_size > _LARGEST:
        raise CheckpointError(f"{path}: larger than {_LARGEST:,} bytes: refused")
    model = saved_model_pb2.SavedModel()
    try:
        model.ParseFromString(program.read_bytes())
    except DecodeError as error:
        raise CheckpointError(f"{path}: damaged or truncated ({error}): copy or save it again") from error
    nodes = [node for graph in model.meta_graphs for node in graph.graph_def.node if node.op == "Const"]
    tensors = [node.attr["value"].tensor for node in nodes]
    found = []
    for tensor in tensors:
        row = len(tensor.tensor_shape.dim) == 1 and tensor.dtype == tf.string.as_datatype_enum
        if row and len(tensor.string_val) == tensor.tensor_shape.dim[0].size > 1:
            found.append([bytes(value).decode("utf-8", errors="replace") for value in tensor.string_val])
    return found
