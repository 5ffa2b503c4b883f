"""`from_mlx`: a model of mlx-lm that keeps its state in a prompt cache."""

import copy
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from msgspec import structs
from numpy.typing import NDArray

from rnneval.checkpoints.places import Artefact
from rnneval.checkpoints.pretrained import TOKENIZER, config_of, no_tokenizer
from rnneval.checkpoints.rules import refused
from rnneval.errors import CheckpointError, UsageError, type_and_message
from rnneval.models.protocol import require_finite
from rnneval.models.state import as_array
from rnneval.models.step import StepLM, from_step
from rnneval.text import Vocabulary, vocabulary_of_tokenizer

_TYPES = {"bfloat16", "float16"}


class MlxStep:
    """A step of a model of mlx-lm, whose state is the list of its caches: each call changes a copy."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def __call__(self, ids: NDArray[np.int32], state: list[Any] | None) -> tuple[NDArray[np.float32], list[Any]]:
        """Read ids `(rows, time)` from a state; return logits `(rows, time, V)` and the new state."""
        caches = self.caches() if state is None else copy.deepcopy(state)
        logits = self.read(ids, caches)
        _leave_out_room(caches)
        return logits, caches

    def caches(self) -> list[Any]:
        """Return an empty cache for each layer."""
        from mlx_lm.models.cache import make_prompt_cache

        caches: list[Any] = make_prompt_cache(self.model)
        return caches

    def read(self, ids: Sequence[Sequence[int]] | NDArray[np.int32], caches: list[Any]) -> NDArray[np.float32]:
        """Call the model, which changes its caches in place; return logits `(rows, time, V)`."""
        import mlx.core as mx

        logits = self.model(mx.array(np.asarray(ids, np.int32)), cache=caches).astype(mx.float32)
        mx.eval(logits, [each.state for each in caches])
        return np.array(logits)

    @property
    def half(self) -> str:
        """The type of half precision that a weight has, "" if none has one."""
        from mlx.utils import tree_flatten

        types = {str(weight.dtype).rpartition(".")[2] for _, weight in tree_flatten(self.model.parameters())}
        return min(types & _TYPES, default="")


def _leave_out_room(caches: Iterable[Any]) -> None:
    """Shorten keys and values to the tokens that were read: attention caches hold room for more."""
    for cache in caches:
        _leave_out_room(getattr(cache, "caches", ()))  # a list of caches for one layer
        offset = getattr(cache, "offset", None)
        if isinstance(offset, int) and getattr(cache, "keys", None) is not None:
            cache.keys, cache.values = cache.keys[..., :offset, :], cache.values[..., :offset, :]


def from_mlx(model: Any, tokenizer: Any = None, *, vocabulary: Any = None) -> StepLM:
    """Make a language model of a model of mlx-lm, such as `mlx_lm.load` returns.

    Args:
        model: A model of `mlx_lm.models`, called as `model(ids, cache=cache)`.
        tokenizer: Its tokenizer, or what `vocabulary` takes. One of the two is needed to evaluate the model.
        vocabulary: A Vocabulary, the tokens in the order of their ids, a map from token to id, or a vocabulary file.

    Raises:
        CheckpointError: the model fails, or has a state that cannot be carried.
        VocabularyError: the tokenizer does not fit the number of logits.
        UsageError: mlx-lm is not installed, it is no model of it, or both a tokenizer and a vocabulary are given.
    """
    _require_mlx("from_mlx")
    from mlx import nn

    if not isinstance(model, nn.Module):
        raise UsageError(f"from_mlx takes a model of mlx-lm, and was given a {type(model).__name__}: see mlx_lm.load")
    if tokenizer is not None and vocabulary is not None:
        raise UsageError("from_mlx: give tokenizer or vocabulary, not both")
    source = tokenizer if vocabulary is None else vocabulary
    wrapped = getattr(source, "_tokenizer", source)  # mlx-lm wraps the tokenizer of transformers
    return _language_model(MlxStep(model), vocabulary_of_tokenizer(wrapped))


def open_mlx(folder: Artefact, vocabulary: Vocabulary | None) -> StepLM:
    """Open a folder of mlx-lm, with the vocabulary that is given or its `tokenizer.json`; no file of it runs code.

    Raises:
        CheckpointError: mlx-lm does not know the model, or the weights do not fit.
        UsageError: mlx-lm is not installed.
    """
    _require_mlx(str(folder.path))
    from mlx.utils import tree_flatten
    from mlx_lm.utils import load_model

    if "model_file" in config_of(folder):
        raise refused("config-code", folder.path, "config.json names code of its own (model_file)")
    if extra := {*folder.path.glob("model*.safetensors")} - {*folder.files}:
        raise refused("damaged-file", folder.path, f"{min(extra).name} is not among the weights that the index names")
    before = folder.sha256
    try:
        model, _ = load_model(folder.path)
    except Exception as error:  # also a model that mlx-lm does not know, a ValueError
        raise CheckpointError(f"{folder.path}: mlx-lm cannot load it: {type_and_message(error)}") from error
    if replace(folder).sha256 != before:
        raise CheckpointError(f"{folder.path}: it was changed while it was read")
    weights = tree_flatten(model.parameters())
    require_finite(((name, _array(weight, name)) for name, weight in weights), str(folder.path))
    beside = folder.path / TOKENIZER
    if vocabulary is None and beside.is_file():
        vocabulary = Vocabulary.from_file(beside)
    lm = _language_model(MlxStep(model), vocabulary)
    checkpoint = structs.replace(lm.checkpoint, path=str(folder.path), sha256=before, format="mlx", name=None)
    return replace(lm, checkpoint=checkpoint, why_no_vocabulary="" if lm.vocabulary else no_tokenizer(folder.path))


def _language_model(step: MlxStep, vocabulary: Vocabulary | None) -> StepLM:
    try:
        width = step.read([[1]], step.caches()).shape[-1]
    except Exception as error:
        raise CheckpointError(f"the model fails to read one token: {type_and_message(error)}") from error
    lm = from_step(step, vocab_size=width, vocabulary=vocabulary, name=type(step.model).__module__.rpartition(".")[2])
    from mlx.utils import tree_flatten

    parameters = sum(weight.size for _, weight in tree_flatten(step.model.parameters()))
    return replace(lm, checkpoint=structs.replace(lm.checkpoint, parameters=parameters))


def _array(weight: Any, name: str) -> NDArray[Any]:
    """Return a weight as an array of NumPy, which has no bfloat16."""
    import mlx.core as mx

    return as_array(weight.astype(mx.float32) if weight.dtype == mx.bfloat16 else weight, name)


def _require_mlx(what: str) -> None:
    from importlib.util import find_spec

    if missing := [name for name in ("mlx", "mlx_lm") if find_spec(name) is None]:
        raise UsageError(f"{what}: needs {missing[0]}, which is not installed: pip install 'rnneval[mlx]'")
