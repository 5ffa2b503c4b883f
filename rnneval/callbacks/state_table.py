"""The table of held-out losses and states, which `StateNorms` of Keras and of PyTorch fill epoch by epoch.

Nothing here belongs to a library: the callback says which model to evaluate and when, and whether its weights are
finite.
"""

import math
import os
import warnings
from dataclasses import field
from typing import Any

import msgspec
import numpy as np

from rnneval.callbacks.histories import Key, Parts, chosen, require_logs
from rnneval.errors import TextError, VocabularyError
from rnneval.evaluate.check import check, fails
from rnneval.evaluate.run import ReaderOptions, evaluated
from rnneval.models.protocol import LanguageModel
from rnneval.option import option, values_of
from rnneval.options import EvaluateOptions, GivenGroup
from rnneval.records.run import Run
from rnneval.records.tables import STATE_HISTORY, UNIFORM, WIRING
from rnneval.records.wiring import Wiring
from rnneval.text import Paths, TextOptions, given_vocabulary, text_given
from rnneval.text.documents import final_text

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


class StateTable:
    """Evaluations of epochs, written as parts of a history."""

    def __init__(self, path: str | os.PathLike[str], text: Paths | None, options: StateNormsOptions) -> None:
        """Prepare the folder; refuse a text or a vocabulary that cannot be read."""
        require_logs(options.logs)
        known = options.vocabulary
        if isinstance(known, LanguageModel) and known.vocabulary is None:
            raise VocabularyError(known.why_no_vocabulary or "vocabulary: the model has no vocabulary: give its tokens")
        self.vocabulary = given_vocabulary(known.vocabulary if isinstance(known, LanguageModel) else known)
        if text is not None and not isinstance(text, (str, os.PathLike, list, tuple)):
            raise TextError(
                f"StateNorms: text is a {type(text).__name__}: give the name of a file of held-out text, or several; "
                "ids will not do, since characters and words are counted, too"
            )
        final_text(text_given(text, options.string), TextOptions.of(options))  # what is wrong with it is said now
        self._text, self._options = text, options
        inputs = {"text": text, "vocabulary": known if isinstance(known, str | os.PathLike) else None}
        self._parts = Parts(path, "epoch", {"rnneval.schema": STATE_HISTORY}, options.existing, inputs)
        self._keys = _OF_EVERY_EPOCH  # numbers of the last epoch, which the next one has or lacks
        self.runs: list[Run] = []
        """The run record of every epoch whose weights are finite."""
        self._wiring: Wiring | None = None

    def check(self, lm: LanguageModel) -> None:
        """Refuse a model without a vocabulary; check its wiring unless that was done, and warn where it fails."""
        if lm.vocabulary is None:
            raise VocabularyError(
                "StateNorms: the model holds no vocabulary (a StringLookup or TextVectorization layer as wide as its "
                "output): give vocabulary=, the tokens in the order of their ids or the name of a vocabulary file"
            )
        if not self._options.check or self._wiring is not None or lm.window is not None:
            return
        wiring = self._wiring = check(lm, declare=self._options.declare, seed=self._options.seed)
        self._parts.describe(
            {WIRING: wiring.verdict if wiring.verdict == "pass" else f"{wiring.verdict}: {wiring.reason}"}
        )
        if fails(wiring, self._options.segment):
            said = "so held-out losses depend on how the text is cut, and none is valid: see rnneval.check(model)"
            warnings.warn(f"StateNorms: the model fails the wiring check ({wiring.reason}), {said}", stacklevel=2)

    def add(self, epoch: int, lm: LanguageModel | None) -> dict[str, float]:
        """Evaluate the model after an epoch, write its numbers, and return those for `logs`.

        None stands for a model whose weights are not finite: every number of its epoch is NaN.
        """
        numbers = dict.fromkeys(self._keys, math.nan)
        if lm is not None:
            options = ReaderOptions(**{**values_of(EvaluateOptions, self._options), "check": False})
            run = evaluated(lm, text_given(self._text, self._options.string), options, self._wiring)
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
        return chosen(logs, self._options.logs)


def _numbers(run: Run) -> dict[Key, float]:
    """Return the numbers of a run by layer, state and statistic."""
    numbers: dict[Key, float] = {("", "", name): run.scores[name].value for name in _SCORES if name in run.scores}
    for name, state in (run.states or {}).items():
        layer, _, slot = name.rpartition(".")
        numbers |= {
            (layer, slot, statistic): float(value)
            for statistic, value in msgspec.to_builtins(state).items()
            if statistic != "every" and isinstance(value, int | float)  # no interval, and no course along the text
        }
    return numbers
