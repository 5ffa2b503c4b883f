"""`rnneval.wrap`: a language model of a model in memory, whichever library it was made with."""

import inspect
import os
import sys
from dataclasses import replace
from typing import Any

from rnneval.errors import UsageError
from rnneval.models.protocol import LanguageModel
from rnneval.text import given_vocabulary


def wrap(model: Any, *, vocabulary: Any = None, window: int | None = None) -> LanguageModel:
    """Make a language model of a model in memory: in a notebook, no file is needed.

    Args:
        model: A Keras model, or another callable object with recurrent layers of Keras: one that takes and returns its
            states, or a Sequential or functional one from ids to logits. A PyTorch module that takes ids and a state,
            and returns logits and the new state. A causal language model of transformers that keeps a cache.
        vocabulary: A Vocabulary, the tokens in the order of their ids, a map from token to id, a vocabulary file, a
            StringLookup or TextVectorization layer, or a tokenizer of transformers. It is needed to evaluate the model.
        window: N, for a window model of Keras (N tokens in, one prediction out) whose input does not have that length.

    Returns:
        A `RecurrentLM` of a Keras model, a `StepLM` of a PyTorch module; of a model from `rnneval.open`,
        `rnneval.wrap` or `rnneval.from_step`, the same with the vocabulary.

    Raises:
        CheckpointError: the model cannot be run with a carried state; the message says why.
        VocabularyError: the vocabulary is not a one-to-one map, or does not fit the width of the model's output.
        UsageError: it is no model; the message shows what to give.
    """
    return language_model(model, vocabulary, "wrap", window=window)


def language_model(model: Any, vocabulary: Any, function: str, *, window: int | None = None) -> LanguageModel:
    """Return what `wrap` does; `function` is the name of the caller in `rnneval`, for errors."""
    if window is not None and (isinstance(model, LanguageModel) or is_module(model)):
        raise UsageError("window= is for Keras models that read N tokens and make one prediction")
    if isinstance(model, LanguageModel):
        known = given_vocabulary(vocabulary)
        return model if known is None else replace(model, vocabulary=known.fit(model.width))
    if is_module(model):
        transformers = sys.modules.get("transformers")
        if transformers is not None and isinstance(model, transformers.PreTrainedModel):
            from rnneval.models.torch.causal import from_transformers

            return from_transformers(model, vocabulary)
        from rnneval.models.torch.module import from_torch

        return from_torch(model, vocabulary=vocabulary)
    if (what := no_model(model)) is not None:
        raise UsageError(f"rnneval.{function} takes a model, and was given {what}")
    from rnneval.models.keras.lm import wrap as wrap_keras

    return wrap_keras(model, vocabulary=vocabulary, window=window)


def is_module(model: Any) -> bool:
    """Return whether a model is a module of PyTorch, which is not imported to find out."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(model, torch.nn.Module)


def no_model(value: Any) -> str | None:
    """Return in words what was given in place of a model, and what to give; None if it may be a model."""
    if isinstance(value, str | os.PathLike):
        return f"a path: open it first, rnneval.open({os.fspath(value)!r})"
    if isinstance(value, type):
        return f"the class {value.__name__}: give a model that it made, such as {value.__name__}(…)"
    if inspect.isroutine(value):
        return f"a function: if it is a step, rnneval.from_step({value.__name__}, initial_state, vocabulary=…)"
    if not callable(value):
        return f"a {type(value).__name__}: give a Keras model, a PyTorch module, or what rnneval.open returns"
    return None
