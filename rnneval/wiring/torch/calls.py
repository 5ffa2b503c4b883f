"""Tests of the calls that a cached model of transformers takes: each compares two ways to compute the same logits.

The tests, under their keys in the record:

- `train`: the whole text without a cache, as in training, against the cached calls.
- `shapes`: calls of one token, calls of several tokens after a state, two rows, a prompt of one token, an attention
  mask of ones, positions left to the model, pads in a second call, and calls about as long as the model's own chunk.
- `padding`: a row padded under the attention mask, beside a longer one, against the row alone.
- `right_padding`: the text goes on after a row that was padded on the right, against the row alone.
- `packed`: two documents in one row, with their bounds, against one by one.
- `restore`: the cache is copied, another text is read, and the text goes on from the copy.
- `rollback`: the tokens of another text are taken out of the cache by `crop`.
- `reset`: a text after another one and `reset()`.
- `reorder`: the rows of the cache are exchanged by its own methods.
- `special`: all of these with special ids in the text, where only positions with other ids are compared.

The model changes its cache in place, as `generate` lets it do. Two readings that are compared are cut into the same
calls wherever this is possible, so that a fault shows in its own test alone.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any, NamedTuple, TypeGuard

import numpy as np

from rnneval.models.torch.causal import CachedStep
from rnneval.records.wiring import Oracle
from rnneval.wiring.behaviour import Ids, special_ids
from rnneval.wiring.difference import (
    Distance,
    Limits,
    Logits,
    context_spread,
    differences,
    moving_ids,
    oracle_of,
)
from rnneval.wiring.torch import cases
from rnneval.wiring.torch.cases import Case
from rnneval.wiring.torch.diverging import Divergence, module_of_case, module_of_shape
from rnneval.wiring.torch.readings import Reader, Reading, RefusedError, ShapeError
from rnneval.wiring.torch.reproduce import script

KEYS = ("train", "shapes", "padding", "right_padding", "packed", "restore", "rollback", "reset", "reorder", "special")
"""The keys of all tests, in the order of the record."""
_TOKENS = 16  # of the texts, where no chunk is longer
_LONGEST_CHUNK = 512  # a longer one is not tested: it takes as many calls of one token
_LONG = 64  # tokens of the text for which calls of one token are compared once more, if longer ones are wrong
_BY_TOKEN = {cases.DECODING, cases.SHORT_PROMPT, cases.TWO_ROWS}
_SHOWN = 0.1  # the share of the largest difference that smaller calls must show to be the example
_DRAWS = 2  # readings with moved weights: one alone may be lucky


@dataclass(frozen=True, kw_only=True)
class CallTests:
    """Results of the tests of calls."""

    oracles: Mapping[str, Oracle] = field(default_factory=dict)
    patterns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The calls in which a failed test showed its fault, by key."""
    right_by_token: bool = False
    """Whether calls of one token agree with one call over the whole text without a cache, although others do not."""
    untested: tuple[str, ...] = ()  # what was not tested, and why, a sentence each
    scripts: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Code that shows the fault of a failed test in its smallest calls, by key."""
    divergences: Mapping[str, Divergence] = field(default_factory=dict)
    """The first module at which the readings of a failed test part, by key, where one can be named."""


class _Compared(NamedTuple):
    """A pair of readings that was compared."""

    case: Case
    found: Distance
    has_other_shape: bool = False

    @property
    def failed(self) -> bool:
        return self.has_other_shape or self.found.position is not None


def run_calls(step: CachedStep, *, width: int, newline: int | None = None, seed: int = 0) -> CallTests:
    """Run the tests of calls that a model of `width` logits can take, with a copy in which no parameter is zero."""
    try:
        return _CallTests(step, width, newline, seed).run()
    except (RefusedError, ShapeError) as error:  # in the calls that all others are compared with
        return CallTests(untested=(f"calls: {error}",))


def _is_id(value: Any, width: int) -> TypeGuard[int]:
    return isinstance(value, int) and 0 <= value < width


class _CallTests:
    """The tests of one model."""

    def __init__(self, step: CachedStep, width: int, newline: int | None, seed: int) -> None:
        self.reader = Reader(step)
        config = step.module.config
        of_model: list[Any] = []
        for name in ("bos_token_id", "eos_token_id", "pad_token_id"):
            given = getattr(config, name, None)
            of_model += given if isinstance(given, list) else [given]
        special = dict.fromkeys([*special_ids(width, newline)[0], *(id_ for id_ in of_model if _is_id(id_, width))])
        ordinary = [id_ for id_ in range(width) if id_ not in special]
        if len(ordinary) < 2:
            special, ordinary = {}, [*range(width)]
        self.special = tuple(special)
        self.chunks = {name: size for name, size in step.chunk_sizes.items() if size <= _LONGEST_CHUNK}
        self.untested = [
            f"calls across {size} tokens ({name}): only chunks of up to {_LONGEST_CHUNK} tokens are tested"
            for name, size in step.chunk_sizes.items()
            if name not in self.chunks
        ]
        tokens = max(_TOKENS, *(size + 4 for size in self.chunks.values()), 0)
        generator = np.random.default_rng([seed, 1])
        self.texts: Ids = generator.choice(np.array(ordinary, np.int32), (2, tokens))
        pad = getattr(config, "pad_token_id", None)
        self.pad = pad if _is_id(pad, width) else int(ordinary[0])
        self._measure()

    def _measure(self) -> None:
        """Measure the context spread and the noise."""
        base = self.reader.logits(Reading(ids=cases.rows(*self.texts[:, :_TOKENS])))
        self.spread, moving = context_spread(base), moving_ids(base)
        one = Reading(ids=cases.rows(self.texts[0]))
        steady = self.reader.logits(one)[..., moving]
        moved = [self.reader.moved(one, draw)[..., moving] for draw in range(_DRAWS)]
        noise = [differences(steady, each, self.spread, epsilon=0) for each in moved]
        self.limits = Limits.of_noise(float(np.max(noise)))

    def run(self) -> CallTests:
        """Run all tests, with ordinary ids and with special ones."""
        plain = self._round(self.texts)
        found = {key: [each for each in plain if each.case.key == key] for key in KEYS}
        known = {each.case.pattern for each in plain if each.failed}
        if self.special:
            again = self._round(self._with_special(), special=True)
            found["special"] = [each for each in again if each.case.pattern not in known]
        found = {key: compared for key, compared in found.items() if compared}
        failed = {key: bad for key, compared in found.items() if (bad := [each for each in compared if each.failed])}
        shown = {key: _shown(bad) for key, bad in failed.items()}
        patterns = {key: _patterns(bad) for key, bad in failed.items()}
        # What has another shape has no positions to compare.
        parted = {
            key: (module_of_shape if each.has_other_shape else module_of_case)(self.reader, each.case)
            for key, each in shown.items()
        }
        return CallTests(
            oracles={key: self._oracle(key, compared) for key, compared in found.items()},
            patterns=patterns,
            right_by_token=self._is_right_by_token({*chain(*patterns.values())}),
            untested=tuple(dict.fromkeys(self.untested)),
            scripts={key: script(self.reader, each.case, each.found.position) for key, each in shown.items()},
            divergences={key: where for key, where in parted.items() if where is not None},
        )

    def _is_right_by_token(self, failed: set[str]) -> bool:
        """Return whether calls of one token alone agree with one call without a cache."""
        if cases.SEVERAL not in failed or _BY_TOKEN & failed:
            return False
        ids = cases.rows(np.resize(self.texts, max(_LONG, self.texts.shape[1])))
        whole, by_token = Reading(ids=ids), Reading(ids=ids, lengths=(1,) * len(ids[0]))
        try:
            found = differences(self.reader.logits(whole), self.reader.logits(by_token), self.spread)
        except (RefusedError, ShapeError):
            return False
        return bool((found <= self.limits.tolerance).all())

    def _with_special(self) -> Ids:
        """Return the texts with special ids at every other token, so that many calls begin with one."""
        texts = self.texts.copy()
        for row in (0, 1):
            places = texts[row, 1 - row :: 2]
            places[:] = np.resize(np.roll(self.special, -row), places.shape)
        return texts

    def _round(self, texts: Ids, *, special: bool = False) -> list[_Compared]:
        """Compare all pairs of readings of two texts."""
        found: list[_Compared] = []
        failed: set[str] = set()  # patterns that differ or raise an error
        shortest = min(self.chunks.values(), default=_TOKENS)
        chunked = (case for name, size in self.chunks.items() for case in cases.chunk_cases(texts[0], name, size))
        # What goes wrong across chunks is not told as a fault of other calls, so these are shorter.
        others = (case for case in self._cases(*texts) if case.longest_call < shortest)
        for case in chain(others, chunked):
            if missing := [pattern for pattern in case.needs if pattern in failed]:
                self.untested.append(f"{case.pattern}, read on: the model already differs {missing[0]}")
                continue
            try:
                compared = self._compare(case, special)
            except RefusedError as error:
                if case.pattern not in failed:
                    self.untested.append(f"{case.pattern}: {error}")
                failed.add(case.pattern)
                continue
            except ShapeError as error:
                compared = _Compared(case, Distance(f"{case.seen}: {error}", np.inf, None), has_other_shape=True)
            found.append(compared)
            if compared.failed:
                failed.add(case.pattern)
        return found

    def _cases(self, text: Ids, other: Ids) -> Iterator[Case]:
        """Yield the pairs that the model can take; those before others are needed to tell these."""
        yield from cases.plain_cases(text)
        yield from cases.row_cases(text, other)
        if self.reader.takes("position_ids"):
            yield from cases.number_cases(text)
        if self.reader.takes("attention_mask") or self.reader.swallows:
            yield from cases.mask_cases(text)
            for padded in (cases.whole_padding_cases, cases.padding_cases, cases.later_padding_cases):
                yield from padded(text, other, self.pad)
        else:
            self.untested.append("padded rows: the model takes no attention_mask")
        if self._takes_packed(text, other):
            yield from cases.packed_cases(text, other)
        yield from self._cases_of_cache(text, other)

    def _takes_packed(self, text: Ids, other: Ids) -> bool:
        """Return whether the model takes the bounds of documents: it names them, or they change the logits."""
        if self.reader.takes("seq_idx", "cu_seq_lens_q", "cu_seqlens"):
            return True
        told = next(cases.packed_cases(text, other)).seen
        try:
            taken = bool((self.reader.logits(told) != self.reader.logits(replace(told, packed=False))).any())
        except (RefusedError, ShapeError):
            taken = False
        if not taken:
            self.untested.append("packed rows: the model takes neither seq_idx nor cu_seq_lens_q")
        return taken

    def _cases_of_cache(self, text: Ids, other: Ids) -> Iterator[Case]:
        """Yield the pairs that use the methods of the cache."""
        cache = self.reader.example_cache()
        yield from cases.kept_cases("restore", text, other, "save", "restore")
        if hasattr(cache, "reset"):
            yield from cases.reset_cases(text, other)
        if getattr(cache, "is_croppable", False):
            keep = "activate_past_recording" if hasattr(cache, "activate_past_recording") else ""
            yield from cases.kept_cases("rollback", text, other, keep, "crop")
        elif hasattr(cache, "crop"):
            self.untested.append("cache.crop(): the cache does not say that it can (is_croppable)")
        for method in ("reorder_cache", "batch_select_indices"):
            if hasattr(cache, method):
                yield from cases.order_cases(text, other, method)
        missing = [name for name in ("reset", "crop", "reorder_cache") if not hasattr(cache, name)]
        self.untested += [f"cache.{name}(): the cache has no such method" for name in missing]

    def _compare(self, case: Case, special: bool) -> _Compared:
        """Compare two readings; one that has an alternative need only agree with that."""
        seen = self.reader.logits(case.seen)
        found = self._against(case, case.wanted, seen, special)
        if found.position is not None and case.or_wanted is not None:
            other = self._against(case, case.or_wanted, seen, special)
            found = found if other.position is not None else other
        return _Compared(case, found)

    def _against(self, case: Case, reading: Reading, seen: Logits, special: bool) -> Distance:
        """Return the difference of two readings, with its position in the first one."""
        wanted, begins = self.reader.logits(reading), case.begins[0]
        seen = seen[case.row : case.row + 1] if len(wanted) == 1 else seen
        wanted, seen = wanted[:, begins:], seen[:, case.begins[1] :]
        tokens = min(wanted.shape[1], seen.shape[1], case.tokens or wanted.shape[1])
        found = differences(wanted[:, :tokens], seen[:, :tokens], self.spread)
        at = slice(begins, begins + tokens)
        if special:  # a model may treat a special id as it likes
            found = np.where(np.isin(np.array(reading.ids)[:, at], self.special), 0.0, found)
        largest = found.max(axis=0)
        beyond = np.flatnonzero(largest > self.limits.tolerance)
        first = int(beyond[0]) + begins if beyond.size else None
        return Distance(f"{reading} against {case.seen}", float(largest.max()), first)

    def _oracle(self, key: str, compared: Sequence[_Compared]) -> Oracle:
        """Return the result of a test."""
        failed = [each for each in compared if each.failed]
        worst = max(failed or compared, key=lambda each: each.found.largest).found
        detail = str(worst)
        if failed:
            patterns = _patterns(failed)
            said = f"{'only ' if len(patterns) == 1 else ''}{' and '.join(patterns)}"
            ids = f"with ids {', '.join(map(str, self.special))} in the text, " if key == "special" else ""
            shown = _shown(failed)
            detail = f"{ids}{said}: {shown.found.what if shown.has_other_shape else shown.found}"
        return oracle_of(detail, worst.largest, self.limits, passed=not failed)


def _patterns(failed: Sequence[_Compared]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(each.case.pattern for each in failed))


def _shown(failed: Sequence[_Compared]) -> _Compared:
    """Return the smallest calls that show the first pattern well: pairs come with the smallest first."""
    alike = [each for each in failed if each.case.pattern == failed[0].case.pattern]
    worst = max(each.found.largest for each in alike)
    return next(each for each in alike if each.found.largest >= _SHOWN * worst)
