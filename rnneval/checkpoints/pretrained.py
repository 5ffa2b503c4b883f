"""Folders that `save_pretrained` of transformers writes: what is in them, without importing PyTorch."""

import json
from pathlib import Path
from typing import Any

from rnneval.checkpoints.places import Artefact
from rnneval.checkpoints.rules import refused
from rnneval.errors import CheckpointError
from rnneval.paths import read_regular, reason_of

TOKENIZER = "tokenizer.json"
_INDEX = "model.safetensors.index.json"
_MOST_BYTES = {"config.json": 1 << 20, _INDEX: 1 << 26}
_PICKLED = ("pytorch_model.bin", "pytorch_model.bin.index.json")
_SAVE_AGAIN = (
    "where you trust them, load the model and save it with save_pretrained(…, safe_serialization=True), or convert "
    "them to model.safetensors by safetensors.torch.save_file"
)


def pretrained(path: Path) -> Artefact | None:
    """Return the files of a folder with `config.json` and safetensors; None if the path is no such folder."""
    if not (path / "config.json").is_file() or (path / "model.weights.h5").exists():
        return None
    index, whole = path / _INDEX, path / "model.safetensors"
    if not index.is_file() and not whole.is_file():
        pickled = [name for name in _PICKLED if (path / name).exists()]
        if pickled:
            seen, advice = f"{pickled[0]}: pickled weights, and reading a pickle runs code", _SAVE_AGAIN
            raise CheckpointError(f"{path}: refused by rule pickle: {seen}: {advice}", rule="pickle")
        return None
    parts = _parts(path, index) if index.is_file() else (whole,)
    for file in (path / "config.json", *parts):
        if file.resolve().parent != path.resolve():
            raise refused("folder-link", path, f"{file.name} is a link out of the folder")
    return Artefact(path=path, format="transformers", files=(path / "config.json", *parts))


def no_tokenizer(path: Path) -> str:
    """Return why a folder has no vocabulary, and what to do."""
    return f"{path} has no {TOKENIZER}: save it there (tokenizer.save_pretrained), or give --vocab FILE"


def config_of(artefact: Artefact) -> dict[str, Any]:
    """Return the configuration of a folder."""
    return _json(artefact.path / "config.json")


def _parts(path: Path, index: Path) -> tuple[Path, ...]:
    """Return the files with the weights that an index names."""
    named = _json(index).get("weight_map")
    names = [*named.values()] if isinstance(named, dict) else []
    if not names or not all(isinstance(name, str) and Path(name).name == name for name in names):
        raise refused("damaged-file", path, f"{_INDEX} names no files of this folder")
    parts = tuple(path / name for name in sorted({*names}))
    if missing := [part.name for part in parts if not part.is_file()]:
        raise refused("damaged-file", path, f"{_INDEX} names {missing[0]}, which is not there")
    return parts


def _json(path: Path) -> dict[str, Any]:
    """Read a JSON object of limited size."""
    try:
        plain = json.loads(read_regular(path, _MOST_BYTES[path.name]))
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {reason_of(error)}") from error
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: not whole JSON ({error})") from error
    if not isinstance(plain, dict):
        raise CheckpointError(f"{path}: a JSON object is needed, and it is a {type(plain).__name__}")
    return plain
