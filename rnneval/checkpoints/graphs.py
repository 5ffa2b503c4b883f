"""ONNX files, read within limits: nothing outside of their folder, no operators of other libraries, no large claims.

onnxruntime can end the process that loads a file, so a child process loads each graph first.
"""

import json
import math
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rnneval.checkpoints.places import PICKLES
from rnneval.errors import CheckpointError, UsageError, in_one_line, type_and_message
from rnneval.paths import read_regular, reason_of

_MOST_BYTES = (1 << 31) - 1  # of a file and its external data, as of every message of protobuf
_MOST_SETTINGS = 1 << 20
_MOST_SECONDS = 120
_DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml", "com.microsoft"})
"""Domains whose operators are part of onnxruntime."""
_STORED_AS = ("float_data", "int32_data", "int64_data", "double_data", "uint64_data", "string_data")
_CHILD = """
import os, sys
os.environ["OPENBLAS_NUM_THREADS"] = "1"
try:
    import resource
    resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[1]),) * 2)
except ImportError:
    pass
import onnxruntime
options = onnxruntime.SessionOptions()
options.log_severity_level, options.intra_op_num_threads = 4, 1
try:
    onnxruntime.InferenceSession(sys.stdin.buffer.read(), options, providers=["CPUExecutionProvider"])
except BaseException as error:
    sys.exit(" ".join(str(error).split()) or type(error).__name__)
os._exit(0)
"""
"""Loads a graph. Half of its time would go into threads of NumPy's library, and into taking Python down at the end."""


@dataclass(frozen=True, kw_only=True, eq=False)
class GraphFile:
    """An ONNX file with all of its weights in memory, as it is given to onnxruntime."""

    path: Path
    sha256: str  # of the file; with external data, of the file and then of each part that is read
    model: Any  # onnx.ModelProto
    external: tuple[str, ...]  # names of the files beside it whose data were read

    @property
    def parameters(self) -> int:
        """The count of numbers of its weights."""
        return sum(math.prod(tensor.dims) for tensor in self.model.graph.initializer)


def read_graph(path: Path) -> GraphFile:
    """Read an ONNX file and its external data; nothing of it is run.

    Raises:
        CheckpointError: it is no whole ONNX file, names data elsewhere or custom operators, or is too large.
        UsageError: onnx or onnxruntime is not installed.
    """
    missing = [name for name in ("onnx", "onnxruntime") if find_spec(name) is None]
    if missing:
        raise UsageError(f"{path}: needs {missing[0]}, which is not installed: pip install 'rnneval[onnx]'")
    raw = _read(path)
    if raw.startswith(PICKLES):
        seen = "a pickle: reading one runs code, so it is never read: export the model with torch.onnx.export"
        raise CheckpointError(f"{path}: refused by rule pickle: {seen}", rule="pickle")
    import onnx

    model = onnx.ModelProto()
    try:
        model.ParseFromString(raw)
    except Exception as error:
        raise CheckpointError(f"{path}: no whole ONNX file (damaged, truncated or of another format)") from error
    if not (model.graph.node and model.graph.output and model.ir_version and model.opset_import):
        raise CheckpointError(f"{path}: no whole ONNX file: it lacks nodes, outputs or the versions of its operators")
    _require_known_operators(path, model)
    digest, total, external = sha256(raw), len(raw), dict[str, None]()
    for tensor in _tensors(model):
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            name, part = _external(path, tensor)
            total += len(part)
            if total > _MOST_BYTES:
                raise CheckpointError(f"{path}: more than {_MOST_BYTES:,} bytes with its external data")
            digest.update(part)
            external[name] = None
        _require_stored(path, tensor)
    return GraphFile(path=path, sha256=digest.hexdigest(), model=model, external=tuple(external))


def settings_beside(path: Path) -> dict[str, Any]:
    """Return `genai_config.json` of the folder of a graph, in which onnxruntime-genai finds names; {} without one."""
    file = path.with_name("genai_config.json")
    if not file.is_file():
        return {}
    try:
        settings = json.loads(read_regular(file, _MOST_SETTINGS))
        decoder = settings["model"]["decoder"]
        ports = {part: dict(decoder[part]) for part in ("inputs", "outputs")}
        return {**ports, "layers": int(decoder.get("num_hidden_layers", 0))}
    except OSError as error:
        raise CheckpointError(f"{file}: cannot be read: {reason_of(error)}") from error
    except (ValueError, RecursionError, KeyError, TypeError) as error:
        why = type_and_message(error)
        raise CheckpointError(f"{file}: model.decoder with inputs and outputs is needed ({why})") from error


def require_loads(path: Path, serialized: bytes) -> None:
    """Load a graph in a child process; refuse one that onnxruntime does not accept, or at which it ends."""
    limit = (6 << 30) + 4 * len(serialized)  # onnxruntime itself reserves about 1 GB of addresses
    command = [sys.executable, "-P", "-c", _CHILD, str(limit)]
    try:
        child = subprocess.run(command, input=serialized, capture_output=True, timeout=_MOST_SECONDS, check=False)  # noqa: S603 - our own words
    except subprocess.TimeoutExpired as error:
        raise CheckpointError(f"{path}: onnxruntime takes more than {_MOST_SECONDS} seconds to load it") from error
    if child.returncode < 0:
        advice = "export it in float32, or with another exporter or version"
        raise CheckpointError(f"{path}: onnxruntime ends at loading (signal {-child.returncode}): {advice}")
    if child.returncode:
        words = child.stderr.decode(errors="replace").split()
        raise CheckpointError(f"{path}: onnxruntime refuses it: {' '.join(words)[:300]}")


def _read(path: Path) -> bytes:
    try:
        return read_regular(path, _MOST_BYTES)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {reason_of(error)}") from error


def _nodes(graph: Any) -> Iterator[Any]:
    """Yield the nodes of a graph or function, and those of the graphs within them."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from _nodes(inner)


def _require_known_operators(path: Path, model: Any) -> None:
    functions = {(function.domain, function.name) for function in model.functions}
    for graph in (model.graph, *model.functions):
        for node in _nodes(graph):
            if node.domain not in _DOMAINS and (node.domain, node.op_type) not in functions:
                seen = f"the custom operator {node.domain}::{node.op_type}, which needs a library that runs code"
                raise CheckpointError(f"{path}: {seen}: export it with operators of ONNX alone")


def _tensors(model: Any) -> Iterator[Any]:
    """Yield every tensor that a model stores."""
    for graph in (model.graph, *model.functions):
        inner = [attribute for node in _nodes(graph) for attribute in node.attribute]
        graphs = [each for attribute in inner for each in (attribute.g, *attribute.graphs)]
        for each in (*([graph] if graph is model.graph else []), *graphs):
            yield from each.initializer
            for sparse in each.sparse_initializer:
                yield from (sparse.values, sparse.indices)
        for attribute in inner:
            yield from (attribute.t, *attribute.tensors)
            for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
                yield from (sparse.values, sparse.indices)


def _external(path: Path, tensor: Any) -> tuple[str, bytes]:
    """Put external data into a tensor; return the name of their file, and the data."""
    entries = {entry.key: entry.value for entry in tensor.external_data}
    name = entries.get("location", "")
    file = path.parent / name
    if not name or Path(name).name != name or file.resolve().parent != path.parent.resolve():
        seen = f"external data at {in_one_line(ValueError(repr(name[:80])))}, outside of its folder"
        raise CheckpointError(f"{path}: {seen}: only files beside the graph are read")
    content = _read(file)
    try:
        offset, length = int(entries.get("offset") or 0), entries.get("length")
        end = len(content) if length is None else offset + int(length)
    except ValueError as error:
        raise CheckpointError(f"{path}: external data of {tensor.name} with a place that is no number") from error
    if not 0 <= offset <= end <= len(content):
        seen = f"{name} has {len(content):,} bytes, and {tensor.name} is bytes {offset:,} to {end:,}"
        raise CheckpointError(f"{path}: {seen}: the external data are not whole")
    tensor.raw_data = content[offset:end]
    del tensor.external_data[:]
    tensor.data_location = 0
    return name, tensor.raw_data


def _require_stored(path: Path, tensor: Any) -> None:
    """Refuse a tensor that declares more numbers than are stored: four at most share a byte, or a number."""
    stored = 4 * (len(tensor.raw_data) + sum(len(getattr(tensor, field)) for field in _STORED_AS))
    if any(size < 0 for size in tensor.dims) or math.prod(tensor.dims) > max(stored, 1):
        seen = f"tensor {tensor.name!r} declares the shape {tuple(tensor.dims)} and stores other numbers"
        raise CheckpointError(f"{path}: {seen}: the file is damaged")
