"""Tests of a model's behaviour: two ways to read the same ids that must give the same logits, or must not.

The same suite tests Keras models and step functions, which an adapter makes a `Subject`. It needs no layers and no
hooks. The tests, under their keys in the record:

- `chunk`: one token a call, against one call over all tokens, calls of other lengths, and other first calls.
- `causal`: a later token is altered; the logits before it must stay.
- `batch`: the other rows are altered; a row must stay. `alone`: a row is read without the others.
- `used`: another text before; the logits must change.
- `leaves`: one array of the state is exchanged for that of another text; the logits must change.
- `repeat`: the same calls twice, random generators left to go on.
- `fresh`: a document is read first, and after another document.
- `training`: as `causal`, with training=True.

`chunk`, `batch` and `alone` are made once more with *special ids* in row 0: those that often mean padding, the end of a
text or a new line; for `causal` a late token of every row becomes each of them. With special ids in row 0, only
positions whose own id is not special are compared, since a model may treat a special token as it likes. How far two
readings differ is measured by `rnneval.wiring.difference`. Positions count from 0.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from functools import cached_property, partial
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from rnneval.errors import RnnevalError, type_and_message
from rnneval.records.wiring import TestResult
from rnneval.wiring.difference import (
    ASSUMED_NOISE,
    EPSILON,
    HALF_TYPES,
    Distance,
    Limits,
    Logits,
    as_logits,
    context_spread,
    differences,
    moving_ids,
    result_of,
)
from rnneval.wiring.subject import Alteration, Ids, Outputs, Reader, Subject, cut, later_changes, listed, row_changes

COLUMNS = 2048  # logits of a token that are compared, at most: a state that is wrong moves them all
_FORGOTTEN = 0.1  # a difference came from the text before if, after equal texts before, less than this share remains
_SHOWN = 2  # failed comparisons of a test that are told
_DRAWS = 2  # readings with moved numbers: one alone may be lucky


class _WrongLogitsError(Exception):
    """A reading whose logits cannot be compared; the message says why."""


class _ReadLogits(NamedTuple):
    """Logits of a text."""

    logits: Logits  # (rows, positions, V)
    positions: NDArray[np.intp]  # the positions that have logits

    @property
    def finite(self) -> NDArray[np.bool_]:
        """True where every token up to a position has a finite prediction, `(rows, positions)`; −∞ rules an id out."""
        return np.logical_and.accumulate(np.isfinite(self.logits.max(axis=-1)), axis=1)

    def of_rows(self, rows: slice) -> "_ReadLogits":
        return _ReadLogits(self.logits[rows], self.positions)


def run_behaviour(subject: Subject, *, without: Collection[str] = ()) -> dict[str, TestResult]:
    """Run the tests of behaviour, by key; a test that cannot be run is inconclusive, with the reason.

    Left out are those in `without`, and those for which the model has no setting: `alone` where it takes no batch of
    one row, `leaves` where no array of the state can be exchanged, `training` where it takes no such argument.
    """
    left_out = {
        "alone": not subject.alone,
        "leaves": subject.exchanged is None,
        "fresh": subject.read_after is None,
        "training": subject.read_training is None and not subject.why_not_training,
    }
    names = [name for name in TESTS if name not in without and not left_out.get(name)]
    basic = [name for name in names if name not in left_out]
    tests = _Tests(subject)
    repeat = tests.run("repeat")
    if repeat.verdict == "inconclusive":  # other cuts may show logits that are finite
        return dict.fromkeys(basic, repeat) | {name: tests.run(name) for name in basic if name == "chunk"}
    if repeat.verdict == "fail":
        why = "equal calls give different logits, so nothing else can be compared"
        fresh = {"fresh": repeat} if tests.remembers else {}
        results = dict.fromkeys(basic, tests.inconclusive(why)) | {"repeat": repeat} | fresh
    else:  # `fresh` last: what it leaves behind cannot be put back
        others = sorted((name for name in names if name != "repeat"), key=lambda name: name == "fresh")
        results = {"repeat": repeat} | {name: tests.run(name) for name in others}
    return {name: results[name] for name in TESTS if name in results}


class _Tests:
    """The tests of one model; `TESTS` has the key of each."""

    def __init__(self, subject: Subject) -> None:
        self.subject, self.plan = subject, subject.plan
        self.ids = subject.ids
        self.epsilon = HALF_TYPES.get(subject.half, EPSILON)
        self.remembers = False
        self.not_finite: int | None = None  # the first position where two readings that are compared are both NaN or ∞
        # The limits of the noise, once this is measured; equal calls must agree more closely.
        self.limits = Limits.of_noise(0.0, half=subject.half)

    def run(self, name: str) -> TestResult:
        """Run one test; it is inconclusive where the logits cannot be compared, or the user's code raises anything."""
        self.not_finite = None
        try:
            return TESTS[name].run(self)
        except (_WrongLogitsError, RnnevalError) as error:
            return self.inconclusive(str(error))
        except Exception as error:
            return self.inconclusive(f"the model raises: {type_and_message(error)}")

    @cached_property
    def base(self) -> _ReadLogits:
        """The reading that most tests compare with."""
        return self.read(self.ids, self.plan.calls)

    @cached_property
    def special(self) -> _ReadLogits:
        """The same reading with special ids in row 0."""
        return self.read(self.subject.with_special, self.plan.calls)

    @cached_property
    def by_token(self) -> _ReadLogits:
        return self.read(self.subject.text, [1] * self.plan.tokens)

    @cached_property
    def steady(self) -> Logits:
        """The finite logits that the spread and the noise are measured by: the beginning of a reading, if need be."""
        finite = self.base.finite.all(axis=0)
        if finite.any():
            return self.base.logits[:, finite]
        finite = self.by_token.finite.all(axis=0)
        if finite.any():
            return self.by_token.logits[:, finite]
        raise _WrongLogitsError("the logits are not finite")

    @cached_property
    def spread(self) -> float:
        return context_spread(self.steady)

    def repeat(self) -> TestResult:
        """Read the same twice; measure the noise where this agrees."""
        ids, calls = self.ids, [*self.plan.calls]
        distance = self.compare("the same calls, made twice", self.base, self.read(ids, calls))
        if distance.position is None:
            limits = Limits.of_noise(self._noise(), half=self.subject.half)
            if not limits.judged:  # what looks like much rounding may be drawn, in some calls alone
                ids, calls = self.subject.text, [1] * self.plan.tokens
                distance = self.compare("the same calls of one token, made twice", self.by_token, self.read(ids, calls))
        if distance.position is None:
            self.limits = limits
            return self.judged([distance])
        again = []
        for _ in range(2):
            self.subject.read(cut(self.subject.others, self.plan.calls))
            again.append(self.read(ids, calls))
        self.remembers = self.compare("", *again).largest < _FORGOTTEN * distance.largest
        how = "; after the same other text they agree: it remembers the last call" if self.remembers else ""
        return self.result(f"{distance}{how}", distance.largest, passed=False)

    def _noise(self) -> float:
        """Measure the noise, by moving numbers by one unit in the last place."""
        moved = self.subject.read_moved
        # The rounding inside of one long call is not seen where no weight can be moved: a parallel scan has much of it.
        noise = 0.0 if moved and self.subject.moved == "weights" else ASSUMED_NOISE
        if moved is not None:
            steady = self.by_token if set(self.plan.noise) == {1} else self.base
            moving = moving_ids(self.steady)
            for draw in range(_DRAWS):
                reading = self.read(self.subject.text, self.plan.noise, partial(moved, draw=draw))
                change = differences(steady.logits[..., moving], reading.logits[..., moving], self.spread, epsilon=0)
                noise = max(noise, float(change[steady.finite & reading.finite].max(initial=0.0)))
        return noise

    def chunk(self) -> TestResult:
        distances: list[Distance] = []
        for lengths in self.plan.cuts:
            reading = self.base if lengths == self.plan.calls else self.read(self.subject.text, lengths)
            distances.append(self.compare(f"one token a call against {_called(lengths)}", self.by_token, reading))
            if distances[-1].position is not None and sum(lengths) < self.plan.tokens:
                break  # longer beginnings would say the same
        if self.subject.special:
            ids = self.subject.with_special
            by_token, at_once = (self.read(ids, lengths) for lengths in ([1] * ids.shape[1], [ids.shape[1]]))
            what = f"{listed(self.subject)} in row 0, one call over {ids.shape[1]} tokens against"
            # Each special id begins a call: one that clears the state only there shows.
            for other, how in ((self.special, _called(self.plan.calls)), (by_token, "one token a call")):
                distances.append(self.compare(f"{what} {how}", other, at_once, watched=ids))
        return self.judged(distances)

    def causal(self) -> TestResult:
        if len(self.base.positions) < self.ids.shape[1]:
            return self.result("one prediction a call, after its last token", 0.0)
        return self.judged(map(self._changed, later_changes(self.subject)))

    def batch(self) -> TestResult:
        if self.subject.rows < 2:
            return self.result("the model reads one row at a time", 0.0)
        return self.judged(map(self._changed, row_changes(self.subject)))

    def _changed(self, change: Alteration) -> Distance:
        reading = self.read(change.ids, self.plan.calls_before(change.before))
        wanted, reading = (each.of_rows(change.rows) for each in (self.base, reading))
        return self.compare(change.what, wanted, reading, before=change.before)

    def alone(self) -> TestResult:
        rounds = [(self.ids, row, self.base, "") for row in range(self.subject.alone)]
        if self.subject.special:
            rounds.append((self.subject.with_special, 0, self.special, f", with {listed(self.subject)}"))
        distances = []
        for ids, row, beside, more in rounds:
            rows = slice(row, row + 1)
            reading = self.read(ids[rows], self.plan.calls)
            what = f"row {row} with and without the other rows{more}"
            distances.append(self.compare(what, beside.of_rows(rows), reading, watched=ids[rows]))
        return self.judged(distances)

    def used(self) -> TestResult:
        begins = self.plan.starts[-1]
        ids = np.concatenate([self.subject.others[:, :begins], self.ids[:, begins:]], axis=1)
        later = self.base.positions >= begins
        wanted = _ReadLogits(self.base.logits[:, later], self.base.positions[later])
        effect = self.compare("", wanted, self.read(ids, self.plan.calls))
        if self._is_hidden(effect):
            return self.inconclusive(self._noisy())
        used = effect.position is not None
        words = "differ" if used else f"of the next {self.plan.calls[-1]} tokens are equal"
        return self.result(f"another text before: the logits {words}", effect.largest, passed=used)

    def leaves(self) -> TestResult:
        begins, exchanged = self.plan.starts[-1], self.subject.exchanged
        assert exchanged is not None  # noqa: S101 - else the test is left out
        past, other, later = self.ids[:, :begins], self.subject.others[:, :begins], self.ids[:, begins:]
        after, exchanges = exchanged(past, other, later)
        wanted, effects, same = self._joined(after, [later.shape[1]], begins), {}, []
        for path, outputs in exchanges:
            if outputs:
                effects[path] = self.compare(path, wanted, self._joined(outputs, [later.shape[1]], begins))
            else:
                same.append(path)
        unused = [path for path, each in effects.items() if each.position is None and not self._is_hidden(each)]
        smallest = min((effect.largest for effect in effects.values()), default=np.inf)
        words = f"each of {len(effects)} arrays of the state exchanged: the logits differ"
        if unused:
            equal = f"the logits of the next {later.shape[1]} tokens are equal"
            words = f"{', '.join(unused)}: with that of another text in its place, {equal}, read in one call"
        words += f"; not exchanged, since both texts leave the same: {', '.join(same)}" if same else ""
        return self.result(words, smallest, passed=not unused)

    def fresh(self) -> TestResult:
        after = self.subject.read_after
        assert after is not None  # noqa: S101 - else the test is left out
        pieces, others = self.subject.pieces, self.subject.document
        first = self._joined(after([], pieces), self.plan.calls)
        documents = {"another": after(others, pieces)}
        if self.subject.read_training is not None:
            documents["one with training=True"] = after(others, pieces, training=True)
        return self.judged(
            self.compare(f"a document read first, and after {other}", first, self._joined(outputs, self.plan.calls))
            for other, outputs in documents.items()
        )

    def training(self) -> TestResult:
        """Test as `causal` does; inconclusive where noise or means over the batch hide the result."""
        subject = self.subject
        if subject.read_training is None:
            return self.inconclusive(f"the model raises with training=True: {subject.why_not_training}")
        tests = _Tests(replace(subject, read=partial(subject.read_training, seeds=True), special=()))
        tests.limits = self.limits
        if tests.compare("", self.base, tests.base).largest == 0:
            return self.result("training=True against training=False: no difference", 0.0)
        if tests.compare("", tests.base, tests.read(self.ids, self.plan.calls)).position is not None:
            why = "equal calls differ, so looking ahead cannot be told from noise"
            return self.inconclusive(f"with training=True {why}")
        if tests.batch().verdict != "pass":
            return self.inconclusive("with training=True rows depend on each other (means over the batch?)")
        result = tests.causal()
        return msgspec.structs.replace(result, detail=f"with training=True: {result.detail}")

    def read(self, ids: Ids, lengths: Sequence[int], reader: Reader | None = None) -> _ReadLogits:
        """Read ids in calls of these lengths."""
        outputs = (reader or self.subject.read)(cut(ids, lengths))
        for output in outputs:
            if output.ndim in (2, 3) and len(output) != len(ids):
                rows = f"{len(output)} rows of logits for {len(ids)} of ids"
                raise _WrongLogitsError(f"{rows}: the model takes no such batch")
        return self._joined(outputs, lengths)

    def _joined(self, outputs: Outputs, lengths: Sequence[int], begins: int = 0) -> _ReadLogits:
        """Join the outputs of calls; refuse those of which it is not known what belongs to which token."""
        positions: list[NDArray[np.intp]] = []
        for output, length in zip(outputs, lengths, strict=True):
            if output.ndim not in (2, 3):
                shapes = "(batch, time, vocabulary) or (batch, vocabulary) can be judged"
                raise _WrongLogitsError(f"logits of shape {output.shape}: {shapes}")
            if output.ndim == 3 and output.shape[1] != length:
                unknown = "what belongs to which token is not known (a model that generates?)"
                raise _WrongLogitsError(f"{output.shape[1]} predictions for {length} tokens: {unknown}")
            positions.append(np.arange(begins, begins + length)[slice(None) if output.ndim == 3 else slice(-1, None)])
            begins += length
        stride = -(-outputs[0].shape[-1] // COLUMNS)
        logits = [each[..., ::stride] for each in as_logits(outputs)]
        logits = [each if each.ndim == 3 else each[:, None] for each in logits]
        return _ReadLogits(np.concatenate(logits, axis=1), np.concatenate(positions))

    def compare(
        self,
        what: str,
        wanted: _ReadLogits,
        reading: _ReadLogits,
        *,
        before: int | None = None,
        watched: Ids | None = None,
    ) -> Distance:
        """Compare two readings at the positions that both have, before one of them, with ordinary ids in `watched`."""
        positions, here, there = np.intersect1d(wanted.positions, reading.positions, return_indices=True)
        change = differences(wanted.logits[:, here], reading.logits[:, there], self.spread, epsilon=self.epsilon)
        within = positions < (self.plan.tokens if before is None else before)
        one, other = wanted.finite[:, here], reading.finite[:, there]
        # A row that is finite to the end by one reading alone differs; where both are not, nothing is known.
        only = (one[:, within].all(axis=1) != other[:, within].all(axis=1))[:, None]
        change = np.where(one & other, change, np.where(only, np.inf, 0.0))
        unknown = np.flatnonzero((~(one & other) & ~only).any(axis=0) & within)
        if unknown.size:
            self.not_finite = int(positions[unknown[0]])
        if watched is not None:
            change = np.where(np.isin(watched[:, positions], self.subject.special), 0.0, change)
        largest = np.where(within, change.max(axis=0, initial=0.0), 0.0)
        beyond = positions[largest > self.limits.tolerance]
        return Distance(what, float(largest.max(initial=0.0)), int(beyond[0]) if beyond.size else None)

    def judged(self, compared: Iterable[Distance]) -> TestResult:
        """Return the result of a test that passes if no readings differ."""
        distances = list(compared)
        worst = max(distances, key=lambda each: each.largest)
        failed = sorted((each for each in distances if each.position is not None), key=lambda each: each.position or 0)
        if failed:
            return self.result("; ".join(map(str, failed[:_SHOWN])), worst.largest, passed=False)
        if self.not_finite is not None:
            return self.inconclusive(f"the logits are not finite from position {self.not_finite} on")
        if self._is_hidden(worst):
            return self.inconclusive(self._noisy())
        half = f", as far as {self.subject.half} shows" if self.subject.half else ""
        return self.result(f"{worst}{half}", worst.largest)

    def _is_hidden(self, compared: Distance) -> bool:
        """Return whether readings differ by no more than much noise, which hides faults and effects."""
        return compared.position is None and compared.largest > 0 and not self.limits.judged

    def _noisy(self) -> str:
        moved = f"moving its {self.subject.moved} by one unit in the last place"
        return f"rounding grows: {moved} changes the logits by {self.limits.noise:.2g} of the context spread"

    def inconclusive(self, why: str) -> TestResult:
        return TestResult(verdict="inconclusive", tolerance=self.limits.tolerance, detail=why)

    def result(self, detail: str, largest: float, *, passed: bool = True) -> TestResult:
        return result_of(detail, largest, self.limits, passed=passed)


def _called(lengths: Sequence[int]) -> str:
    if len(lengths) == 1:
        return f"one call over {lengths[0]} tokens"
    return f"calls of {', '.join(map(str, lengths))} tokens"


class BehaviourTest(NamedTuple):
    """A test, the fault that it shows by failing, and the words for it."""

    run: Callable[[_Tests], TestResult]
    fault: str
    words: str


TESTS = {
    "chunk": BehaviourTest(
        _Tests.chunk, "chunk-variance", "One call and several carried calls over the same text differ"
    ),
    "causal": BehaviourTest(_Tests.causal, "future-leak", "Predictions depend on later tokens"),
    "batch": BehaviourTest(_Tests.batch, "batch-leak", "Predictions depend on other rows of the batch"),
    "used": BehaviourTest(_Tests.used, "unused-state", "The past has no effect on the predictions"),
    "leaves": BehaviourTest(_Tests.leaves, "unused-part", "Part of the state has no effect on the predictions"),
    "repeat": BehaviourTest(_Tests.repeat, "always-random", "Random numbers are drawn with training=False"),
    "alone": BehaviourTest(_Tests.alone, "batch-leak", "Predictions depend on whether there are other rows"),
    "fresh": BehaviourTest(_Tests.fresh, "leftover-state", "A new document depends on what was read before it"),
    "training": BehaviourTest(_Tests.training, "future-leak", "Predictions depend on later tokens"),
}
"""All tests, by their keys in the order of the record: the one place that a new test is entered."""
