"""Requests to serving engines, an adapter for each: a prompt goes in, log-probabilities of the next token come out.

HTTP is spoken by the standard library: one JSON body a call needs no pool, no HTTP/2 and so no other dependency.
"""

import http.client
import json
import math
import os
import random
import time
import uuid
from collections.abc import Sequence
from ipaddress import ip_address
from itertools import count
from typing import Any, NamedTuple
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, ProxyHandler, Request, build_opener

from rnneval.errors import UsageError, in_one_line
from rnneval.records.server import SentRequest

Prompt = tuple[int, ...]
KEY = "RNNEVAL_SERVER_KEY"
"""Variable of the environment with the key of the server, which goes nowhere but into the requests."""
_MOST_BYTES = 1 << 26
_FEWEST = 8  # different tokens of which prompts are made
_MOST_LISTED = 512  # log-probabilities of an answer: the likeliest, if the vocabulary is larger
_TEXT = """
the of and to in is you that it he was for on are as with his they at be this have from or one had by word but not what
all were we when your can said there use an each which she do how their if will up other about out many then them these
so some her would make like him into time has look two more write go see
"""
_WORDS = _TEXT.split()
_FAILED = {400, 404, 500}  # HTTP statuses of an error in the middle: mlx_lm.server gives 404
_ADVICE = {
    401: f"set {KEY} to the server's key", 403: f"set {KEY} to the server's key", 404: "give the address of a server",
    429: "it limits requests: ask later, or a server of your own", 503: "wait until it has loaded its model",
    501: "start the server with the option that allows it",
}  # fmt: skip


class ServerAnswer(NamedTuple):
    """The prediction after a prompt."""

    log_probabilities: dict[str, float]  # by the token
    cached: int | None  # tokens that the server took from its cache; None if it does not say

    def difference(self, other: "ServerAnswer") -> float:
        """Return the largest difference in nats; a token that a list lacks is at most as likely as its least likely."""
        one, two = self.log_probabilities, other.log_probabilities
        both = [abs(one[each] - two[each]) for each in one.keys() & two.keys()]
        lacking = [one[each] - min(two.values()) for each in one.keys() - two.keys()]
        lacking += [two[each] - min(one.values()) for each in two.keys() - one.keys()]
        return max(0.0, *both, *lacking)


class ServerRefusedError(UsageError):
    """The server does not do what a request asks for; `status` is that of HTTP, 0 if it left a part out."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class ServerStoppedError(Exception):
    """The server closes the connection, or fails to give numbers, after it has answered before."""


class LimitReachedError(Exception):
    """The requests or the seconds that were allowed are used up."""

    def __init__(self) -> None:
        super().__init__("the limit of requests or seconds was reached")


class RequestLimits:
    """Requests and seconds that are left, of all servers together."""

    def __init__(self, seconds: float, requests: int) -> None:
        self._start, self._seconds, self._requests = time.monotonic(), seconds, requests
        self._numbers, self.requests = count(1), 0

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._start

    @property
    def seconds_left(self) -> float:
        """Seconds that are left."""
        return self._seconds - self.seconds

    def take(self) -> None:
        """Count a request."""
        number = next(self._numbers)  # of all threads
        if self.seconds_left <= 0 or number > self._requests:
            raise LimitReachedError
        self.requests = max(self.requests, number)


class Engine:
    """A server at an address: its slots, its tokens, its answers; an adapter says how to ask.

    Raises:
        UsageError: the address is not of this machine, nothing answers there, or what answers is no such server.
    """

    name: str
    slots: int
    shared = False  # whether the server chooses the place of each request itself, so that none has a slot
    alphabet: Sequence[int]  # ids of which prompts are made
    text: Sequence[int] = ()  # ids of the text from which prompts are taken, if one is given
    listed = 0  # log-probabilities of an answer
    room = 0  # tokens of the longest prompt; 0 if the server does not say
    forced: int | None = None  # the id of each token that is generated, or of what stands for it
    reads: str  # Python expression that makes a list of {token: log-probability} of `answer`

    def __init__(self, url: str, limits: RequestLimits, *, remote: bool, model: str | None) -> None:
        _require_address(url, remote=remote)
        self.url, self._limits, self._model = url.rstrip("/"), limits, model
        self._opener = build_opener(ProxyHandler({}), _NoRedirect())
        self._answered = False
        self.texts: dict[Prompt, str] = {}  # that were generated, by the prompt
        self._headers = {"Content-Type": "application/json", **_authorization()}

    def configure(self, props: Any, slots: int, size: int | None) -> None:
        """Ask for the name, the slots and the tokens."""
        raise NotImplementedError

    def call(self, request: SentRequest) -> tuple[str, dict[str, Any]]:
        """Return the path and the JSON of a request."""
        raise NotImplementedError

    def read(self, request: SentRequest, answer: Any) -> list[ServerAnswer]:
        """Return the prediction of each token that an answer generates."""
        raise NotImplementedError

    def ids_of(self, text: str) -> list[int]:
        """Return the ids of a text."""
        raise NotImplementedError

    def prompt(self, draw: random.Random, length: int) -> Prompt:
        """Return a piece of the text, or random tokens."""
        if not self.text:
            return tuple(draw.choices(self.alphabet, k=length))
        start = draw.randrange(len(self.text))
        return tuple(self.text[(start + n) % len(self.text)] for n in range(length))

    def ask(self, request: SentRequest) -> list[ServerAnswer]:
        """Return the prediction of each token, of one answer after the other; nothing after a hang-up or an action.

        Raises:
            ServerRefusedError: the server does not do this.
            ServerStoppedError: the server died.
            LimitReachedError: no request is left.
            UsageError: the answer has no log-probabilities, or some that are not finite.
        """
        path, body = self.call(request)
        try:
            plain = self.json(path, body)
        except ServerRefusedError as error:
            if self.listed and error.status in _FAILED and not (request.action or request.answers):
                raise ServerStoppedError(f"HTTP status {error.status}") from error
            raise
        if request.hang_up or request.action:
            return []
        try:
            answers = self.read(request, plain)
            listed = len(answers[0].log_probabilities)
        except (KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError) as error:
            said = "the answer lacks the log-probabilities that were asked for"
            raise UsageError(f"{self.url}{path}: {said}: let the server give them, or use a newer one") from error
        for each in answers:
            values = each.log_probabilities.values()
            if not values or not all(map(math.isfinite, values)):
                said = "a log-probability is missing or not finite"
                if self.listed:
                    raise ServerStoppedError(said)
                raise UsageError(f"{self.url}{path}: {said}: check the model's numbers")
        self.listed = max(self.listed, listed)
        if len(answers) < (request.answers or 1):
            raise ServerRefusedError(f"the server gives 1 answer where {request.answers} are asked for")
        return answers

    def json(self, path: str, body: Any = None) -> Any:
        """Return what the server answers, as plain data; nothing of a stream, which is closed after its first byte."""
        if self._answered or body is not None:
            self._limits.take()
        data = None if body is None else json.dumps(body).encode()
        request = Request(self.url + path, data, self._headers)  # noqa: S310 - http alone
        try:
            with self._opener.open(request, timeout=max(0.01, self._limits.seconds_left)) as response:
                if body and body.get("stream"):
                    return response.read1(1) and None
                text = b""
                while (part := response.read1(_MOST_BYTES)) and len(text) < _MOST_BYTES:
                    text += part
                    if self._limits.seconds_left <= 0:
                        raise TimeoutError
            plain = json.loads(text)
        except HTTPError as error:
            error.close()
            advice = _ADVICE.get(error.code, "200 is needed")
            raise ServerRefusedError(f"{self.url}{path}: HTTP status {error.code}: {advice}", error.code) from error
        except (OSError, http.client.HTTPException) as error:
            if isinstance(error, TimeoutError) or isinstance(getattr(error, "reason", None), TimeoutError):
                if self._answered:
                    raise LimitReachedError from error
                raise UsageError(f"{self.url}: no answer in time: allow more seconds") from error
            if self._answered:
                raise ServerStoppedError("the connection was closed") from error
            raise UsageError(f"{self.url}: nothing answers: {in_one_line(error)}: start the server") from error
        except (ValueError, RecursionError) as error:
            raise UsageError(f"{self.url}{path}: the answer is not JSON: give the address of a server") from error
        self._answered = True
        return plain


class LlamaCpp(Engine):
    """The server of llama.cpp: `/completion` takes ids and a slot."""

    reads = (
        '[{e["id"]: e["logprob"] for e in each["top_logprobs"]}'
        ' for one in (answer if isinstance(answer, list) else [answer]) for each in one["completion_probabilities"]]'
    )

    def configure(self, props: Any, slots: int, size: int | None) -> None:
        """Take what `/props` and `/v1/models` say of the server."""
        width = int(self.json("/v1/models")["data"][0]["meta"]["n_vocab"])
        self.slots = min(int(props["total_slots"]), slots)
        self.room = int(props.get("default_generation_settings", {}).get("n_ctx", 0))
        self.name = f"llama.cpp {_plain(props.get('build_info', ''))}".strip()
        self._most = min(width, _MOST_LISTED)
        first, last = (33, 126) if width > 126 else (0, width - 1)  # single bytes in most vocabularies
        self.forced = (2 * first + last) // 3  # a letter: a part of one has no log-probabilities
        ids = range(first, last + 1) if size is None else range(min(size, width))
        self.alphabet = [n for n in ids if n != self.forced]

    def ids_of(self, text: str) -> list[int]:
        """Let the server tokenize a text."""
        return [int(each) for each in self.json("/tokenize", {"content": text})["tokens"]]

    def call(self, request: SentRequest) -> tuple[str, dict[str, Any]]:
        """Force each generated token: what is listed stays as it is, and equal requests stay equal."""
        if request.action:
            return f"/slots/{request.slot}?action={request.action}", {"filename": "rnneval-slot.bin"}
        body = {
            "prompt": request.ids, "n_predict": request.tokens, "n_probs": self._most, "temperature": 0,
            "cache_prompt": request.cache, "id_slot": request.slot, "ignore_eos": True,
            "logit_bias": [[self.forced, 1000]], "stream": request.hang_up,
        }  # fmt: skip
        return "/completion", body if request.answers is None else {**body, "n_cmpl": request.answers}

    def read(self, request: SentRequest, answer: Any) -> list[ServerAnswer]:
        """Take the list of every token."""
        return [
            ServerAnswer(
                {str(e["id"]): _number(e["logprob"]) for e in step["top_logprobs"]}, int(each["timings"]["cache_n"])
            )
            for each in (answer if isinstance(answer, list) else [answer])
            for step in each["completion_probabilities"]
        ]


class OpenAI(Engine):
    """A server with OpenAI's `/v1/completions`: vLLM, SGLang, mlx_lm.server and others; prompts are words, or ids."""

    shared = True
    reads = (
        '[{e["token"]: e["logprob"] for e in each["content"][0]["top_logprobs"]} if "content" in each'
        ' else each["top_logprobs"][0] for each in (choice["logprobs"] for choice in answer["choices"])]'
    )

    def configure(self, _: Any, slots: int, size: int | None) -> None:
        """Take the first model unless one is named, and the form of log-probabilities that the server knows."""
        self.slots, self.name, named = slots, "OpenAI's API", self._model
        if named is None:
            first = self.json("/v1/models")["data"][0]
            named, self.name = str(first["id"]), f"{self.name} ({_plain(first.get('owned_by', ''))})"
        self._words: list[str] = [] if size else _WORDS
        self.alphabet, self.forced = range(size or len(_WORDS)), None if size else len(_WORDS)
        self._form = {"model": named, "logprobs": 5}
        try:
            self.ask(SentRequest(slot=0, ids=(0,), cache=False, tokens=1, hang_up=False))
        except (ServerRefusedError, ServerStoppedError) as error:  # mlx_lm.server 0.31.3 closes the connection
            if getattr(error, "status", 400) not in (400, 422):
                raise
            self._form = {"model": self._model or "default_model", "logprobs": True, "top_logprobs": 10}  # of mlx-lm

    def ids_of(self, text: str) -> list[int]:
        """Return the numbers of the words of a text."""
        words = text.split()
        self._words = sorted({*words})
        numbers = {word: n for n, word in enumerate(self._words)}
        self.forced = len(numbers)
        return [numbers[each] for each in words]

    def call(self, request: SentRequest) -> tuple[str, dict[str, Any]]:
        """Return path and body; a cold request has a salt of its own: vLLM shares its cache between equal salts."""
        if request.action:
            raise ServerRefusedError("the server has no slots that a request can save")
        body = {
            **self._form, "prompt": self._prompt(request.ids), "temperature": 0, "max_tokens": request.tokens,
            "stream": request.hang_up,
        }  # fmt: skip
        if request.answers:  # some servers give one alone at temperature 0
            body.update(n=request.answers, temperature=1)
        return "/v1/completions", body if request.cache else {**body, "cache_salt": uuid.uuid4().hex}

    def _prompt(self, ids: Prompt) -> str | Prompt:
        """Return words, among them the text that was generated after an earlier prompt; ids if there are no words."""
        if not self._words:
            return ids
        words = [
            self.texts.get(ids[:at], "") if each == self.forced else self._words[each]
            for at, each in enumerate(ids)
            if each != self.forced or ids[at - 1] != self.forced
        ]
        return " ".join(filter(None, words))

    def read(self, request: SentRequest, answer: Any) -> list[ServerAnswer]:
        """Take the list of the first token: what is generated after it is text, and may be cut into other tokens."""
        details = (answer.get("usage") or {}).get("prompt_tokens_details") or {}
        cached = None if details.get("cached_tokens") is None else int(details["cached_tokens"])
        if request.tokens > 1:
            self.texts[request.ids] = str(answer["choices"][0].get("text", "")).strip()
        answers = []
        for choice in answer["choices"]:
            listed = choice["logprobs"]
            if "content" in listed:
                step = {str(e["token"]): _number(e["logprob"]) for e in listed["content"][0]["top_logprobs"]}
            else:
                step = {str(token): _number(value) for token, value in listed["top_logprobs"][0].items()}
            answers.append(ServerAnswer(step, cached))
        return answers


def connect(
    url: str, limits: RequestLimits, *, slots: int, remote: bool, model: str | None, text: str, size: int | None
) -> Engine:
    """Return the adapter of the server at an address, which it recognises by asking.

    Its prompts are words or letters; pieces of `text` unless that is empty; or ids below `size`.
    """
    server: Engine = LlamaCpp(url, limits, remote=remote, model=model)
    try:
        try:
            props = server.json("/props")
        except ServerRefusedError as error:
            if error.status not in (404, 405):
                raise
            props = {}
        if "total_slots" not in props:
            server = OpenAI(url, limits, remote=remote, model=model)
        server.configure(props, slots, size)
        if text:
            server.text = server.ids_of(text)
            server.alphabet = sorted({*server.text} - {server.forced})
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError) as error:
        message = "it answers neither as the server of llama.cpp (/props) nor as OpenAI's (/v1/models)"
        raise UsageError(f"{url}: {message}: give the address of one that does") from error
    except (ServerStoppedError, LimitReachedError) as error:
        raise UsageError(f"{url}: {error} before the first answer: start the server, or allow more") from error
    if (kinds := len(server.alphabet)) < _FEWEST:
        message = f"prompts would be made of {kinds} different tokens, {_FEWEST} are needed"
        raise UsageError(f"{message}: give a longer --text, or a larger --vocab-size")
    return server


class _NoRedirect(HTTPRedirectHandler):
    """Refuse to follow a server to another address."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _number(value: Any) -> float:
    """Return a number of JSON, in which null stands for one that is not finite."""
    return math.nan if value is None else float(value)


def _plain(name: Any) -> str:
    """Return a name that a server gives of itself, unless it is too long or has other characters than names have."""
    text = str(name)
    key = os.environ.get(KEY)
    return text if len(text) <= 40 and text.isascii() and text.isprintable() and not (key and key in text) else ""


def _authorization() -> dict[str, str]:
    key = os.environ.get(KEY, "")
    if not key:
        return {}
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise UsageError(f"{KEY} has a space or a character beyond ASCII: set it to the key alone")
    return {"Authorization": f"Bearer {key}"}


def _require_address(url: str, *, remote: bool) -> None:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        parts, host = urlsplit(""), None
    if parts.scheme not in ("http", "https") or not host or "@" in parts.netloc or parts.query or parts.fragment:
        raise UsageError("the server's address is not http://HOST:PORT, without user and query: give it in this form")
    try:
        local = ip_address(host).is_loopback
    except ValueError:
        local = host == "localhost"
    if not (local or remote):
        raise UsageError(f"{host} is not this machine: only its own servers are asked without --remote")
