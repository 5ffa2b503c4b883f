"""`rnneval.StateNorms`: held-out loss and the states of every layer, after each epoch of a training."""

import math
import os
import warnings
from collections.abc import Mapping
from dataclasses import field
from typing import Any

import msgspec
import numpy as np
import tensorflow as tf

from rnneval.callbacks.histories import Key, Parts
from rnneval.callbacks.training_hook import HookedCallback
from rnneval.errors import TextError, VocabularyError
from rnneval.evaluate.check import check, fails
from rnneval.evaluate.run import ReaderOptions, evaluated
from rnneval.models.keras.layers import model_variables
from rnneval.models.keras.lm import RecurrentLM
from rnneval.models.protocol import LanguageModel
from rnneval.models.wrapping import language_model
from rnneval.option import option, values_of
from rnneval.options import EvaluateOptions, GivenGroup, by_keyword
from rnneval.records.run import Run
from rnneval.records.tables import STATE_HISTORY, UNIFORM, WIRING
from rnneval.records.wiring import Wiring
from rnneval.text import Paths, TextOptions, given_vocabulary, text_given
from rnneval.text.documents import final_text

_LOGS = "_get_metrics_result_or_logs"
_SCORES = ("cross_entropy", "perplexity", "bits_per_char")
_OF_EVERY_EPOCH: tuple[Key, ...] = (("", "", "cross_entropy"), ("", "", "perplexity"))


class StateNormsOptions(GivenGroup, EvaluateOptions):
    """Options of `StateNorms`: those of `rnneval.evaluate`, and its own."""

    beside_reset: int | None = field(default=None, init=False)
    vocabulary: Any = option(None, flag="", unset="the model's own")
    """Meaning of the ids: the tokens in the order of their ids, a map token → id, a vocabulary file, a StringLookup or
    TextVectorization layer, a model from `rnneval.open`, or a `rnneval.text.Vocabulary`."""
    existing: str = option("refuse", flag="")
    """Treatment of a history that is already there: `refuse`, `replace` or `append`."""
    logs: str = option("main", flag="")
    """Numbers to put into `logs`: `main` (`heldout_perplexity`), `all` or `none`."""


class StateNorms(HookedCallback):
    """Evaluate the model on held-out text at the end of each epoch, exactly, with the state carried.

    For each epoch it writes the scores (layer and variable "") and, for each state, every number of the state summary
    of a run record. `path` becomes a *folder* of Parquet files, one for each epoch, each written atomically.

    The wiring is checked once, when the first fit begins: a second or two. A model that fails is warned about; its
    history says so, and figures, reports and gates take none of its numbers for a result. What they are then depends on
    the length of a segment: 100 tokens unless `segment` says otherwise. With check=False nothing is checked.

    A training run that diverges goes on: a number that an epoch does not have, because weights or losses are not
    finite or a perplexity is larger than any float, is written as NaN.

    `heldout_perplexity` stands in `logs`, wherever this callback stands in the list; with logs="all" also
    `heldout_cross_entropy`, `heldout_bits_per_char`, and `LAYER.SLOT/norm_mean`, … of every state.

    A vocabulary need not be given where the model holds one (a StringLookup or TextVectorization layer as wide as its
    output).

    Example:
        `model.fit(…, callbacks=[rnneval.StateNorms("states.parquet", "held_out.txt", vocabulary=tokens)])`
    """

    @by_keyword(StateNormsOptions)
    def __init__(self, path: str | os.PathLike[str], text: Paths | None = None, *, options: StateNormsOptions) -> None:
        """Prepare a history.

        Args:
            path: The folder to be made.
            text: Held-out text: one or more files; or give `string`.
            options: Keyword arguments, each a field of `StateNormsOptions`.

        Raises:
            VocabularyError: the vocabulary cannot be read (or, when a fit begins: none was given, and the model holds
                none).
            TextError: the text is missing, empty or not UTF-8.
            RecordError: the folder cannot be made, or holds a history already with existing="refuse".
            UsageError: an option is not known, or its value is not allowed.
        """
        super().__init__(options.logs)
        given = options.vocabulary
        if isinstance(given, RecurrentLM) and given.vocabulary is None:
            raise VocabularyError(given.why_no_vocabulary or "vocabulary: the model has no vocabulary: give its tokens")
        self._vocabulary = given_vocabulary(given.vocabulary if isinstance(given, RecurrentLM) else given)
        if text is not None and not isinstance(text, (str, os.PathLike, list, tuple)):
            raise TextError(
                f"StateNorms: text is a {type(text).__name__}: give the name of a file of held-out text, or several; "
                "ids will not do, since characters and words are counted, too"
            )
        final_text(text_given(text, options.string), TextOptions.of(options))  # what is wrong with it is said now
        self._text, self._options = text, options
        vocabulary = options.vocabulary if isinstance(options.vocabulary, str | os.PathLike) else None
        inputs = {"text": text, "vocabulary": vocabulary}
        self._parts = Parts(path, "epoch", {"rnneval.schema": STATE_HISTORY}, options.existing, inputs)
        self._due: int | None = None  # the epoch to be measured
        self._keys = _OF_EVERY_EPOCH  # numbers of the last epoch, which the next one has or lacks
        self.runs: list[Run] = []
        """The run record of every epoch whose weights are finite."""
        self._wiring: Wiring | None = None

    def begins(self, function: Any) -> Any:
        """Find the vocabulary, hook into the function that makes the logs of an epoch, return `function` unchanged.

        Keras has no public hook between the last step of an epoch and the first `on_epoch_end`, when the number of
        steps is not known. Without this one, callbacks before this one in the list do not see its numbers.
        """
        if _is_finite(self.model):
            lm = self._language_model()
            if self._options.check and self._wiring is None and lm.window is None:
                self._check(lm)
        original = getattr(self.model, _LOGS, None)
        if original is None or self._options.logs == "none":
            return function

        def with_ours(found: Any) -> Any:
            result = original(found)
            numbers = self._measure()
            return {**result, **numbers} if numbers and isinstance(result, dict) else result

        self.model.__dict__[_LOGS] = with_ours  # past Keras' tracking of attributes
        return function

    def ends(self) -> None:
        """Restore the model."""
        self.model.__dict__.pop(_LOGS, None)

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Remember that this epoch is to be measured."""
        self._due = epoch + 1  # as Keras prints it

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Evaluate now if the hook on the logs did not."""
        numbers = self._measure()
        if logs is not None:
            logs.update(numbers)

    def _check(self, lm: LanguageModel) -> None:
        """Check the wiring, and warn where it fails."""
        wiring = self._wiring = check(lm, declare=self._options.declare, seed=self._options.seed)
        self._parts.describe(
            {WIRING: wiring.verdict if wiring.verdict == "pass" else f"{wiring.verdict}: {wiring.reason}"}
        )
        if fails(wiring, self._options.segment):
            said = "so held-out losses depend on how the text is cut, and none is valid: see rnneval.check(model)"
            warnings.warn(f"StateNorms: the model fails the wiring check ({wiring.reason}), {said}", stacklevel=2)

    def _language_model(self) -> LanguageModel:
        lm = language_model(self.model, self._vocabulary, "StateNorms")
        if lm.vocabulary is None:
            raise VocabularyError(
                "StateNorms: the model holds no vocabulary (a StringLookup or TextVectorization layer as wide as its "
                "output): give vocabulary=, the tokens in the order of their ids or the name of a vocabulary file"
            )
        return lm

    def _measure(self) -> dict[str, float]:
        """Evaluate if this epoch is still to be measured, and return the numbers for `logs`; else return none.

        The first call is for the epoch itself, later calls are for its validation.
        """
        if self._due is None:
            return {}
        epoch, self._due = self._due, None
        numbers = dict.fromkeys(self._keys, math.nan)
        if _is_finite(self.model):
            given = ReaderOptions(**{**values_of(EvaluateOptions, self._options), "check": False})
            run = evaluated(self._language_model(), text_given(self._text, self._options.string), given, self._wiring)
            self.runs.append(run)
            numbers |= _numbers(run)
            described = {"rnneval.signature": run.signature, "rnneval.text": run.text.sha256}
            self._parts.describe({**described, UNIFORM: repr(run.baselines["uniform"])})
        self._keys = tuple(numbers)
        self._parts.write(np.array([epoch]), list(numbers), np.array([list(numbers.values())]))
        logs = {
            f"{layer}.{slot}/{statistic}" if layer else f"heldout_{statistic}": value
            for (layer, slot, statistic), value in numbers.items()
        }
        return self.chosen(logs)


def _is_finite(model: Any) -> bool:
    """Return whether all weights of a model are finite: a model of others cannot be evaluated."""
    return all(bool(tf.reduce_all(tf.math.is_finite(tf.cast(v, tf.float32)))) for v in model_variables(model))


def _numbers(run: Run) -> dict[Key, float]:
    """Return the numbers of a run by layer, state and statistic."""
    found: dict[Key, float] = {("", "", name): run.scores[name].value for name in _SCORES if name in run.scores}
    for name, state in (run.states or {}).items():
        layer, _, slot = name.rpartition(".")
        plain = msgspec.to_builtins(state)
        plain.pop("every", None)  # how the state was sampled, which is no statistic of it
        found |= {(layer, slot, statistic): float(value) for statistic, value in plain.items()}
    return found
