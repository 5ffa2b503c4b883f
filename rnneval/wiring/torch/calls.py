"""Tests of the calls that a cached model of transformers takes: each compares two ways to compute the same logits.

The model changes its cache in place, as `generate` lets it do. Two readings that are compared are cut into the same
calls wherever this is possible, so that a fault shows in its own test alone.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any, NamedTuple

import numpy as np

from rnneval.models.torch.causal import CachedStep
from rnneval.records.wiring import TestResult
from rnneval.wiring import cases
from rnneval.wiring.cases import Case
from rnneval.wiring.difference import Distance, Limits, Logits, context_spread, differences, moving_ids, result_of
from rnneval.wiring.readings import CacheMethod, KeepCopy, Reading
from rnneval.wiring.subject import Ids, special_ids
from rnneval.wiring.torch.diverging import Divergence, module_of_case, module_of_shape
from rnneval.wiring.torch.readings import CacheReader, RefusedError, ShapeError
from rnneval.wiring.torch.reproduce import script

KEYS = ("train", "shapes", "padding", "right_padding", "packed", "restore", "rollback", "reset", "reorder", "special")
"""The keys of all tests, in the order of the record; the page `flow_matrix` says what they compare."""
_TOKENS = 16  # of the texts, where no chunk is longer
_LONGEST_CHUNK = 512  # a longer one is not tested: it takes as many calls of one token
_LONG = 64  # tokens of the text for which calls of one token are compared once more, if longer ones are wrong
_BY_TOKEN = {cases.DECODING, cases.SHORT_PROMPT, cases.TWO_ROWS}
_SHOWN = 0.1  # the share of the largest difference that smaller calls must show to be the example
_DRAWS = 2  # readings with moved weights: one alone may be lucky


@dataclass(kw_only=True)
class CallTests:
    """Results of the tests of calls, by their keys."""

    oracles: dict[str, TestResult] = field(default_factory=dict)
    patterns: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """The calls in which a failed test showed its fault."""
    scripts: dict[str, str] = field(default_factory=dict, repr=False)
    """Code that shows the fault of a failed test in its smallest calls."""
    divergences: dict[str, Divergence] = field(default_factory=dict)
    """The first module at which the readings of a failed test part, where one can be named."""
    right_by_token: bool = False
    """Whether calls of one token agree with one call over the whole text without a cache, although others do not."""
    untested: tuple[str, ...] = ()  # what was not tested, and why, a sentence each


class _Compared(NamedTuple):
    """A pair of readings that was compared."""

    case: Case
    distance: Distance
    has_other_shape: bool = False

    @property
    def failed(self) -> bool:
        return self.has_other_shape or self.distance.position is not None


def run_calls(step: CachedStep, *, width: int, newline: int | None = None, seed: int = 0) -> CallTests:
    """Run the tests of calls that a model of `width` logits can take, with a copy in which no parameter is zero."""
    try:
        return _CallTests(step, width, newline, seed).run()
    except RefusedError as error:  # in the calls that all others are compared with
        return CallTests(untested=(f"calls: {error}",))


class _CallTests:
    """The tests of one model."""

    def __init__(self, step: CachedStep, width: int, newline: int | None, seed: int) -> None:
        self.reader = CacheReader(step)
        config, ids = step.module.config, range(width)
        named: list[Any] = [getattr(config, f"{name}_token_id", None) for name in ("bos", "eos", "pad")]
        of_model = [id_ for given in named for id_ in (given if isinstance(given, list) else [given]) if id_ in ids]
        special = dict.fromkeys([*special_ids(width, newline)[0], *of_model])
        ordinary = [id_ for id_ in ids if id_ not in special]
        if len(ordinary) < 2:
            special, ordinary = {}, [*ids]
        self.special = tuple(special)
        self.pad = int(named[2]) if named[2] in ids else ordinary[0]
        self.chunks = {name: size for name, size in step.chunk_sizes.items() if size <= _LONGEST_CHUNK}
        self.untested = [
            f"calls across {size} tokens ({name}): only chunks of up to {_LONGEST_CHUNK} tokens are tested"
            for name, size in step.chunk_sizes.items()
            if name not in self.chunks
        ]
        tokens = max(_TOKENS, *(size + 4 for size in self.chunks.values()), 0)
        generator = np.random.default_rng([seed, 1])
        self.texts: Ids = generator.choice(np.array(ordinary, np.int32), (2, tokens))
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
        pairs_of = {key: [each for each in plain if each.case.key == key] for key in KEYS}
        known = {each.case.pattern for each in plain if each.failed}
        if self.special:
            again = self._round(self._with_special(), special=True)
            pairs_of["special"] = [each for each in again if each.case.pattern not in known]
        results = CallTests()
        for key in (key for key in KEYS if pairs_of[key]):
            self._judge(key, pairs_of[key], results)
        results.right_by_token = self._is_right_by_token({*chain(*results.patterns.values())})
        results.untested = tuple(dict.fromkeys(self.untested))
        return results

    def _judge(self, key: str, compared: Sequence[_Compared], results: CallTests) -> None:
        """Add the result of a test."""
        failed = [each for each in compared if each.failed]
        worst = max(failed or compared, key=lambda each: each.distance.largest).distance
        detail = str(worst)
        if failed:
            example = _example(failed)
            patterns = tuple(dict.fromkeys(each.case.pattern for each in failed))
            ids = f"with ids {', '.join(map(str, self.special))} in the text, " if key == "special" else ""
            calls = f"{ids}{'only ' if len(patterns) == 1 else ''}{' and '.join(patterns)}"
            # What has another shape has no positions to compare.
            detail = f"{calls}: {example.distance.what if example.has_other_shape else example.distance}"
            where = (module_of_shape if example.has_other_shape else module_of_case)(self.reader, example.case)
            if where is not None:
                results.divergences[key] = where
            results.patterns[key] = patterns
            results.scripts[key] = script(self.reader, example.case, example.distance.position)
        results.oracles[key] = result_of(detail, worst.largest, self.limits, passed=not failed)

    def _is_right_by_token(self, failed: set[str]) -> bool:
        """Return whether calls of one token alone agree with one call without a cache."""
        if cases.SEVERAL not in failed or _BY_TOKEN & failed:
            return False
        ids = cases.rows(np.resize(self.texts, max(_LONG, self.texts.shape[1])))
        whole, by_token = Reading(ids=ids), Reading(ids=ids, lengths=(1,) * len(ids[0]))
        try:
            found = differences(self.reader.logits(whole), self.reader.logits(by_token), self.spread)
        except RefusedError:
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
        compared_pairs: list[_Compared] = []
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
            except ShapeError as error:
                compared = _Compared(case, Distance(f"{case.reading}: {error}", np.inf, None), has_other_shape=True)
            except RefusedError as error:
                if case.pattern not in failed:
                    self.untested.append(f"{case.pattern}: {error}")
                failed.add(case.pattern)
                continue
            compared_pairs.append(compared)
            if compared.failed:
                failed.add(case.pattern)
        return compared_pairs

    def _cases(self, text: Ids, other: Ids) -> Iterator[Case]:
        """Yield the pairs that the model can take; those before others are needed to tell these."""
        yield from cases.plain_cases(text)
        yield from cases.row_cases(text, other)
        if self.reader.takes("position_ids"):
            yield from cases.number_cases(text)
        if self.reader.takes("attention_mask") or self.reader.swallows:
            yield from cases.mask_cases(text)
            yield from cases.padding_cases(text, other, self.pad)
        else:
            self.untested.append("padded rows: the model takes no attention_mask")
        if self._takes_packed(text, other):
            yield from cases.packed_cases(text, other)
        yield from self._cases_of_cache(text, other)

    def _takes_packed(self, text: Ids, other: Ids) -> bool:
        """Return whether the model takes the bounds of documents: it names them, or they change the logits."""
        if self.reader.takes("seq_idx", "cu_seq_lens_q", "cu_seqlens"):
            return True
        told = next(cases.packed_cases(text, other)).reading
        try:
            taken = bool((self.reader.logits(told) != self.reader.logits(replace(told, packed=False))).any())
        except RefusedError:
            taken = False
        if not taken:
            self.untested.append("packed rows: the model takes neither seq_idx nor cu_seq_lens_q")
        return taken

    def _cases_of_cache(self, text: Ids, other: Ids) -> Iterator[Case]:
        """Yield the pairs that use the methods of the cache."""
        _, state = self.reader.step(np.ones((1, 2), np.int32), None)
        cache = getattr(state, "returned", state).cache
        yield from cases.kept_cases(text, other, rollback=False, keep=KeepCopy.SAVE)
        if hasattr(cache, "reset"):
            yield from cases.reset_cases(text, other)
        if getattr(cache, "is_croppable", False):
            keep = CacheMethod("activate_past_recording") if hasattr(cache, "activate_past_recording") else None
            yield from cases.kept_cases(text, other, rollback=True, keep=keep)
        elif hasattr(cache, "crop"):
            self.untested.append("cache.crop(): the cache does not say that it can (is_croppable)")
        for method in ("reorder_cache", "batch_select_indices"):
            if hasattr(cache, method):
                yield from cases.order_cases(text, other, method)
        missing = [name for name in ("reset", "crop", "reorder_cache") if not hasattr(cache, name)]
        self.untested += [f"cache.{name}(): the cache has no such method" for name in missing]

    def _compare(self, case: Case, special: bool) -> _Compared:
        """Compare two readings; one that has an alternative need only agree with that."""
        logits = self.reader.logits(case.reading)
        distance = self._against(case, case.wanted, logits, special)
        if distance.position is not None and case.or_wanted is not None:
            other = self._against(case, case.or_wanted, logits, special)
            distance = distance if other.position is not None else other
        return _Compared(case, distance)

    def _against(self, case: Case, reading: Reading, logits: Logits, special: bool) -> Distance:
        """Return the difference of two readings, with its position in the first one."""
        wanted, seen = case.aligned(self.reader.logits(reading), logits)
        by_token, begins = differences(wanted, seen, self.spread), case.begins[0]
        at = slice(begins, begins + wanted.shape[1])
        if special:  # a model may treat a special id as it likes
            by_token = np.where(np.isin(np.array(reading.ids)[:, at], self.special), 0.0, by_token)
        largest = by_token.max(axis=0)
        beyond = np.flatnonzero(largest > self.limits.tolerance)
        first = int(beyond[0]) + begins if beyond.size else None
        return Distance(f"{reading} against {case.reading}", float(largest.max()), first)


def _example(failed: Sequence[_Compared]) -> _Compared:
    """Return the smallest calls that show the first pattern well: pairs come with the smallest first."""
    alike = [each for each in failed if each.case.pattern == failed[0].case.pattern]
    worst = max(each.distance.largest for each in alike)
    return next(each for each in alike if each.distance.largest >= _SHOWN * worst)
