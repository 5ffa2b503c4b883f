"""`from_transformers`: a causal language model of transformers that keeps a cache."""

import inspect
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rnneval.errors import CheckpointError, UsageError
from rnneval.models.step import StepLM
from rnneval.models.torch.module import TorchStep, language_model, require_module
from rnneval.text import vocabulary_of_tokenizer

_CACHES = ("cache", "past_key_values", "cache_params", "state")
"""Names of the cache among the arguments and outputs of a model, the newest first."""


@contextmanager
def quiet() -> Iterator[None]:
    """Let transformers show errors alone while the block runs."""
    handlers = logging.getLogger("transformers").handlers  # the level of a logger is slow to change: it empties a cache
    levels = [handler.level for handler in handlers]
    for handler in handlers:
        handler.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for handler, level in zip(handlers, levels, strict=True):
            handler.setLevel(level)


@dataclass(frozen=True, kw_only=True)
class CachedState:
    """The state of a model of transformers."""

    cache: Any  # the cache as the model returned it
    position: int  # the number of tokens that were read


class CachedStep(TorchStep):
    """A step of a causal language model of transformers."""

    def __init__(self, module: torch.nn.Module) -> None:
        super().__init__(module, lambda _, ids, state: self._read(ids, state))
        parameters = inspect.signature(self.module.forward).parameters
        self.accepts = frozenset(parameters)
        """Names of the arguments of the model's forward; what its `**kwargs` may hold is not among them."""
        self.cache_name = next((name for name in _CACHES if name in parameters), "")
        self._makes_no_cache = False

    def of(self, module: torch.nn.Module) -> "CachedStep":
        """Return the same step of another module."""
        return CachedStep(module)

    @property
    def chunk_sizes(self) -> dict[str, int]:
        """The lengths of the chunks that the configuration names, by the names of the settings."""
        return {
            name: value
            for name, value in vars(self.module.config).items()
            if ("chunk_size" in name or name == "block_size") and not ("attention" in name or "feed" in name)
            if isinstance(value, int) and value > 3
        }

    def find_held(self, ids: NDArray[np.int32]) -> None:
        """Find the state that the model holds itself; refuse a model that has neither such a state nor a cache."""
        super().find_held(ids)
        if not self.cache_name and not self._held:
            raise CheckpointError(
                f"{type(self.module).__name__}.forward has none of the arguments {', '.join(_CACHES)}, and keeps "
                "nothing itself: it carries no state"
            )

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Put the model into evaluation mode while the block runs, and keep transformers from telling of kernels."""
        with quiet(), super().evaluating():
            yield

    def _read(self, ids: torch.Tensor, state: CachedState | None) -> tuple[torch.Tensor, CachedState]:
        """Call the model with a cache that it may change."""
        rows, time = ids.shape
        start = 0 if state is None else state.position
        cache = self.first_cache(rows) if state is None else state.cache
        positions = torch.arange(start, start + time, device=ids.device)
        arguments: dict[str, Any] = {"position_ids": positions.expand(rows, time), self.cache_name: cache}
        if state is not None or self.cache_name != "cache_params":
            # Models of that time take positions in a first call for those of a later one.
            arguments["cache_position"] = positions
        known = {name: value for name, value in arguments.items() if name in self.accepts}
        returned = self.called(input_ids=ids, use_cache=True, **known)
        after = next((returned[name] for name in _CACHES if returned.get(name) is not None), cache)
        if after is None and self.cache_name:
            self._makes_no_cache = True
            return self._read(ids, state)
        return returned.logits, CachedState(cache=after, position=start + time)

    def first_cache(self, rows: int) -> Any:
        """Return the cache of a first call: None, but for a model that makes none, or keeps to itself the one it makes.

        Releases of transformers before 5.4 have a class for such a cache beside the model.
        """
        if not self._makes_no_cache:
            return None
        from transformers import DynamicCache

        config, beside = self.module.config, vars(sys.modules[type(self.module).__module__])
        own = (each for name, each in beside.items() if name.endswith("Cache"))
        made = next((each for each in own if getattr(each, "__module__", "") == beside["__name__"]), DynamicCache)
        known = {"config": config, "dtype": self.module.dtype, "device": self.device}
        if made is not DynamicCache:
            known |= {"batch_size": rows, "max_batch_size": rows}
        takes = inspect.signature(made).parameters
        return made(**{name: value for name, value in known.items() if name in takes})


def from_transformers(model: Any, tokenizer: Any = None, *, vocabulary: Any = None) -> StepLM:
    """Make a language model of a causal language model of transformers that keeps a cache.

    Args:
        model: A `PreTrainedModel` whose forward takes a cache: a recurrent model, or a hybrid with attention layers.
        tokenizer: Its fast tokenizer, or what `vocabulary` takes. One of the two is needed to evaluate the model.
        vocabulary: A Vocabulary, the tokens in the order of their ids, a map from token to id, or a vocabulary file; or
            a tokenizer.

    Raises:
        CheckpointError: the model keeps no cache, fails, or has a state that cannot be carried.
        VocabularyError: the tokenizer is not a fast one, or does not fit the number of logits.
        UsageError: both a tokenizer and a vocabulary are given.
    """
    if tokenizer is not None and vocabulary is not None:
        raise UsageError("from_transformers: give tokenizer or vocabulary, not both")
    advice = "give what from_pretrained(…) returns; rnneval.open reads the folder of save_pretrained"
    require_module(model, "from_transformers", advice)
    known = vocabulary_of_tokenizer(tokenizer if vocabulary is None else vocabulary)
    step = CachedStep(model)
    made = language_model(step, known, type(model).__name__, "transformers")
    return replace(made, chunk=max(step.chunk_sizes.values(), default=1))
