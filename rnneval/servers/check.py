"""Histories of requests to one slot, each answer compared with the same request cold on another slot."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from rnneval.errors import UsageError
from rnneval.servers.engine import Ids, LimitReachedError, LlamaCpp, ServerAnswer, ServerStoppedError

_WARM, _COLD, _OTHER_COLD = 0, 1, 2
_SHARE = 20  # a limit is this part of the smallest difference that a fault would make
_MOST_EXPLANATIONS = 64
_FORGETS = 100  # tokens of a prompt whose checkpoints lie behind the end of all others

Verdict = Literal["pass", "fail", "not tested", "inconclusive"]


@dataclass(frozen=True, kw_only=True)
class HistoryResult:
    """The result of one scenario."""

    scenario: str
    verdict: Verdict
    requests: int
    cached: int  # tokens that the server took from its cache
    largest_difference: float  # in nats
    history: tuple[Ids, ...] = ()  # the fewest requests that show the fault
    explanation: str = ""


@dataclass(frozen=True, kw_only=True)
class ServerCheck:
    """What the answers of a server say of its caches."""

    verdict: Verdict
    limit: float  # in nats
    scenarios: tuple[HistoryResult, ...]


def check_server(
    url: str, *, seconds: float = 60, requests: int = 2000, seed: int = 0, remote: bool = False
) -> ServerCheck:
    """Compare answers of a llama.cpp server that use its cache with the same requests cold.

    The requests fill the caches of the server.

    Args:
        url: Address of the server, such as `http://127.0.0.1:8080`.
        seconds: Most time that it takes.
        requests: Most requests that are sent.
        seed: Seed of the prompts.
        remote: Allow an address of another machine.

    Raises:
        UsageError: the server cannot be asked, or has one slot alone.
    """
    engine = LlamaCpp(url, seconds=seconds, requests=requests, remote=remote)
    if engine.slots <= _COLD:
        raise UsageError(
            f"{url}: it has {engine.slots} slot, a cold request needs another one: start it with 2 or more"
        )
    draw = random.Random(seed)  # noqa: S311 - no secret
    check = _Histories(engine)
    results: list[HistoryResult] = []
    try:
        check.measure(draw)
        for name, histories in _scenarios(draw, engine.vocabulary_size):
            results.append(check.result(name, histories))
    except LimitReachedError:
        results.append(
            HistoryResult(scenario="limit reached", verdict="not tested", requests=0, cached=0, largest_difference=0.0)
        )
    except ServerStoppedError:
        results.append(check.stopped())
    verdicts = {each.verdict for each in results}
    order: tuple[Verdict, ...] = ("fail", "inconclusive", "not tested", "pass")
    return ServerCheck(
        verdict=next(each for each in order if each in verdicts), limit=check.limit, scenarios=tuple(results)
    )


class _Histories:
    """Histories run on a server, and the limit between rounding and faults."""

    def __init__(self, engine: LlamaCpp) -> None:
        self._engine = engine
        self._answers: dict[Ids, ServerAnswer] = {}
        self._sent: tuple[Ids, ...] = ()
        self.limit, self._judged = 0.0, False

    def measure(self, draw: random.Random) -> None:
        """Set the limit from cold requests: a part of the smallest difference that a fault would make."""
        noise, faults = 0.0, []
        for length in (5, 24):
            ids = _drawn(draw, self._engine.vocabulary_size, length)
            answer = self._cold(ids)
            slot = _OTHER_COLD if self._engine.slots > _OTHER_COLD else _COLD
            noise = max(noise, answer.difference(self._engine.ask(ids, slot, cache=False)))
            others = (ids[:-1], ids[-1:], (*ids, ids[-1]), (*ids[: length // 2], *ids[length // 2 + 1 :]))
            faults += [answer.difference(self._cold(other)) for other in others]
        self.limit = min(faults) / _SHARE
        self._judged = 10 * noise <= self.limit and self.limit > 0

    def result(self, name: str, histories: Sequence[Sequence[Ids]]) -> HistoryResult:
        """Return the worst of a scenario; a history that differs is shrunk and explained."""
        cached, worst, count = 0, 0.0, 0
        for history in histories:
            self._forget()
            for end, (answer, difference) in enumerate(self._run(history), 1):
                count += 1
                cached += answer.cached
                worst = max(worst, difference)
                if self._judged and difference > self.limit:
                    fewest = self._shrunk(tuple(history[:end]))
                    return HistoryResult(
                        scenario=name,
                        verdict="fail",
                        requests=count,
                        cached=cached,
                        largest_difference=worst,
                        history=fewest,
                        explanation=self._explained(fewest),
                    )
        verdict: Verdict = "not tested" if not cached else "pass" if self._judged else "inconclusive"
        return HistoryResult(scenario=name, verdict=verdict, requests=count, cached=cached, largest_difference=worst)

    def stopped(self) -> HistoryResult:
        """Return the finding that the server died, with the requests that were sent last."""
        return HistoryResult(
            scenario="the server goes on", verdict="fail", requests=len(self._sent), cached=0,
            largest_difference=0.0, history=self._sent, explanation="the server stopped at the last request",
        )  # fmt: skip

    def _cold(self, ids: Ids) -> ServerAnswer:
        if ids not in self._answers:
            self._sent = (ids,)
            answer = self._engine.ask(ids, _COLD, cache=False)
            if answer.cached:
                raise UsageError(f"a request without cache took {answer.cached} tokens from one: there is no reference")
            self._answers[ids] = answer
        return self._answers[ids]

    def _run(self, history: Sequence[Ids]) -> Iterator[tuple[ServerAnswer, float]]:
        for end, ids in enumerate(history, 1):
            reference = self._cold(ids)
            self._sent = tuple(history[:end])
            answer = self._engine.ask(ids, _WARM, cache=True)
            yield answer, answer.difference(reference)

    def _forget(self) -> None:
        """Let a prompt that is longer than any other take the place of the last history."""
        self._engine.ask((0,) * _FORGETS, _WARM, cache=False)

    def _last(self, history: Sequence[Ids]) -> tuple[ServerAnswer, float]:
        """Return the last answer of a history, and its difference."""
        self._forget()
        return list(self._run(history))[-1]

    def _shrunk(self, history: tuple[Ids, ...]) -> tuple[Ids, ...]:
        """Leave out each request without which the last answer still differs."""
        at = len(history) - 2
        while at >= 0:
            shorter = (*history[:at], *history[at + 1 :])
            if self._last(shorter)[1] > self.limit:
                history = shorter
            at -= 1
        return history

    def _explained(self, history: tuple[Ids, ...]) -> str:
        """Name the other prompt that has the last answer cold: one that begins as an earlier request does."""
        answer, difference = self._last(history)
        if difference <= self.limit:
            return "the history that is shown does not repeat it"
        last = history[-1]
        mixed = [(n, at) for at in range(len(last)) for n, each in enumerate(history[:-1], 1) if at < len(each)]
        for n, at in mixed[:_MOST_EXPLANATIONS]:
            earlier = history[n - 1]
            for what, other in (
                (f"the token in place {at + 1}", (*last[:at], earlier[at], *last[at + 1 :])),
                (f"the first {at + 1} tokens", (*earlier[: at + 1], *last[at + 1 :])),
            ):
                if other != last and answer.difference(self._cold(other)) <= self.limit:
                    return f"equals the answer to the last request with {what} of request {n}"
        return ""


def _drawn(draw: random.Random, size: int, length: int) -> Ids:
    low, high = (33, 127) if size >= 127 else (0, size)  # single characters, in vocabularies that begin with ASCII
    return tuple(draw.randrange(low, high) for _ in range(length))


def _scenarios(draw: random.Random, size: int) -> Iterator[tuple[str, list[list[Ids]]]]:
    """Yield names and histories; the requests of a history go to one slot, one after the other."""

    def text(length: int) -> Ids:
        return _drawn(draw, size, length)

    a, b, c = text(24), text(5), text(5)
    yield "same prompt again", [[a, a]]
    yield "longer prompt", [[a, a + b, a + b + c]]
    yield "shorter prompt", [[a, a[:-1], a[:-6], a[:12]]]
    yield "branch", [[a + b, a + c, a + b], [a + text(1), a + b + c, a + c]]
    first = []
    for length in (5, 9):
        x, y = text(length), text(length)
        first.append([x, y, y[:2] + text(length - 2)])
    yield "another first token", first
    walk, tree = [], [text(1), text(2), text(6)]
    for _ in range(40):
        stem = draw.choice(tree)
        tree.append(stem[: draw.randint(1, len(stem))] + text(draw.randint(1, 6)))
        walk.append(tree[-1])
    yield "random walk", [walk]
