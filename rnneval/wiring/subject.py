"""The model that the tests of behaviour read, and what they read: ids, cut into calls, and ids that differ from them.

An adapter makes a `Subject` of a Keras model or a step function; `behaviour.py` tests it. The plan of short texts:

```text
text        9 ids a row, ordinary ones            SHORT.calls (3, 3, 3)     starts 0, 3, 6
others      another ordinary id at each place     `causal` alters the token at 2, 5, 7 or 8, `batch` all rows but one
with_special  row 0 with 0, 1, V − 1, newline     at 1, 3, 4 and 6: the second begins a call
```
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int32]  # (rows, time)
Pieces = Sequence[Ids]
Outputs = Sequence[NDArray[Any]]
"""The outputs of each call, `(rows, time, V)`, or `(rows, V)` of a model that predicts after the last token alone."""
Reader = Callable[..., Outputs]
"""Calls of ids, read one after the other from the model's own start, the state carried → the outputs of each call."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Numbers of tokens of the calls that the tests make."""

    calls: tuple[int, ...]  # the reading that most tests compare with
    cuts: tuple[tuple[int, ...], ...]  # ways to cut the text; one that is shorter reads the beginning
    altered: tuple[int, ...]  # positions of the tokens that `causal` alters, each in a reading of its own
    document: tuple[int, ...]  # another document, which `fresh` reads before
    noise: tuple[int, ...]  # the reading whose noise is measured

    @property
    def tokens(self) -> int:
        """The number of tokens of the text."""
        return max(map(sum, self.cuts))

    @property
    def starts(self) -> tuple[int, ...]:
        """The position at which each of `calls` begins."""
        return (0, *accumulate(self.calls))[:-1]

    def calls_before(self, position: int | None) -> tuple[int, ...]:
        """Return the calls up to that of a position: later ones cannot matter before it."""
        begun = zip(self.calls, self.starts, strict=True)
        return tuple(length for length, at in begun if position is None or at <= position)


SHORT = Plan(calls=(3, 3, 3), cuts=((9,), (3, 3, 3), (1, 8)), altered=(2, 5, 7, 8), document=(2, 7), noise=(3, 3, 3))
"""For models that run eagerly, op by op: a fault that begins late shows in calls of one token."""
_LENGTHS = (1, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65)
_AFTER = 8  # tokens of the call after a first one
LONG = Plan(
    calls=(16, 64),
    cuts=((sum(_LENGTHS),), _LENGTHS, *((first, _AFTER) for first in (1, 2, 3, 4, 5, *_LENGTHS[2:]))),
    altered=(17, 18, 31, 49, 79),
    document=(5, 75),
    noise=(1,) * sum(_LENGTHS),
)
"""For step functions: calls of 1, 3, and powers of two and their neighbours, where chunked forms err."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A model to be tested."""

    read: Reader
    rows: int
    ordinary: tuple[int, ...]  # ids that are drawn
    special: tuple[int, ...] = ()  # ids of the special round
    plan: Plan
    seed: int
    alone: int = 0  # the number of rows, from the first, that can be read without the others as well
    half: str = ""  # the type of half precision in which it computes, if there is one
    read_moved: Reader | None = None  # with `draw`: as `read`, every number of `moved` ± one unit in the last place
    moved: str = "weights"
    read_after: Reader | None = None
    """(calls of one document, calls of the next, training of the first) → the outputs of the next."""
    read_training: Reader | None = None
    """As `read`, with training=True; with seeds=True, random generators are put back, so that equal calls are alike."""
    why_not_training: str = ""  # the error that the model raises with training=True
    exchanged: Callable[[Ids, Ids, Ids], tuple[Outputs, Iterator[tuple[str, Outputs]]]] | None = None
    """(text, other text, later text) → the outputs of the later text after the text.

    Also, by path, those with each array of the state after the other text in its place; none where both leave the same.
    """

    @cached_property
    def text(self) -> Ids:
        """The ids of the tests, `(rows, tokens)`: random, always the same for a seed."""
        generator = np.random.default_rng([self.seed, 0])
        return generator.choice(np.array(self.ordinary, np.int32), (self.rows, self.plan.tokens))

    @property
    def ids(self) -> Ids:
        """The part of the text that most tests read."""
        return self.text[:, : sum(self.plan.calls)]

    @property
    def pieces(self) -> list[Ids]:
        """This part, cut into calls."""
        return cut(self.ids, self.plan.calls)

    @property
    def others(self) -> Ids:
        """Another ordinary id at each position."""
        known = np.array(self.ordinary, np.int32)
        # Two ids further on, around the end; one further where there are few: of two, the second next is the same one.
        return known[(np.searchsorted(known, self.ids) + 1 + (len(known) > 3)) % len(known)]

    @property
    def document(self) -> list[Ids]:
        """Other ids, cut elsewhere."""
        return cut(self.others, self.plan.document)

    @property
    def with_special(self) -> Ids:
        """The ids that most tests read, with the special ids in row 0: the second begins a call."""
        begins, altered = self.plan.starts[1], self.ids.copy()
        altered[0, [1, begins, begins + 1, begins + 3][: len(self.special)]] = self.special
        return altered


def special_ids(width: int, newline: int | None = None) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the special ids of a model of `width` ids, and the ordinary ones: at least two, or none is special.

    Example:
        >>> special_ids(8, newline=3)
        ((0, 1, 7, 3), (2, 4, 5, 6))
        >>> special_ids(3), special_ids(2)
        (((), (1, 2)), ((), (0, 1)))
    """
    special = tuple(dict.fromkeys(id_ for id_ in (0, 1, width - 1, newline) if id_ is not None and id_ < width))
    ordinary = tuple(id_ for id_ in range(width) if id_ not in special)
    return (special, ordinary) if len(ordinary) > 1 else ((), tuple(range(width > 2, width)))


def ordinary_ids(width: int, shape: tuple[int, int], seed: Sequence[int]) -> Ids:
    """Draw ordinary ids `(rows, time)` of a model of `width` ids."""
    return np.random.default_rng(seed).choice(np.array(special_ids(width)[1], np.int32), shape)


def other_ids(ids: Ids, width: int) -> Ids:
    """Return another ordinary id at each position."""
    ordinary = np.array(special_ids(width)[1], np.int32)
    return ordinary[(np.searchsorted(ordinary, ids) + 1) % len(ordinary)]


def cut(ids: Ids, lengths: Sequence[int]) -> list[Ids]:
    """Cut ids into calls; tokens beyond them are left out."""
    return [ids[:, end - length : end] for length, end in zip(lengths, accumulate(lengths), strict=True)]


class Alteration(NamedTuple):
    """Ids that differ from those of the subject where it must not matter for what is watched."""

    what: str
    ids: Ids
    rows: slice  # the rows that are watched
    before: int | None = None  # only positions before this one are watched


def later_changes(subject: Subject) -> Iterator[Alteration]:
    """Yield texts with one later token altered, also to each special id."""
    plan, ids = subject.plan, subject.ids
    changes = [(at, subject.others[:, at], "altered") for at in plan.altered]
    last = plan.starts[1] + plan.calls[1] - 1
    changes += [(last, np.full(len(ids), id_, np.int32), f"replaced by id {id_}") for id_ in subject.special]
    for at, column, how in changes:
        altered = ids.copy()
        altered[:, at] = column
        yield Alteration(f"the token at position {at} {how}, the logits before it", altered, slice(None), at)


def row_changes(subject: Subject) -> Iterator[Alteration]:
    """Yield texts with rows altered that are not watched, also to a row with special ids."""
    ids, changed, first, others = subject.ids, subject.others, slice(0, 1), slice(1, None)
    yield Alteration("the other rows altered, row 0", np.concatenate([ids[first], changed[others]]), first)
    if subject.special:
        yield Alteration(f"{listed(subject)} in row 0, the other rows", subject.with_special, others)
    else:
        yield Alteration("row 0 altered, the other rows", np.concatenate([changed[first], ids[others]]), others)


def listed(subject: Subject) -> str:
    """Name the special ids."""
    return f"ids {', '.join(map(str, subject.special))}"
