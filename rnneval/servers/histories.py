"""Histories: requests that reach a server one after the other or at the same time, and what each should answer."""

import random
from collections.abc import Iterator
from typing import Any

from msgspec.structs import replace

from rnneval.records.server import SentRequest
from rnneval.servers.engine import Engine, Prompt

History = tuple[tuple[SentRequest, ...], ...]
"""Requests in order; those of one tuple are sent at the same time."""
_UBATCH = 512  # tokens that llama.cpp reads at once by default: it keeps a state 4 tokens before each edge
_WALK = 60


def request(ids: Prompt, slot: int = 0, *, cache: bool = True, tokens: int = 1, **more: Any) -> SentRequest:
    """Return a request that may use the cache, for the prediction after a prompt."""
    return SentRequest(slot=slot, ids=ids, cache=cache, tokens=tokens, **{"hang_up": False, **more})


def relabelled(history: History, engine: Engine, draw: random.Random) -> History:
    """Return a history of the same form in which every token is another one."""
    order = draw.sample(engine.alphabet, len(engine.alphabet))
    other = dict(zip(order, order[1:] + order[:1], strict=True))
    return tuple(
        tuple(replace(each, ids=tuple(other.get(n, n) for n in each.ids)) for each in moment) for moment in history
    )


def scenarios(engine: Engine, slots: int, draw: random.Random) -> Iterator[tuple[str, list[History]]]:
    """Yield names and histories; `slots` may use their caches."""

    def text(length: int) -> Prompt:
        return engine.prompt(draw, length)

    def turns(*prompts: Prompt, tokens: int = 1) -> History:
        return tuple((request(each, tokens=tokens),) for each in prompts)

    a, b, c, d, e = (text(length) for length in (40, 6, 6, 40, 1))
    yield "same prompt again", [turns(a, a)]
    yield "longer prompt", [turns(a, a + b, a + b + c)]
    stems = [(text(length), text(4), text(4)) for length in (2, 5, 20, 40)]
    yield "branch", [turns(p + x, p + y, p + x, p + y + x, p + x + y) for p, x, y in stems]
    pairs = [(text(n), text(m)) for n in (5, 9, 24) for m in (5, 9, 24)]
    yield "another first token", [turns(x, y, y[:2] + text(len(y) - 2)) for x, y in pairs]
    last = slots - 1
    apart = tuple(
        (request(each, slot),) for each, slot in ((a, 0), (d, last), (a + b, 0), (d + c, last), (a + b + c, 0))
    )
    yield "others between", [turns(a, d, a + b, d + c, text(7), a + b + c), apart]
    if last:
        ragged = [[text(length) for _ in range(slots)] for length in (40, 9, 23)]
        moments = []
        for texts in ragged:
            begun = tuple(request(t[: len(t) - 2 * n], n, tokens=1 if n else 8) for n, t in enumerate(texts))
            moments += [begun, tuple(request(t + text(3 * n + 1), n) for n, t in enumerate(texts))]
        yield "others at the same time", [tuple(moments)]
        equal = tuple(request(a + d, n) for n in range(slots))
        yield "one prompt in all slots", [((request(a),), equal, tuple(request(a + d + e, n) for n in range(slots)))]
        yield (
            "several answers to one prompt",
            [(*turns(a, d), (request(d + b, answers=slots),), *((request(d + b + e, n),) for n in range(slots)))],
        )
    generated = (engine.forced if engine.forced is not None else engine.alphabet[0],) * 3
    one = a + generated
    two = one + b + generated
    yield "turns of a conversation", [turns(a, one + b, two, two[:-3], two + c, tokens=3)]
    yield (
        "after a hang-up",
        [
            ((request(a + b, tokens=256, hang_up=True),), *turns(a + b + c, a + c)),
            ((request(d), request(a, last)), (request(d + b, tokens=256, hang_up=True),), *turns(d + b, d + c)),
        ],
    )
    save, restore, elsewhere = (
        (request((), slot, action=action),) for slot, action in ((0, "save"), (0, "restore"), (last, "restore"))
    )
    kept = (save, *turns(a + b), save, *turns(d, d + b), restore, *turns(a + b + e, a + e))
    yield "slots saved and restored", [(*kept, elsewhere, (request(a + b + e, last),), (request(a + e, last),))]
    yield "shorter prompt", [turns(a + b, a, a[:-1], a[:-6], a[:12])]
    walk, tree = [], [text(1), text(2), text(6), text(20)]
    for _ in range(_WALK):
        stem = draw.choice(tree)
        tree.append(stem[: draw.randint(1, len(stem))] + text(draw.randint(1, 9)))
        walk.append((request(tree[-1], draw.randrange(slots)),))
    yield "random walk", [tuple(walk)]
    if engine.room > 2 * _UBATCH:
        long = [text(_UBATCH + more) for more in (-4, 0, 4)]
        yield "edges of batches", [turns(p, p + b, p[: len(p) - 4] + c, p) for p in long]
