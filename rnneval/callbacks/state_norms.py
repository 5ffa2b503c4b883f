"""`rnneval.StateNorms`: held-out loss and the states of every layer, after each epoch of a training."""

import os
from collections.abc import Mapping
from typing import Any

import keras
import msgspec
import numpy as np

from rnneval._version import __version__
from rnneval.callbacks.parts import Parts
from rnneval.engine import evaluate
from rnneval.errors import VocabularyError
from rnneval.models import wrap
from rnneval.records.run import Run
from rnneval.text import Paths, Vocabulary

SCHEMA = "rnneval.state-history/1"
_SCORES = ("cross_entropy", "perplexity", "bits_per_char")


class StateNorms(keras.callbacks.Callback):
    """Evaluates the model on held-out text at the end of each epoch: exactly, the state carried.

    Written are, for each epoch, the scores (layer and variable "") and, for each layer and slot, every number of the
    state summary that also stands in a run record. The history is a folder of Parquet parts, one an epoch, each whole
    or not there. In `logs` stand `heldout_cross_entropy`, `heldout_perplexity`, … and `LAYER.SLOT/norm_mean`, …,
    wherever this callback stands in the list. The wiring is not checked at each epoch: see `rnneval.check`.

    Example:
        `model.fit(…, callbacks=[rnneval.StateNorms("states.parquet", "held_out.txt", vocabulary=tokens)])`
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        text: Paths,
        *,
        vocabulary: Vocabulary | list[str] | None = None,
        existing: str = "refuse",
        logs: bool = True,
        **reading: Any,
    ) -> None:
        """Prepare a history.

        Args:
            path: The folder to be made.
            text: Held-out text: one or more files.
            vocabulary: What the ids mean: the tokens in the order of their ids, or a `rnneval.text.Vocabulary`.
            existing: What becomes of a history that is there: `refuse`, `replace` or `append`.
            logs: Whether to put the numbers into `logs`, too.
            reading: How to read the text, as `rnneval.evaluate` takes it: `part`, `documents`, `streams`, …

        Raises:
            VocabularyError: there is no vocabulary.
            RecordError: the folder cannot be made, or holds a history already.
        """
        super().__init__()
        if vocabulary is None:
            raise VocabularyError("StateNorms needs vocabulary=: the tokens of the model in the order of their ids")
        if not isinstance(vocabulary, Vocabulary):
            vocabulary = Vocabulary.from_tokens(list(vocabulary))
        self._vocabulary = vocabulary
        self._text, self._reading, self._in_logs = text, reading, logs
        self._parts = Parts(path, "epoch", {"rnneval.schema": SCHEMA, "rnneval.version": __version__}, existing)
        self._due: int | None = None
        self.runs: list[Run] = []
        """The run record of every epoch."""

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """Stand where the logs of an epoch are made, so that every callback sees ours."""
        own: dict[str, Any] = vars(self.model)  # type: ignore[assignment]
        original = getattr(self.model, "_get_metrics_result_or_logs", None)
        if original is None or not self._in_logs:
            return

        def with_ours(found: Any) -> Any:
            result = original(found)
            numbers = self._measure()
            return {**result, **numbers} if numbers and isinstance(result, dict) else result

        own["_get_metrics_result_or_logs"] = with_ours

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Remember that this epoch is to be measured."""
        self._due = epoch

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Measure now where Keras gave no earlier place."""
        numbers = self._measure()
        if logs is not None and self._in_logs:
            logs.update(numbers)

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        """Leave the model as it was."""
        own: dict[str, Any] = vars(self.model)  # type: ignore[assignment]
        own.pop("_get_metrics_result_or_logs", None)

    def _measure(self) -> dict[str, float]:
        """Evaluate, once an epoch: the first to ask is the epoch itself, later ones are its validation."""
        if self._due is None:
            return {}
        epoch, self._due = self._due, None
        lm = wrap(self.model, vocabulary=self._vocabulary)
        run = evaluate(lm, self._text, check=False, **self._reading)
        self.runs.append(run)
        numbers = _numbers(run)
        self._parts.write(np.array([epoch]), list(numbers), np.array([list(numbers.values())]))
        return {_log_name(*key): value for key, value in numbers.items()}


Key = tuple[str, str, str]


def _numbers(run: Run) -> dict[Key, float]:
    """Give numbers by layer, slot and statistic."""
    found: dict[Key, float] = {("", "", name): run.scores[name].value for name in _SCORES if name in run.scores}
    for name, state in (run.states or {}).items():
        layer, _, slot = name.rpartition(".")
        found |= {(layer, slot, statistic): float(value) for statistic, value in msgspec.to_builtins(state).items()}
    return found


def _log_name(layer: str, slot: str, statistic: str) -> str:
    return f"{layer}.{slot}/{statistic}" if layer else f"heldout_{statistic}"
