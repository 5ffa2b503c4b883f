"""The places of a layer in one call of a model: a layer that reads two streams has a state at each of its two places.

A place reads each token of a call once. So a layer that is called once over the whole segment has one place, one that
is called twice over it has two, and a cell that is called once a token, in a loop, has one. This depends on how much
was read, and not on where states went, so that exchanged states do not hide it. Runs of which each goes on from the
state of the last are one place: there is one state.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise

Linked = Callable[[int, int], bool]
"""(earlier run, later run) → whether the state of the later one was made by the earlier one."""


def place_name(name: str, place: int) -> str:
    """Return the name of a layer at a place, counted from 1.

    Example:
        >>> place_name("gru", 1), place_name("gru", 2)
        ('gru', 'gru#2')
    """
    return name if place == 1 else f"{name}#{place}"


def places_of(steps: Sequence[int], tokens: int, linked: Linked) -> tuple[int, ...]:
    """Return the place of each run of one layer in one call, counted from 1.

    Args:
        steps: How many tokens each run read, in the order in which they ran.
        tokens: How many tokens the call read.
        linked: Whether one run's state was made by another.

    Example:
        >>> places_of([5, 5], 5, lambda a, b: False)  # two streams
        (1, 2)
        >>> places_of([1, 1], 2, lambda a, b: True)  # a loop over the tokens
        (1, 1)
        >>> places_of([1, 1, 1, 1], 2, lambda a, b: b == a + 2)  # a loop over the tokens of two streams
        (1, 2, 1, 2)
        >>> places_of([1, 1, 1, 1], 2, lambda a, b: (a, b) in {(0, 1), (2, 3)})  # one loop after the other
        (1, 1, 2, 2)
    """
    count = len(steps)
    if all(linked(a, b) for a, b in pairwise(range(count))):
        return (1,) * count
    if min(steps) >= tokens:
        return tuple(range(1, count + 1))
    places, rest = divmod(sum(steps), tokens)
    if rest or places < 2 or count % places:
        return (1,) * count
    by_turns = tuple(run % places + 1 for run in range(count))
    in_blocks = tuple(run // (count // places) + 1 for run in range(count))

    def links(found: tuple[int, ...]) -> int:
        """Count the runs that go on from the last run at their place."""
        runs = ([run for run, own in enumerate(found) if own == place] for place in set(found))
        return sum(linked(a, b) for own in runs for a, b in pairwise(own))

    return max(by_turns, in_blocks, key=links)
