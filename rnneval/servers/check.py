"""Answers of a server that may use its caches, each compared with the same request cold.

A slot is never empty for certain: what it holds of earlier requests may be the cause of a wrong answer. So a log has
every request to it, and the history that is shown is a part of it that makes the answer wrong twice, each time with new
tokens, and after other requests have taken the place of what the slots held.
"""

import random
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from msgspec.structs import replace
from scipy.special import log_softmax

from rnneval._version import __version__
from rnneval.errors import UsageError
from rnneval.parity.divergence import compare_logits
from rnneval.parity.statistics import divergence
from rnneval.records.parity import KlSummary
from rnneval.records.run import Score
from rnneval.records.server import SentRequest, Server, ServerScenario
from rnneval.servers.engine import (
    Engine,
    LimitReachedError,
    Prompt,
    RequestLimits,
    ServerAnswer,
    ServerRefusedError,
    ServerStoppedError,
    connect,
)
from rnneval.servers.histories import History, relabelled, request, scenarios
from rnneval.servers.script import script_of
from rnneval.text import Paths, final_text

if TYPE_CHECKING:
    from rnneval.models.protocol import LanguageModel

_SHARE = 20  # a limit is this part of the smallest difference that a fault would make
_MOST_EXPLANATIONS = 100
_LONGEST = 64  # requests, one after the other, among which a cause is looked for
_MOST_SECONDS = 86_400
_MOST_TEXT = 1 << 16  # characters from which prompts are taken
_SAMPLE = 32  # tokens after which the reference predicts


class Judged(NamedTuple):
    """An answer, the prompt that has it cold, and the difference between both."""

    at: int  # which of the requests at the same time
    place: int  # which of the tokens that it generated
    ids: Prompt
    answer: ServerAnswer
    difference: float


def check_server(
    url: str,
    *,
    reference: "LanguageModel | None" = None,
    model: str | None = None,
    cold: str | None = None,
    text: Paths | None = None,
    vocabulary_size: int | None = None,
    slots: int = 4,
    seconds: float = 60,
    requests: int = 4000,
    remote: bool = False,
    seed: int = 0,
    command: Sequence[str] = (),
) -> Server:
    """Compare answers of a server that use its caches with the same requests cold.

    The requests fill the caches of the server. A key for it is taken from the variable `RNNEVAL_SERVER_KEY`.

    Args:
        url: Address of the server, such as `http://127.0.0.1:8080`.
        reference: Model that the server should be, as `rnneval.open` gives it: its numbers are compared, too.
        model: Name of the model, for a server that has several.
        cold: Address of a second server of the same model, for the cold requests.
        text: Files from whose text the prompts are taken; by default they are words or letters.
        vocabulary_size: Ids below it are the prompts, also for a server that does not tell how many there are.
        slots: Most slots that are used.
        seconds: Most time that it takes.
        requests: Most requests that are sent.
        remote: Allow addresses of other machines.
        seed: Seed of the prompts.
        command: Command line for the record.

    Raises:
        UsageError: a server cannot be asked, or gives no cold answer.
    """
    if not 0 < seconds <= _MOST_SECONDS:
        raise UsageError(f"--seconds {seconds:g} is not allowed: give more than 0 and at most {_MOST_SECONDS}")
    if text is not None and vocabulary_size is not None:
        raise UsageError("--text and --vocab-size: prompts are one or the other: leave one out")
    read = "" if text is None else "".join(final_text(text).documents)[:_MOST_TEXT]
    limits = RequestLimits(seconds, requests)
    ask = partial(connect, limits=limits, slots=slots, remote=remote, model=model, text=read, size=vocabulary_size)
    engine = ask(url)
    other = None if cold is None else ask(cold)
    draw = random.Random(seed)  # noqa: S311 - no secret
    check = _Check(engine, other, draw)
    results: list[ServerScenario] = []
    limit_note = ""
    try:
        check.measure()
        if reference is not None:
            results.append(check.numbers(reference))
        for name, histories in scenarios(engine, check.slots, draw):
            results.append(check.scenario(name, histories))
    except LimitReachedError:
        limit_note = f"; the limit of {requests:,} requests or {seconds:g} seconds was reached"
    except ServerStoppedError as error:
        results.append(check.stopped(str(error)))
    verdict, reason = _verdict(results, check.judges)
    return Server(
        rnneval=__version__, created=datetime.now(UTC).isoformat(timespec="seconds"), command=tuple(command),
        verdict=verdict, reason=reason + limit_note, url=engine.url, cold=None if other is None else other.url,
        engine=engine.name, slots=engine.slots, listed=engine.listed, noise=check.noise,
        smallest_fault=check.faults and check.faults[0], largest_fault=check.faults and check.faults[1],
        limit=None if check.noise is None else check.limit, kl=check.kl,
        requests=limits.requests, seconds=round(limits.seconds, 2), seed=seed, scenarios=tuple(results),
        script=check.script,
    )  # fmt: skip


def _verdict(
    results: Sequence[ServerScenario], judges: bool
) -> tuple[Literal["pass", "fail", "inconclusive", "not tested"], str]:
    """Return the verdict of all scenarios, and its reason."""
    named = {word: [each.name for each in results if each.verdict == word] for word in ("fail", "not tested")}
    passed = sum(each.verdict == "pass" and bool(each.cached) for each in results)
    if named["fail"]:
        return "fail", f"answers are not those that they should be: {', '.join(named['fail'])}"
    if not judges:
        return "inconclusive", "equal cold requests differ as much as a fault would, or nothing was compared"
    if not passed:
        return "not tested", "no answer used a cache, as far as the server says"
    untested = f"; not tested: {', '.join(named['not tested'])}" if named["not tested"] else ""
    return "pass", f"answers from caches are those of cold requests in {passed} scenarios{untested}"


class _Check:
    """A server, the log of what its warm slots were asked, and the limit between rounding and faults."""

    def __init__(self, engine: Engine, other: Engine | None, draw: random.Random) -> None:
        self._engine, self._cold_engine, self._draw = engine, other or engine, draw
        self.slots = engine.slots if other is not None or engine.shared else engine.slots - 1
        self._cold_slot = 0 if other is not None or engine.shared else self.slots
        if self.slots < 1:
            shortage = f"{engine.url}: it has {engine.slots} slot, and a cold request needs another one"
            raise UsageError(f"{shortage}: start it with 2 or more, or give --cold URL")
        if type(self._cold_engine) is not type(engine):
            raise UsageError(f"{self._cold_engine.url} is {self._cold_engine.name}, not {engine.name}: give equal ones")
        self._cold_engine.texts = engine.texts
        self._answers: dict[Prompt, ServerAnswer] = {}
        self._log: list[tuple[SentRequest, ...]] = []
        self._last: tuple[SentRequest, ...] = ()
        self.noise: float | None = None
        self.faults: tuple[float, float] | None = None
        self.limit = 0.0
        self.kl: KlSummary | None = None
        self.script: str | None = None

    @property
    def judges(self) -> bool:
        """True if what is beyond the limit can be told from rounding."""
        return self.noise is not None and 10 * self.noise <= self.limit and self.limit > 0

    def measure(self) -> None:
        """Set the limit from cold requests: a part of the smallest difference that a fault would make."""
        faults, noise = [], 0.0
        for length in (5, 24):
            ids = self._engine.prompt(self._draw, length)
            answer = self._cold(ids)
            others = (ids[:-1], ids[-1:], (*ids, ids[-1]), (*ids[:-3], *ids[-2:]))
            faults += [answer.difference(self._cold(other)) for other in others]
            alike = tuple(request(ids, slot, cache=False) for slot in range(self.slots))  # rows that may be exchanged
            noise = max(noise, *(each.difference(answer) for (each, *_) in self._send(alike)))
        self.noise, self.faults, self.limit = noise, (min(faults), max(faults)), min(faults) / _SHARE

    def numbers(self, lm: "LanguageModel") -> ServerScenario:
        """Compare cold answers with the log-probabilities of a model."""
        if self._engine.shared or lm.width <= max(self._engine.alphabet):
            raise UsageError(f"the reference has {lm.width:,} logits and reads ids: the server does not have the same")
        ids = np.array(self._engine.prompt(self._draw, _SAMPLE + 1))
        logits = np.asarray(lm.step(ids[None, :-1].astype(np.int32), lm.initial_state(1))[0], np.float64)[0]
        answers = [self._cold(tuple(ids[:length].tolist())).log_probabilities for length in range(1, _SAMPLE + 1)]
        pairs = [(each, row[int(n)]) for row, answer in zip(log_softmax(logits, axis=1), answers, strict=True)
                 for n, each in answer.items() if int(n) < lm.width]  # fmt: skip
        worst = max(abs(one - other) for one, other in pairs)
        if len(pairs) == logits.size:
            listed = np.array([[answer[str(n)] for n in range(lm.width)] for answer in answers])
            kl = compare_logits(logits, listed, ids[1:]).kl
            mean = Score(value=float(kl.mean()), unit="nats a token")
            self.kl = divergence(kl, mean, at=int(kl.argmax()) + 1, byte=0)
        verdict: Any = "inconclusive" if not self.judges else "pass" if worst <= self.limit else "fail"
        explanation = "cold answers are not those of the reference" if verdict == "fail" else None
        return ServerScenario(
            name="numbers of the reference", verdict=verdict, requests=_SAMPLE, cached=0, largest_difference=worst,
            explanation=explanation,
        )  # fmt: skip

    def scenario(self, name: str, histories: Sequence[History]) -> ServerScenario:
        """Return the worst of a scenario, up to the first answer that is wrong, whose cause is looked for."""
        result = ServerScenario(name=name, verdict="not tested", requests=0)
        for history in histories:
            for length, moment in enumerate(history, 1):
                try:
                    answers = self._send(moment)
                except ServerRefusedError as error:
                    if not any(each.action or each.answers for each in moment):
                        raise
                    return replace(result, verdict="not tested", explanation=str(error))
                judged = self._judged(moment, answers)
                hits = [each[0].cached for each in answers if each and each[0].cached is not None]
                worst = max((each.difference for each in judged), default=0.0)
                result = replace(
                    result,
                    requests=result.requests + len(moment),
                    cached=(result.cached or 0) + sum(hits) if hits or result.cached else result.cached,
                    largest_difference=max(result.largest_difference or 0.0, worst),
                )
                if self.judges and worst > self.limit:
                    return self._failed(result, max(judged, key=lambda each: each.difference), length)
        return replace(result, verdict=("pass" if self.judges else "inconclusive") if result.cached else "not tested")

    def stopped(self, message: str) -> ServerScenario:
        """Return the finding that the server died or gave no numbers, and the requests that it was asked last."""
        history = (*self._log[-3:], *([self._last] if self._last not in self._log[-1:] else []))
        if self.script is None:
            self.script = script_of(self._engine, history, self._cold_engine, self._last[0], (0, 0))
        return ServerScenario(
            name="the server goes on", verdict="fail", requests=len(self._last), history=history,
            explanation=f"at the last request: {message}",
        )  # fmt: skip

    def _failed(self, result: ServerScenario, judged: Judged, length: int) -> ServerScenario:
        """Look for the cause until that of one fail is known: later requests only fill the caches."""
        if self.script is not None:
            return replace(result, verdict="fail")
        history, repeated = self._cause(tuple(self._log), length, judged.answer.cached or 0)
        try:
            explanation = self._explained(history, repeated or judged)
        except LimitReachedError:
            explanation = "the limit of requests or seconds was reached before an explanation was found"
        if repeated is not None:
            cold = request(repeated.ids, self._cold_slot, cache=False)
            self.script = script_of(self._engine, history, self._cold_engine, cold, (repeated.at, repeated.place))
        return replace(
            result, verdict="fail", history=history, repeated=repeated is not None, explanation=explanation or None
        )

    def _cold(self, ids: Prompt) -> ServerAnswer:
        if ids not in self._answers:
            sent = request(ids, self._cold_slot, cache=False)
            self._last = (sent,)
            (answer, *_) = self._cold_engine.ask(sent)
            if answer.cached or (answer.cached is None and self._cold_engine is self._engine):
                took = "does not say whether it took" if answer.cached is None else f"took {answer.cached}"
                reuse = f"{self._cold_engine.url} {took} tokens of a cold request from its cache: there is no reference"
                raise UsageError(f"{reuse}: give --cold URL of a second server without a cache")
            self._answers[ids] = answer
        return self._answers[ids]

    def _send(self, moment: tuple[SentRequest, ...]) -> list[list[ServerAnswer]]:
        """Send requests at the same time, and log them before."""
        self._log.append(moment)
        self._last = moment
        if len(moment) == 1:
            return [self._engine.ask(moment[0])]
        with ThreadPoolExecutor(len(moment)) as pool:
            return list(pool.map(self._engine.ask, moment))

    def _judged(self, moment: tuple[SentRequest, ...], answers: list[list[ServerAnswer]]) -> list[Judged]:
        judged = []
        for at, (sent, each) in enumerate(zip(moment, answers, strict=True)):
            for place, answer in enumerate(each):
                ids = sent.ids + (self._engine.forced or 0,) * (place % sent.tokens)
                judged.append(Judged(at, place, ids, answer, answer.difference(self._cold(ids))))
        return judged

    def _cause(self, log: History, length: int, cached: int) -> tuple[History, Judged | None]:
        """Return the fewest of the last requests that make the last answer wrong again; if none do, the last ones."""
        history, most = log[-length:], min(len(log), _LONGEST)
        shortest: tuple[History, Judged | None] = history, None
        try:
            while (again := self._repeats(history, cached)) is None and len(history) < most:
                history = log[-min(2 * len(history), most) :]
            shortest = again or (history, None)
            single = [(at, each) for at, moment in enumerate(history) for each in moment]
            size = len(single) // 2 if again else 0
            while size:
                at = 0
                while at < len(single) - 1:
                    fewer = single[:at] + single[min(at + size, len(single) - 1) :]
                    moments = (tuple(each for _, each in group) for _, group in groupby(fewer, itemgetter(0)))
                    if again := self._repeats(tuple(moments), cached):
                        single, shortest = fewer, again
                    else:
                        at += size
                size //= 2
        except LimitReachedError:
            pass  # the shortest so far
        return shortest

    def _repeats(self, history: History, cached: int) -> tuple[History, Judged] | None:
        """Return a history with other tokens and its wrong last answer if that comes twice; else None.

        Once what the slots held before is right for the last prompt; once it can go on from none of it. What is wrong
        both times is so by the history itself.
        """
        tried, worst = self._replayed(history, cached)
        if worst is not None:
            tried, worst = self._replayed(history, 0)
        return None if worst is None else (tried, worst)

    def _replayed(self, history: History, shared: int) -> tuple[History, Judged | None]:
        """Return a history with tokens that no cache knows, and its last answer if that is wrong.

        What the slots hold is replaced before, by cold requests of every length that they were sent, which share a
        number of tokens with the last prompt.
        """
        tried = relabelled(history, self._engine, self._draw)
        begins = tried[-1][-1].ids[:shared]
        for length, slot in sorted({(len(each.ids), each.slot) for moment in self._log for each in moment if each.ids}):
            rest = self._draw.choices(self._engine.alphabet, k=max(1, length - shared))
            self._send((request((*begins, *rest), slot, cache=False),))
        for moment in tried:
            answers = self._send(moment)
        judged = [each for each in self._judged(tried[-1], answers) if each.difference > self.limit]
        return tried, max(judged, key=lambda each: each.difference, default=None)

    def _explained(self, history: History, judged: Judged) -> str:
        """Name the other prompt that has the wrong answer cold, if one does."""
        ids, cached = judged.ids, judged.answer.cached or 0
        others = [(f"request {n}", each.ids) for n, moment in enumerate(history, 1) for each in moment if each.ids]
        candidates = [(f"the prompt without token {at + 1}", ids[:at] + ids[at + 1 :]) for at in {cached, len(ids) - 1}]
        for name, other in others:
            candidates += [(f"{name} + what follows token {cached}", other + ids[cached:]), (f"{name} itself", other)]
        for at in range(len(ids)):
            for name, other in others:
                if at < len(other) and other[at] != ids[at]:
                    what = f"the prompt with token {at + 1} of {name}"
                    candidates.append((what, (*ids[:at], other[at], *ids[at + 1 :])))
                    if at:
                        what = f"the first {at + 1} tokens of {name} + the rest"
                        candidates.append((what, other[: at + 1] + ids[at + 1 :]))
        for what, other in candidates[:_MOST_EXPLANATIONS]:
            if other and other != ids and judged.answer.difference(self._cold(other)) <= self.limit:
                return f"the answer equals that to {what}"
        tokens = "token 1" if cached == 1 else f"tokens 1 to {cached}"
        # Attention may keep what the state has lost.
        for n, (first, *more) in enumerate(history[:-1] if cached else ()):
            begins = replace(first, ids=(*ids[:cached], *first.ids[cached:]))
            changed = (*history[:n], (begins, *more), *history[n + 1 :])
            if begins != first and self._replayed(changed, cached)[1] is None:
                return f"is right if request {n + 1} has {tokens} of the last prompt: it goes on from that state"
        return ""
