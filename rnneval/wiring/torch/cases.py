"""Pairs of readings by a cached model that must give the same logits."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import product

import numpy as np
from numpy.typing import NDArray

from rnneval.wiring.torch.readings import Change, Reading, Rows

ONE_CALL = "in one call with a cache"
DECODING = "in calls of one token after a state"
SHORT_PROMPT = "after a first call of one token"
SEVERAL = "in calls of more than one token after a state"
UNNUMBERED = "in calls without position_ids"
ONES = "with a growing mask of ones, one token a call"
SEVERAL_ONES = "with a growing mask of ones, several tokens a call"
TWO_ROWS = "in calls of one token for two rows"
PADDED = "in padded rows"
AFTER_PADS = "in rows that go on after pads"
PADDED_CALL = "in padded rows, when a later call holds the pads"

_SECOND = (1, 2), (3, 3), (5, 8)  # tokens of a first call and of the one after it
_ONE_BY_ONE = (1, 1), (3, 1), (3, 1, 1, 1)

Ids = NDArray[np.int32]


@dataclass(frozen=True, kw_only=True)
class Case:
    """Two readings that must agree on some tokens."""

    key: str
    pattern: str  # the calls in which they differ, if they do
    what: str
    wanted: Reading
    seen: Reading
    begins: tuple[int, int] = (0, 0)  # the first token that is compared, in each reading
    tokens: int | None = None  # the number of tokens that are compared; None for all that both have
    row: int = 0  # the row of the other reading that must be the only one of `wanted`, or equal that of the same number
    or_wanted: Reading | None = None  # another reading with which the other may agree instead
    needs: tuple[str, ...] = ()  # patterns without whose faults alone this one can be told

    @property
    def longest_call(self) -> int:
        """The number of tokens of the longest call."""
        return max(max(each.lengths or (each.tokens,)) for each in (self.wanted, self.seen))


def rows(*texts: Iterable[int]) -> Rows:
    """Return rows of ids, or of other numbers, as a reading holds them."""
    return tuple(tuple(map(int, text)) for text in texts)


def _called(lengths: tuple[int, ...]) -> str:
    if len(lengths) == 1:
        return f"one call of {_count(lengths[0], 'token')}"
    return f"calls of {', '.join(map(str, lengths))} tokens"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _alone(text: Ids, lengths: tuple[int, ...]) -> Reading:
    return Reading(ids=rows(text[: sum(lengths)]), lengths=lengths)


def plain_cases(text: Ids) -> Iterator[Case]:
    """Yield cached calls over one row, against one call without a cache."""
    for n in (2, 5, 12):
        whole = Reading(ids=rows(text[:n]))
        what = f"{n} tokens without a cache against one call of {n} with it"
        yield Case(key="train", pattern=ONE_CALL, what=what, wanted=whole, seen=_alone(text, (n,)))
    for n in (3, 5, 12):
        whole, by_token = Reading(ids=rows(text[:n])), _alone(text, (2, *(1,) * (n - 2)))
        what = f"{n} tokens without a cache against a call of 2 and {n - 2} of one token"
        yield Case(key="train", pattern=DECODING, what=what, wanted=whole, seen=by_token)
    for first, then in _SECOND:
        n = first + then
        whole, by_token = Reading(ids=rows(text[:n])), _alone(text, (2, *(1,) * (n - 2)))
        what = f"{n} tokens without a cache against a call of {first} and one of {then}"
        seen = _alone(text, (first, then))
        yield Case(key="shapes", pattern=SEVERAL, what=what, wanted=whole, seen=seen, or_wanted=by_token)
        if first == 1:
            continue
        what = f"{n} tokens without a cache against {n} calls of one token"
        seen = _alone(text, (1,) * n)
        yield Case(key="shapes", pattern=SHORT_PROMPT, what=what, wanted=whole, seen=seen, or_wanted=by_token)


def mask_cases(text: Ids) -> Iterator[Case]:
    """Yield calls with an attention mask of ones, against those without one."""
    for pattern, cuts in ((ONES, _ONE_BY_ONE), (SEVERAL_ONES, _SECOND)):
        for lengths in cuts:
            wanted = _alone(text, lengths)
            seen = Reading(ids=wanted.ids, lengths=lengths, mask=rows([1] * wanted.tokens))
            what = f"{_called(lengths)} without and with an attention mask of ones for all tokens so far"
            yield Case(key="shapes", pattern=pattern, what=what, wanted=wanted, seen=seen)


def number_cases(text: Ids) -> Iterator[Case]:
    """Yield calls without position ids, against those with them."""
    for lengths in (*_ONE_BY_ONE, *_SECOND):
        wanted = _alone(text, lengths)
        seen = Reading(ids=wanted.ids, lengths=lengths, numbered=False)
        what = f"{_called(lengths)} with and without position_ids"
        yield Case(key="shapes", pattern=UNNUMBERED, what=what, wanted=wanted, seen=seen)


def row_cases(text: Ids, other: Ids) -> Iterator[Case]:
    """Yield calls for two rows, against one row alone."""
    for lengths in _ONE_BY_ONE:
        both = Reading(ids=rows(*(each[: sum(lengths)] for each in (text, other))), lengths=lengths)
        for row, own in enumerate((text, other)):
            what = f"{_called(lengths)}: row {row} alone and beside another row"
            yield Case(key="shapes", pattern=TWO_ROWS, what=what, wanted=_alone(own, lengths), seen=both, row=row)


def chunk_cases(text: Ids, name: str, chunk: int) -> Iterator[Case]:
    """Yield calls about as long as a model's own chunk, against calls of one token."""
    by_token = _alone(text, (2, *(1,) * (chunk + 2)))
    pattern = f"across {chunk} tokens ({name})"
    for length in (chunk - 1, chunk, chunk + 1):
        for after in (0, 2):
            what = f"calls of one token against a call of {length}{f' and {after} of one token' if after else ''}"
            seen = _alone(text, (length, *(1,) * after))
            yield Case(key="shapes", pattern=pattern, what=what, wanted=by_token, seen=seen, needs=(DECODING,))


def _beside(text: Ids, shorter: list[int], pads: list[int], lengths: tuple[int, ...]) -> Reading:
    """Return a text with a shorter row beside it, whose pads have a mask of 0."""
    mask = [0 if at in pads else 1 for at in range(len(shorter))]
    return Reading(ids=rows(text[: len(shorter)], shorter), lengths=lengths, mask=rows([1] * len(shorter), mask))


def padding_cases(text: Ids, other: Ids, pad: int) -> Iterator[Case]:
    """Yield a row that is padded beside a longer one, also read on, against the row alone."""
    after_needs: tuple[tuple[tuple[int, ...], tuple[str, ...]], ...]
    after_needs = ((), ()), ((1, 1), (ONES, TWO_ROWS)), ((3,), (SEVERAL_ONES,))
    for (count, pads), (after, needs) in product(((1, 1), (3, 1), (5, 4)), after_needs):
        n, more = count + pads, sum(after)
        then = f", then {_called(after)}" if after else ""
        padding = _count(pads, "pad")
        alone, longer = _alone(other, (count, *after)), _alone(text, (n, *after))
        case = partial(Case, key="padding", pattern=PADDED, needs=needs)
        left = _beside(text, [pad] * pads + [*other[: count + more]], [*range(pads)], (n, *after))
        what = f"a row of {count} alone, and with {padding} on the left beside a row of {n}{then}"
        yield case(what=what, wanted=alone, seen=left, begins=(0, pads), row=1)
        what = f"a row of {n} alone and beside a row of {count} with {padding} on the left{then}"
        yield case(what=what, wanted=longer, seen=left)
        ids = [*other[:count], *[pad] * pads, *other[count : count + more]]
        right = _beside(text, ids, [*range(count, n)], (n, *after))
        what = f"a row of {count} alone, and with {padding} on the right beside a row of {n}{then}"
        if not after:
            yield case(what=what, wanted=alone, seen=right, tokens=count, row=1)
            continue
        case = partial(Case, key="right_padding", pattern=AFTER_PADS, needs=needs)
        yield case(what=what, wanted=alone, seen=right, begins=(count, n), row=1)


def whole_padding_cases(text: Ids, other: Ids, pad: int) -> Iterator[Case]:
    """Yield a row that is padded in one call without a cache, against the row alone."""
    for count, pads in ((1, 1), (3, 1), (5, 4)):
        left = _beside(text, [pad] * pads + [*other[:count]], [*range(pads)], ())
        what = f"without a cache: a row of {count} alone, and with {_count(pads, 'pad')} on the left beside another row"
        alone = Reading(ids=rows(other[:count]))
        yield Case(key="padding", pattern=PADDED, what=what, wanted=alone, seen=left, begins=(0, pads), row=1)


def later_padding_cases(text: Ids, other: Ids, pad: int) -> Iterator[Case]:
    """Yield rows whose pads stand in a second call, against the row alone."""
    case = partial(Case, key="padding", pattern=PADDED_CALL, needs=(SEVERAL_ONES,), row=1)
    for first, pads, count in ((2, 3, 2), (3, 5, 4)):  # models take calls of one token to hold no pad
        seen = _beside(text, [pad] * pads + [*other[:count]], [*range(pads)], (first, pads + count - first))
        what = f"a row of {count} alone, and with {_count(pads, 'pad')} on the left, read in {_called(seen.lengths)}"
        yield case(what=what, wanted=_alone(other, (count,)), seen=seen, begins=(0, pads))
    for first, count, pads in ((1, 2, 1), (4, 3, 2)):
        n = first + count
        seen = _beside(text, [*other[:n], *[pad] * pads], [*range(n, n + pads)], (first, count + pads))
        what = f"calls of {first} and {count} tokens, and the second with {_count(pads, 'pad')} on the right"
        yield case(what=what, wanted=_alone(other, (first, count)), seen=seen, tokens=n)


def packed_cases(text: Ids, other: Ids) -> Iterator[Case]:
    """Yield two documents in one row, whose bounds the model is told, against the second one alone."""
    for n, more in ((2, 2), (7, 5)):
        ids, positions = [*text[:n], *other[:more]], [*range(n), *range(more)]
        packed = Reading(ids=rows(ids), positions=rows(positions), packed=True)
        what = f"a document of {more} alone, and after one of {n} in the same row"
        alone = Reading(ids=rows(other[:more]))
        yield Case(key="packed", pattern="in packed rows", what=what, wanted=alone, seen=packed, begins=(0, n))


def kept_cases(key: str, text: Ids, other: Ids, keep: str, back: str) -> Iterator[Case]:
    """Yield a text with another one read in between and taken back, against the text read without it."""
    for n, between, more in ((1, 1, (1,)), (3, 2, (1, 1)), (5, 2, (1, 1))):
        after = n + sum(more)
        ids = [*text[:n], *other[:between], *text[n:after]]
        positions = [*range(n), *range(n, n + between), *range(n, after)]
        argument = -between if back == "crop" else None
        kept = (Change(call=1, method=keep),) if keep else ()
        made = (*kept, Change(call=2, method=back, argument=argument))
        seen = Reading(ids=rows(ids), lengths=(n, between, *more), positions=rows(positions), changes=made)
        taken = f"{_count(between, 'token')} of another text read after the first one and taken back"
        what = f"{_called((n, *more))}, without and with {taken}"
        pattern = {"restore": "after the cache was copied and put back", "rollback": "after cache.crop()"}[key]
        wanted = _alone(text, (n, *more))
        yield Case(key=key, pattern=pattern, what=what, wanted=wanted, seen=seen, begins=(n, n + between))


def reset_cases(text: Ids, other: Ids) -> Iterator[Case]:
    """Yield a text after another one and a reset of the cache, against the text alone."""
    for before, lengths in ((1, (2, 1)), (1, (1, 1)), (4, (3, 1, 1))):
        ids, positions = [*other[:before], *text[: sum(lengths)]], [*range(before), *range(sum(lengths))]
        reset = (Change(call=1, method="reset"),)
        seen = Reading(ids=rows(ids), lengths=(before, *lengths), positions=rows(positions), changes=reset)
        what = f"{_called(lengths)}, read first, and after {_count(before, 'token')} of another text and cache.reset()"
        wanted = _alone(text, lengths)
        yield Case(key="reset", pattern="after cache.reset()", what=what, wanted=wanted, seen=seen, begins=(0, before))


def order_cases(text: Ids, other: Ids, method: str) -> Iterator[Case]:
    """Yield two rows that the cache exchanges between calls, against rows that are exchanged from the start."""
    for lengths in ((2, 1), (4, 1, 1)):
        n, end = lengths[0], sum(lengths)
        wanted = Reading(ids=rows(other[:end], text[:end]), lengths=lengths)
        exchanged = ([*text[:n], *other[n:end]], [*other[:n], *text[n:end]])
        made = (Change(call=1, method=method, argument=(1, 0)),)
        seen = Reading(ids=rows(*exchanged), lengths=lengths, changes=made)
        what = (
            f"{_called(lengths)} for two rows, exchanged from the start and by cache.{method}(…) after the first call"
        )
        yield Case(key="reorder", pattern=f"after cache.{method}()", what=what, wanted=wanted, seen=seen, begins=(n, n))
