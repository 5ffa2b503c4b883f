"""Pairs of readings by a cached model that must give the same logits."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import product

from rnneval.wiring.difference import Logits
from rnneval.wiring.readings import CacheCommand, CacheMethod, Change, KeepCopy, Reading, Rows, TakeBack
from rnneval.wiring.subject import Ids

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
_PADS = (1, 1), (3, 1), (5, 4)  # tokens of a row, and pads beside it


@dataclass(frozen=True, kw_only=True)
class Case:
    """Two readings that must agree on some tokens."""

    key: str
    pattern: str  # the calls in which they differ, if they do
    wanted: Reading
    reading: Reading
    begins: tuple[int, int] = (0, 0)  # the first token that is compared, in each reading
    tokens: int | None = None  # the number of tokens that are compared; None for all that both have
    row: int = 0  # the row of the other reading that must be the only one of `wanted`, or equal that of the same number
    or_wanted: Reading | None = None  # another reading with which the other may agree instead
    needs: tuple[str, ...] = ()  # patterns without whose faults alone this one can be told

    @property
    def longest_call(self) -> int:
        """The number of tokens of the longest call."""
        return max(end - first for each in (self.wanted, self.reading) for first, end in each.calls)

    def aligned(self, wanted: Logits, other: Logits) -> tuple[Logits, Logits]:
        """Return the logits of both readings for the rows and tokens that are compared."""
        other = other[self.row : self.row + 1] if len(wanted) == 1 else other
        wanted, other = wanted[:, self.begins[0] :], other[:, self.begins[1] :]
        tokens = min(wanted.shape[1], other.shape[1], self.tokens or wanted.shape[1])
        return wanted[:, :tokens], other[:, :tokens]


def rows(*texts: Iterable[int]) -> Rows:
    """Return rows of ids, or of other numbers, as a reading holds them."""
    return tuple(tuple(map(int, text)) for text in texts)


def _alone(text: Ids, lengths: tuple[int, ...]) -> Reading:
    return Reading(ids=rows(text[: sum(lengths)]), lengths=lengths)


def _whole(text: Ids, tokens: int) -> Reading:
    return Reading(ids=rows(text[:tokens]))


def _by_token(tokens: int) -> tuple[int, ...]:
    return (2, *(1,) * (tokens - 2))


def plain_cases(text: Ids) -> Iterator[Case]:
    """Yield cached calls over one row, against one call without a cache."""
    in_training = [(ONE_CALL, (n,)) for n in (2, 5, 12)] + [(DECODING, _by_token(n)) for n in (3, 5, 12)]
    for pattern, lengths in in_training:
        yield Case(key="train", pattern=pattern, wanted=_whole(text, sum(lengths)), reading=_alone(text, lengths))
    for first, then in _SECOND:
        n = first + then
        case = partial(Case, key="shapes", wanted=_whole(text, n), or_wanted=_alone(text, _by_token(n)))
        yield case(pattern=SEVERAL, reading=_alone(text, (first, then)))
        if first > 1:
            yield case(pattern=SHORT_PROMPT, reading=_alone(text, (1,) * n))


def mask_cases(text: Ids) -> Iterator[Case]:
    """Yield calls with an attention mask of ones for all tokens so far, against those without one."""
    for pattern, lengths in [*product([ONES], _ONE_BY_ONE), *product([SEVERAL_ONES], _SECOND)]:
        wanted = _alone(text, lengths)
        yield Case(
            key="shapes", pattern=pattern, wanted=wanted, reading=replace(wanted, mask=rows([1] * wanted.tokens))
        )


def number_cases(text: Ids) -> Iterator[Case]:
    """Yield calls without position ids, against those with them."""
    for wanted in (_alone(text, lengths) for lengths in (*_ONE_BY_ONE, *_SECOND)):
        yield Case(key="shapes", pattern=UNNUMBERED, wanted=wanted, reading=replace(wanted, numbered=False))


def row_cases(text: Ids, other: Ids) -> Iterator[Case]:
    """Yield calls for two rows, against one row alone."""
    for lengths, (row, own) in product(_ONE_BY_ONE, enumerate((text, other))):
        both = Reading(ids=rows(text[: sum(lengths)], other[: sum(lengths)]), lengths=lengths)
        yield Case(key="shapes", pattern=TWO_ROWS, wanted=_alone(own, lengths), reading=both, row=row)


def chunk_cases(text: Ids, name: str, chunk: int) -> Iterator[Case]:
    """Yield calls about as long as a model's own chunk, against calls of one token."""
    case = partial(Case, key="shapes", pattern=f"across {chunk} tokens ({name})", needs=(DECODING,))
    for length, after in product((chunk - 1, chunk, chunk + 1), (0, 2)):
        yield case(wanted=_alone(text, _by_token(chunk + 4)), reading=_alone(text, (length, *(1,) * after)))


def padding_cases(text: Ids, other: Ids, pad: int) -> Iterator[Case]:
    """Yield a row that is padded beside a longer one, in one call, read on, or in its second call, against it alone."""

    def beside(at: range, *lengths: int, tokens: int = 0) -> Reading:
        """Return the row with pads at these places, for which the mask is 0, beside the longer one."""
        n = tokens or sum(lengths)
        row = [*other[: at.start], *[pad] * len(at), *other[at.start : n - len(at)]]
        mask = rows([1] * n, [int(place not in at) for place in range(n)])
        return Reading(ids=rows(text[:n], row), lengths=lengths, mask=mask)

    case = partial(Case, key="padding", pattern=PADDED, row=1)
    for count, pads in _PADS:
        left = beside(range(pads), tokens=count + pads)
        yield case(wanted=_whole(other, count), reading=left, begins=(0, pads))
    after_needs: tuple[tuple[tuple[int, ...], tuple[str, ...]], ...]
    after_needs = ((), ()), ((1, 1), (ONES, TWO_ROWS)), ((3,), (SEVERAL_ONES,))
    for (count, pads), (after, needs) in product(_PADS, after_needs):
        n, alone = count + pads, _alone(other, (count, *after))
        left, right = (beside(at, n, *after) for at in (range(pads), range(count, n)))
        yield case(wanted=alone, reading=left, begins=(0, pads), needs=needs)
        yield case(wanted=_alone(text, (n, *after)), reading=left, row=0, needs=needs)
        if after:
            on = partial(case, key="right_padding", pattern=AFTER_PADS, begins=(count, n), needs=needs)
            yield on(wanted=alone, reading=right)
        else:
            yield case(wanted=alone, reading=right, tokens=count)
    later = partial(case, pattern=PADDED_CALL, needs=(SEVERAL_ONES,))
    for first, pads, count in ((2, 3, 2), (3, 5, 4)):  # models take calls of one token to hold no pad
        reading = beside(range(pads), first, pads + count - first)
        yield later(wanted=_alone(other, (count,)), reading=reading, begins=(0, pads))
    for first, count, pads in ((1, 2, 1), (4, 3, 2)):
        n = first + count
        yield later(
            wanted=_alone(other, (first, count)), reading=beside(range(n, n + pads), first, count + pads), tokens=n
        )


def packed_cases(text: Ids, other: Ids) -> Iterator[Case]:
    """Yield two documents in one row, whose bounds the model is told, against the second one alone."""
    for n, more in ((2, 2), (7, 5)):
        positions = rows([*range(n), *range(more)])
        packed = Reading(ids=rows([*text[:n], *other[:more]]), positions=positions, packed=True)
        yield Case(key="packed", pattern="in packed rows", wanted=_whole(other, more), reading=packed, begins=(0, n))


def kept_cases(text: Ids, other: Ids, *, rollback: bool, keep: CacheCommand | None) -> Iterator[Case]:
    """Yield a text with another one read in between and taken back, against the text read without it.

    The other text is taken back by `crop` (`rollback`), or by the copy of the cache before it; `keep` prepares this.
    """
    key, pattern = (
        ("rollback", "after cache.crop()") if rollback else ("restore", "after the cache was copied and put back")
    )
    for n, between, more in ((1, 1, (1,)), (3, 2, (1, 1)), (5, 2, (1, 1))):
        after = n + sum(more)
        kept = (Change(call=1, command=keep),) if keep else ()
        back = TakeBack(between) if rollback else KeepCopy.RESTORE
        reading = Reading(
            ids=rows([*text[:n], *other[:between], *text[n:after]]),
            lengths=(n, between, *more),
            positions=rows([*range(n), *range(n, n + between), *range(n, after)]),
            changes=(*kept, Change(call=2, command=back)),
        )
        yield Case(key=key, pattern=pattern, wanted=_alone(text, (n, *more)), reading=reading, begins=(n, n + between))


def reset_cases(text: Ids, other: Ids) -> Iterator[Case]:
    """Yield a text after another one and a reset of the cache, against the text alone."""
    for before, lengths in ((1, (2, 1)), (1, (1, 1)), (4, (3, 1, 1))):
        reading = Reading(
            ids=rows([*other[:before], *text[: sum(lengths)]]),
            lengths=(before, *lengths),
            positions=rows([*range(before), *range(sum(lengths))]),
            changes=(Change(call=1, command=CacheMethod("reset")),),
        )
        case = partial(Case, key="reset", pattern="after cache.reset()")
        yield case(wanted=_alone(text, lengths), reading=reading, begins=(0, before))


def order_cases(text: Ids, other: Ids, method: str) -> Iterator[Case]:
    """Yield two rows that the cache exchanges between calls, against rows that are exchanged from the start."""
    for lengths in ((2, 1), (4, 1, 1)):
        n, end = lengths[0], sum(lengths)
        reading = Reading(
            ids=rows([*text[:n], *other[n:end]], [*other[:n], *text[n:end]]),
            lengths=lengths,
            changes=(Change(call=1, command=CacheMethod(method, (1, 0))),),
        )
        wanted = Reading(ids=rows(other[:end], text[:end]), lengths=lengths)
        yield Case(key="reorder", pattern=f"after cache.{method}()", wanted=wanted, reading=reading, begins=(n, n))
