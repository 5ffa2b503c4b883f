"""Pairs of readings by a cached model that must give the same logits."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product

from rnneval.wiring.behaviour import Ids
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
_PADS = (1, 1), (3, 1), (5, 4)  # tokens of a row, and pads beside it


@dataclass(frozen=True, kw_only=True)
class Case:
    """Two readings that must agree on some tokens."""

    key: str
    pattern: str  # the calls in which they differ, if they do
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


def _alone(text: Ids, lengths: tuple[int, ...]) -> Reading:
    return Reading(ids=rows(text[: sum(lengths)]), lengths=lengths)


def _whole(text: Ids, tokens: int) -> Reading:
    return Reading(ids=rows(text[:tokens]))


def _by_token(tokens: int) -> tuple[int, ...]:
    return (2, *(1,) * (tokens - 2))


def plain_cases(text: Ids) -> Iterator[Case]:
    """Yield cached calls over one row, against one call without a cache."""

    def case(key: str, pattern: str, lengths: tuple[int, ...]) -> Case:
        n = sum(lengths)
        cached = _alone(text, _by_token(n)) if key == "shapes" else None
        seen = _alone(text, lengths)
        return Case(key=key, pattern=pattern, wanted=_whole(text, n), seen=seen, or_wanted=cached)

    for n in (2, 5, 12):
        yield case("train", ONE_CALL, (n,))
    for n in (3, 5, 12):
        yield case("train", DECODING, _by_token(n))
    for first, then in _SECOND:
        yield case("shapes", SEVERAL, (first, then))
        if first > 1:
            yield case("shapes", SHORT_PROMPT, (1,) * (first + then))


def mask_cases(text: Ids) -> Iterator[Case]:
    """Yield calls with an attention mask of ones for all tokens so far, against those without one."""
    for pattern, lengths in [*product([ONES], _ONE_BY_ONE), *product([SEVERAL_ONES], _SECOND)]:
        wanted = _alone(text, lengths)
        seen = replace(wanted, mask=rows([1] * wanted.tokens))
        yield Case(key="shapes", pattern=pattern, wanted=wanted, seen=seen)


def number_cases(text: Ids) -> Iterator[Case]:
    """Yield calls without position ids, against those with them."""
    for wanted in (_alone(text, lengths) for lengths in (*_ONE_BY_ONE, *_SECOND)):
        yield Case(key="shapes", pattern=UNNUMBERED, wanted=wanted, seen=replace(wanted, numbered=False))


def row_cases(text: Ids, other: Ids) -> Iterator[Case]:
    """Yield calls for two rows, against one row alone."""
    for lengths in _ONE_BY_ONE:
        both = Reading(ids=rows(*(each[: sum(lengths)] for each in (text, other))), lengths=lengths)
        for row, own in enumerate((text, other)):
            yield Case(key="shapes", pattern=TWO_ROWS, wanted=_alone(own, lengths), seen=both, row=row)


def chunk_cases(text: Ids, name: str, chunk: int) -> Iterator[Case]:
    """Yield calls about as long as a model's own chunk, against calls of one token."""
    case = partial(Case, key="shapes", pattern=f"across {chunk} tokens ({name})", needs=(DECODING,))
    for length, after in product((chunk - 1, chunk, chunk + 1), (0, 2)):
        yield case(wanted=_alone(text, _by_token(chunk + 4)), seen=_alone(text, (length, *(1,) * after)))


def _beside(text: Ids, shorter: Sequence[int], pads: Sequence[int], lengths: tuple[int, ...]) -> Reading:
    """Return a text with a shorter row beside it, whose pads have a mask of 0."""
    mask = [0 if at in pads else 1 for at in range(len(shorter))]
    return Reading(ids=rows(text[: len(shorter)], shorter), lengths=lengths, mask=rows([1] * len(shorter), mask))


def padding_cases(text: Ids, other: Ids, pad: int) -> Iterator[Case]:
    """Yield a row that is padded beside a longer one, also read on, against the row alone."""
    after_needs: tuple[tuple[tuple[int, ...], tuple[str, ...]], ...]
    after_needs = ((), ()), ((1, 1), (ONES, TWO_ROWS)), ((3,), (SEVERAL_ONES,))
    for (count, pads), (after, needs) in product(_PADS, after_needs):
        n, more = count + pads, sum(after)
        padding, alone = [pad] * pads, _alone(other, (count, *after))
        case = partial(Case, key="padding", pattern=PADDED, needs=needs)
        left = _beside(text, [*padding, *other[: count + more]], range(pads), (n, *after))
        yield case(wanted=alone, seen=left, begins=(0, pads), row=1)
        yield case(wanted=_alone(text, (n, *after)), seen=left)
        right = _beside(text, [*other[:count], *padding, *other[count : count + more]], range(count, n), (n, *after))
        case = partial(case, wanted=alone, seen=right, row=1)
        if after:
            yield case(key="right_padding", pattern=AFTER_PADS, begins=(count, n))
        else:
            yield case(tokens=count)


def whole_padding_cases(text: Ids, other: Ids, pad: int) -> Iterator[Case]:
    """Yield a row that is padded in one call without a cache, against the row alone."""
    for count, pads in _PADS:
        left = _beside(text, [*[pad] * pads, *other[:count]], range(pads), ())
        yield Case(key="padding", pattern=PADDED, wanted=_whole(other, count), seen=left, begins=(0, pads), row=1)


def later_padding_cases(text: Ids, other: Ids, pad: int) -> Iterator[Case]:
    """Yield rows whose pads stand in a second call, against the row alone."""
    case = partial(Case, key="padding", pattern=PADDED_CALL, needs=(SEVERAL_ONES,), row=1)
    for first, pads, count in ((2, 3, 2), (3, 5, 4)):  # models take calls of one token to hold no pad
        seen = _beside(text, [*[pad] * pads, *other[:count]], range(pads), (first, pads + count - first))
        yield case(wanted=_alone(other, (count,)), seen=seen, begins=(0, pads))
    for first, count, pads in ((1, 2, 1), (4, 3, 2)):
        n = first + count
        seen = _beside(text, [*other[:n], *[pad] * pads], range(n, n + pads), (first, count + pads))
        yield case(wanted=_alone(other, (first, count)), seen=seen, tokens=n)


def packed_cases(text: Ids, other: Ids) -> Iterator[Case]:
    """Yield two documents in one row, whose bounds the model is told, against the second one alone."""
    for n, more in ((2, 2), (7, 5)):
        positions = rows([*range(n), *range(more)])
        packed = Reading(ids=rows([*text[:n], *other[:more]]), positions=positions, packed=True)
        yield Case(key="packed", pattern="in packed rows", wanted=_whole(other, more), seen=packed, begins=(0, n))


def kept_cases(key: str, text: Ids, other: Ids, keep: str, back: str) -> Iterator[Case]:
    """Yield a text with another one read in between and taken back, against the text read without it."""
    pattern = {"restore": "after the cache was copied and put back", "rollback": "after cache.crop()"}[key]
    for n, between, more in ((1, 1, (1,)), (3, 2, (1, 1)), (5, 2, (1, 1))):
        after = n + sum(more)
        kept = (Change(call=1, method=keep),) if keep else ()
        seen = Reading(
            ids=rows([*text[:n], *other[:between], *text[n:after]]),
            lengths=(n, between, *more),
            positions=rows([*range(n), *range(n, n + between), *range(n, after)]),
            changes=(*kept, Change(call=2, method=back, argument=-between if back == "crop" else None)),
        )
        yield Case(key=key, pattern=pattern, wanted=_alone(text, (n, *more)), seen=seen, begins=(n, n + between))


def reset_cases(text: Ids, other: Ids) -> Iterator[Case]:
    """Yield a text after another one and a reset of the cache, against the text alone."""
    for before, lengths in ((1, (2, 1)), (1, (1, 1)), (4, (3, 1, 1))):
        seen = Reading(
            ids=rows([*other[:before], *text[: sum(lengths)]]),
            lengths=(before, *lengths),
            positions=rows([*range(before), *range(sum(lengths))]),
            changes=(Change(call=1, method="reset"),),
        )
        case = partial(Case, key="reset", pattern="after cache.reset()")
        yield case(wanted=_alone(text, lengths), seen=seen, begins=(0, before))


def order_cases(text: Ids, other: Ids, method: str) -> Iterator[Case]:
    """Yield two rows that the cache exchanges between calls, against rows that are exchanged from the start."""
    for lengths in ((2, 1), (4, 1, 1)):
        n, end = lengths[0], sum(lengths)
        seen = Reading(
            ids=rows([*text[:n], *other[n:end]], [*other[:n], *text[n:end]]),
            lengths=lengths,
            changes=(Change(call=1, method=method, argument=(1, 0)),),
        )
        wanted = Reading(ids=rows(other[:end], text[:end]), lengths=lengths)
        yield Case(key="reorder", pattern=f"after cache.{method}()", wanted=wanted, seen=seen, begins=(n, n))
