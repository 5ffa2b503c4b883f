"""Requests to the server of llama.cpp, by the standard library: one JSON body a call, and no connection is kept."""

import http.client
import json
import math
import time
from ipaddress import ip_address
from typing import Any, NamedTuple
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, ProxyHandler, Request, build_opener

from rnneval.errors import UsageError, in_one_line

Ids = tuple[int, ...]
_MOST_BYTES = 1 << 26


class _NoRedirect(HTTPRedirectHandler):
    """Refuse to follow a server to another address."""

    def redirect_request(self, *_: Any) -> None:
        return None


class ServerAnswer(NamedTuple):
    """The prediction after a prompt."""

    log_probabilities: dict[int, float]
    cached: int  # tokens that the server took from its cache

    def difference(self, other: "ServerAnswer") -> float:
        """Return the largest difference in nats over the ids that both answers list."""
        both = self.log_probabilities.keys() & other.log_probabilities.keys()
        pairs = ((self.log_probabilities[each], other.log_probabilities[each]) for each in both)
        return max((abs(a - b) for a, b in pairs), default=math.inf)


class ServerStoppedError(Exception):
    """The server closed the connection or refused it after it had answered before."""


class LimitReachedError(Exception):
    """The requests or the seconds that were allowed are used up."""


class LlamaCpp:
    """A server of llama.cpp, asked by `/completion` with ids for the log-probabilities of every token.

    Raises:
        UsageError: the address is not of this machine, nothing answers there, or another kind of server does.
    """

    def __init__(self, url: str, *, seconds: float, requests: int, remote: bool = False) -> None:
        _require_address(url, remote=remote)
        self._url, self._left = url.rstrip("/"), requests
        self._ends = time.monotonic() + seconds
        self._opener = build_opener(ProxyHandler({}), _NoRedirect())
        self._answered = False
        try:
            self.vocabulary_size = int(self._json("/v1/models")["data"][0]["meta"]["n_vocab"])
            self.slots = int(self._json("/props")["total_slots"])
        except (KeyError, IndexError, TypeError, ValueError) as error:
            said = "it does not answer as the server of llama.cpp (no n_vocab or total_slots)"
            raise UsageError(f"{url}: {said}: give the address of one") from error
        self._answered = True

    def ask(self, ids: Ids, slot: int, *, cache: bool) -> ServerAnswer:
        """Return the prediction after a prompt.

        Raises:
            ServerStoppedError: the server died.
            LimitReachedError: no request is left.
            UsageError: the answer has no log-probabilities, or some that are not finite.
        """
        body = {
            "prompt": ids, "n_predict": 1, "n_probs": self.vocabulary_size, "temperature": 0, "cache_prompt": cache,
            "id_slot": slot, "ignore_eos": True,
        }  # fmt: skip
        answer = self._json("/completion", body)
        try:
            entries = answer["completion_probabilities"][0]["top_logprobs"]
            found = ServerAnswer(
                {int(e["id"]): float(e["logprob"]) for e in entries}, int(answer["timings"]["cache_n"])
            )
        except (KeyError, IndexError, TypeError, ValueError) as error:
            said = "the answer of /completion lacks log-probabilities or timings.cache_n"
            raise UsageError(f"{self._url}: {said}: a newer server of llama.cpp is needed") from error
        if not found.log_probabilities or not all(map(math.isfinite, found.log_probabilities.values())):
            raise UsageError(f"{self._url}: a log-probability is missing or not finite: check the model's numbers")
        return found

    def _json(self, path: str, body: Any = None) -> Any:
        left = self._ends - time.monotonic()
        if self._answered and (left <= 0 or self._left <= 0):
            raise LimitReachedError
        self._left -= 1
        data = None if body is None else json.dumps(body).encode()
        request = Request(self._url + path, data, {"Content-Type": "application/json"})  # noqa: S310 - http alone
        try:
            with self._opener.open(request, timeout=max(left, 1.0)) as response:
                text = response.read(_MOST_BYTES)
            return json.loads(text)
        except HTTPError as error:
            error.close()
            raise UsageError(f"{self._url}{path}: HTTP status {error.code}: 200 is needed") from error
        except TimeoutError as error:
            raise self._timeout() from error
        except (URLError, ConnectionError, http.client.HTTPException) as error:
            if isinstance(error, URLError) and isinstance(error.reason, TimeoutError):
                raise self._timeout() from error
            if self._answered:
                raise ServerStoppedError from error
            raise UsageError(f"{self._url}: nothing answers: {in_one_line(error)}: start the server") from error
        except (ValueError, RecursionError) as error:
            raise UsageError(f"{self._url}{path}: the answer is not JSON: give the address of a server") from error

    def _timeout(self) -> Exception:
        return LimitReachedError() if self._answered else UsageError(f"{self._url}: no answer in time")


def _require_address(url: str, *, remote: bool) -> None:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        parts, host = urlsplit(""), None
    if parts.scheme not in ("http", "https") or not host or parts.username or parts.password:
        raise UsageError("the server's address is not http://HOST:PORT, without a user: give it in this form")
    try:
        local = ip_address(host).is_loopback
    except ValueError:
        local = host == "localhost"
    if not (local or remote):
        raise UsageError(f"{host} is not this machine: only its own servers are asked unless remote=True")
