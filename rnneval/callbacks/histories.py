"""Histories of a training on disk: each is a folder of complete Parquet parts, which pandas reads as one table.

A part is written beside its place and moved there, so that it is complete or absent, and a run that is killed keeps
all parts up to the last. Columns: `step` or `epoch`, `layer`, `variable`, `statistic`, `value`. A value that is not
finite is written as it is, NaN or infinite, so that it cannot be taken for one that was never measured.

`GradientTable` is filled step by step, `StateTable` epoch by epoch, by the callbacks of Keras and of PyTorch alike.
Nothing here belongs to a library: the callback says which model to evaluate and when, and whether its weights are
finite.
"""

import math
import os
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from rnneval._version import __version__
from rnneval.errors import RecordError, TextError, UsageError, VocabularyError
from rnneval.evaluate.check import check, fails
from rnneval.evaluate.run import ReaderOptions, evaluated
from rnneval.metrics.gradient_norms import together
from rnneval.models.protocol import LanguageModel
from rnneval.option import option, values_of
from rnneval.options import EvaluateOptions, GivenGroup
from rnneval.paths import Places, require_apart
from rnneval.records import table_written
from rnneval.records.run import Run
from rnneval.records.tables import GRADIENT_HISTORY, STATE_HISTORY, UNIFORM, WIRING
from rnneval.records.wiring import Wiring
from rnneval.text import Paths, TextOptions, given_vocabulary, text_given
from rnneval.text.documents import final_text

Key = tuple[str, str, str]  # layer, variable or state, and statistic of a number
_WORD = pa.dictionary(pa.int32(), pa.string())
EXISTING = ("refuse", "replace", "append")
LOGS = ("main", "all", "none")
"""Values of `logs=`: libraries print every entry of `logs` in a progress line, and pass them to other callbacks."""
MAIN = ("grad_norm", "update_ratio", "heldout_perplexity")
Column = tuple[str, str]  # layer and variable of a trainable variable
STATISTICS = ("grad_norm", "grad_norm_clipped", "weight_norm", "update_norm", "not_finite")
"""Of each variable in each step: three norms, that of the update, and the count of numbers that are not finite."""
NORM, CLIPPED, WEIGHT, UPDATE, NOT_FINITE = range(len(STATISTICS))
WRITTEN = ("grad_norm", "grad_norm_clipped", "weight_norm", "update_ratio", "not_finite")
"""What is written of these: the ratio of update and weight norm in place of the update's norm."""
NO_NORM = -1.0  # in place of the clipped norm in a step that only accumulates gradients
_SCORES = ("cross_entropy", "perplexity", "bits_per_char")
_OF_EVERY_EPOCH: tuple[Key, ...] = (("", "", "cross_entropy"), ("", "", "perplexity"))


class Parts:
    """Writer of a history, part by part."""

    def __init__(
        self, folder: str | os.PathLike[str], index: str, schema: str, existing: str, inputs: Places | None = None
    ) -> None:
        """Make the folder; `index` names the first column, `step` or `epoch`.

        `existing` says what becomes of a history that is already there. `inputs` are read while this one is written.
        """
        if existing not in EXISTING:
            raise UsageError(f"existing={existing!r} is not known: give {', '.join(EXISTING)}")
        self.folder = Path(folder)
        parts = sorted(self.folder.glob("part-*.parquet"))
        require_apart({"path": [folder, *parts]}, inputs or {})
        if self.folder.is_file():
            raise RecordError(f"{self.folder}: is a file; a history is a folder of parts: give another name")
        if parts and existing == "refuse":
            held = f"holds a history of {len(parts)} parts already"
            raise RecordError(f"{self.folder}: {held}: give another folder, or existing='replace' or 'append'")
        if foreign := next((part for part in parts if not _is_part(part, schema)), None):
            raise RecordError(f"{foreign}: is no part of such a history, and stays: give another folder")
        try:
            while parts and existing == "replace":
                parts.pop().unlink()
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RecordError(f"{self.folder}: cannot be made: {error.strerror or error}") from error
        self._next = int(parts[-1].stem.removeprefix("part-")) + 1 if parts else 0
        fields: list[Any] = [(index, pa.int64()), ("layer", _WORD), ("variable", _WORD), ("statistic", _WORD)]
        self._schema = pa.schema([*fields, ("value", pa.float64())])
        self.describe({"rnneval.version": __version__, "rnneval.schema": schema})

    def describe(self, more: Mapping[str, str]) -> None:
        """Add to the metadata of the parts that are written from now on."""
        metadata = {key.encode(): value.encode() for key, value in more.items()}
        self._schema = self._schema.with_metadata({**(self._schema.metadata or {}), **metadata})

    def write(self, index: NDArray[np.int64], columns: list[Key], values: NDArray[np.float64]) -> None:
        """Write one part: values `(n, columns)` at steps `(n,)`, one row for each number that is not masked."""
        row, column = np.nonzero(~np.ma.getmaskarray(values))
        words = [pa.array(names).dictionary_encode().take(pa.array(column)) for names in zip(*columns, strict=True)]
        numbers = np.ma.getdata(values)[row, column]
        table = pa.table([pa.array(index[row]), *words, pa.array(numbers)], schema=self._schema)
        place = self.folder / f"part-{self._next:06}.parquet"
        if place.exists():
            raise RecordError(f"{place}: is of another history: give each callback and each run its own folder")
        with table_written(place, self._schema) as writer:
            writer.write_table(table)
        self._next += 1


def require_logs(logs: str) -> None:
    """Refuse an unknown choice of the numbers to put into `logs`."""
    if logs not in LOGS:
        raise UsageError(f"logs={logs!r} is not known: give one of {', '.join(LOGS)}")


def chosen(numbers: Mapping[str, float], logs: str) -> dict[str, float]:
    """Return the numbers to put into `logs`."""
    names = {"main": MAIN, "all": tuple(numbers), "none": ()}[logs]
    return {name: numbers[name] for name in names if name in numbers}


def _is_part(path: Path, schema: str) -> bool:
    """Return whether a file is a part that a callback of the same kind wrote."""
    try:
        metadata = pq.read_schema(path).metadata or {}
    except (OSError, pa.ArrowException):
        return False
    is_named = re.fullmatch(r"part-\d+", path.stem) is not None
    return is_named and metadata.get(b"rnneval.schema") == schema.encode()


class GradientTable:
    """Numbers of steps, written as parts of a history."""

    def __init__(self, path: str | os.PathLike[str], steps_per_part: int, existing: str) -> None:
        """Prepare the folder; `steps_per_part` is the most that a killed run loses."""
        self._parts = Parts(path, "step", GRADIENT_HISTORY, existing)
        self._steps_per_part = steps_per_part
        self._waiting: list[tuple[NDArray[np.int64], NDArray[np.float64]]] = []
        self._columns: Sequence[Column] = ()
        self.first_not_finite: tuple[int, str] | None = None
        """The first step with a gradient that is not finite, and `LAYER.VARIABLE`."""

    def add(self, columns: Sequence[Column], steps: NDArray[np.int64], values: NDArray[np.float64]) -> dict[str, float]:
        """Add the statistics `(n, variables, statistics)` of steps `(n,)`, NaN where there is none.

        Returns the numbers of the last step that `logs` of Keras may hold.
        """
        self._columns = columns
        self._waiting.append((steps, values))
        bad = np.argwhere(values[:, :, NOT_FINITE] > 0)
        if self.first_not_finite is None and len(bad):
            step, place = bad[0]
            self.first_not_finite = (int(steps[step]), ".".join(columns[place]))
        if sum(len(waiting) for waiting, _ in self._waiting) >= self._steps_per_part:
            self.flush()
        keys, numbers = _tidy(columns, values[-1:])
        last = dict(zip(keys, numbers.filled(np.nan)[0].tolist(), strict=True))
        of_model = {name: last["", "", name] for name in ("grad_norm", "grad_norm_clipped", "update_ratio")}
        of_layers = {f"grad_norm/{layer}": last[layer, "", "grad_norm"] for layer, _ in columns}
        return {**of_model, "grad_not_finite": last["", "", "not_finite"], **of_layers}

    def flush(self) -> None:
        """Write the steps that wait as one part."""
        if self._waiting:
            steps, values = (np.concatenate(parts) for parts in zip(*self._waiting, strict=True))
            self._waiting = []
            self._parts.write(steps, *_tidy(self._columns, values))


def _tidy(columns: Sequence[Column], values: NDArray[np.float64]) -> tuple[list[Key], Any]:
    """Return keys and a masked array of numbers `(n, keys)`: of each variable, of each layer and of the model.

    A variable without a gradient counts as 0. Masked are the statistics of a layer without any gradient, the clipped
    norm in a step that only accumulates, and the update ratio of weights that are all 0.
    """
    groups = {column: [k] for k, column in enumerate(columns)}
    for k, (layer, _) in enumerate(columns):
        groups.setdefault((layer, ""), []).append(k)
    groups["", ""] = list(range(len(columns)))
    numbers = []
    for places in groups.values():
        part = values[:, places]
        present = ~np.isnan(part[:, :, NOT_FINITE])  # a count: NaN only where there is no gradient
        counted = np.where(present[:, :, None], part, 0.0)
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            norm, clipped, weight, update = (together(counted[:, :, k]) for k in (NORM, CLIPPED, WEIGHT, UPDATE))
            written = np.stack([norm, clipped, weight, update / weight, counted[:, :, NOT_FINITE].sum(axis=1)], axis=1)
        absent = np.stack([~present.any(axis=1)] * len(WRITTEN), axis=1)
        absent[:, CLIPPED] |= (part[:, :, CLIPPED] == NO_NORM).any(axis=1)
        absent[:, UPDATE] |= weight == 0
        numbers.append(np.ma.masked_array(written, absent))
    return [(*group, statistic) for group in groups for statistic in WRITTEN], np.ma.hstack(numbers)


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
        self._parts = Parts(path, "epoch", STATE_HISTORY, options.existing, inputs)
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
        verdict = wiring.verdict if wiring.verdict == "pass" else f"{wiring.verdict}: {wiring.reason}"
        self._parts.describe({WIRING: verdict})
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
