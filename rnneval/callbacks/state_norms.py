"""`rnneval.StateNorms`: held-out loss and the states of every layer, after each epoch of a training with Keras."""

import os
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from rnneval.callbacks.histories import StateNormsOptions, StateTable
from rnneval.callbacks.training_hook import HookedCallback
from rnneval.models.keras.layers import model_variables
from rnneval.models.protocol import LanguageModel
from rnneval.models.wrapping import language_model
from rnneval.options import by_keyword
from rnneval.records.run import Run
from rnneval.text import Paths

_LOGS = "_get_metrics_result_or_logs"


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
        self._table = StateTable(path, text, options)
        self._due: int | None = None  # the epoch to be measured

    @property
    def runs(self) -> list[Run]:
        """The run record of every epoch whose weights are finite."""
        return self._table.runs

    def begins(self, function: Any) -> Any:
        """Find the vocabulary, hook into the function that makes the logs of an epoch, return `function` unchanged.

        Keras has no public hook between the last step of an epoch and the first `on_epoch_end`, when the number of
        steps is not known. Without this one, callbacks before this one in the list do not see its numbers.
        """
        if (lm := self._language_model()) is not None:
            self._table.check(lm)
        original = getattr(self.model, _LOGS, None)
        if original is None or self._logs == "none":
            return function

        def with_ours(logs: Any) -> Any:
            result = original(logs)
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

    def _language_model(self) -> LanguageModel | None:
        """Return the model as it is now; None if a weight is not finite: it cannot be evaluated."""
        weights = (tf.cast(variable, tf.float32) for variable in model_variables(self.model))
        if not all(bool(tf.reduce_all(tf.math.is_finite(weight))) for weight in weights):
            return None
        return language_model(self.model, self._table.vocabulary, "StateNorms")

    def _measure(self) -> dict[str, float]:
        """Evaluate if this epoch is still to be measured, and return the numbers for `logs`; else return none.

        The first call is for the epoch itself, later calls are for its validation.
        """
        if self._due is None:
            return {}
        epoch, self._due = self._due, None
        return self._table.add(epoch, self._language_model())
