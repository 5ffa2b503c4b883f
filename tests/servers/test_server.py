"""`check_server` against servers of our own: a recurrent model in NumPy behind `http.server`, with planted faults."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import numpy as np
import pytest

from rnneval.errors import UsageError
from rnneval.servers import check_server

V, UNITS = 40, 12
_draw = np.random.default_rng(0)
EMBEDDING, RECURRENT, OUT = (_draw.normal(size=shape) for shape in ((V, UNITS), (UNITS, UNITS), (UNITS, V)))


class Slots:
    """States of four slots: after each request, a slot keeps the state after every token."""

    def __init__(self, fault: str) -> None:
        self.fault = fault
        self.ids: list[list[int]] = [[], [], [], []]
        self.states: list[list[Any]] = [[np.zeros(UNITS)] for _ in range(4)]
        self.asked = 0

    def answer(self, ids: list[int], slot: int, *, cache: bool) -> tuple[list[float], int]:
        self.asked += 1
        source = (slot + 1) % 4 if self.fault == "wrong slot" and cache else slot
        before = self.ids[slot]
        shared = next(
            (n for n, (a, b) in enumerate(zip(before, ids, strict=False)) if a != b), min(len(before), len(ids))
        )
        shared = min(shared, len(ids) - 1) if cache and self.fault != "never hits" else 0
        states = self.states[source][: shared + 1] if source == slot else [self.states[source][-1]] * (shared + 1)
        if self.fault == "stale" and shared and len(self.states[slot]) > shared + 1:
            states[-1] = self.states[slot][shared + 1]  # one token of the earlier text too many
        if self.fault == "rounding":
            states = [state.astype(np.float32).astype(np.float64) for state in states]
        for place in range(shared, len(ids)):
            lost = self.fault == "lost" and shared and place == shared
            moved = np.tanh(0.5 * states[-1] @ RECURRENT + EMBEDDING[ids[place]])
            states.append(states[-1] if lost else moved)
        self.ids[slot], self.states[slot] = ids, states
        logits = states[-1] @ OUT
        return list(logits - np.log(np.exp(logits).sum())), shared


@contextmanager
def serving(fault: str = "", status: int = 200) -> Iterator[str]:
    slots = Slots(fault)

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

        def do_GET(self) -> None:
            models = {"data": [{"meta": {"n_vocab": V}}]}
            self._send(models if self.path == "/v1/models" else {"total_slots": 4})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            scores, cached = slots.answer(body["prompt"], body["id_slot"], cache=body["cache_prompt"])
            if fault == "dies" and slots.asked > 20:
                self.close_connection = True
                return
            if fault == "not finite":
                scores[0] = float("nan")
            top = [{"id": n, "logprob": score} for n, score in enumerate(scores)]
            self._send({"completion_probabilities": [{"top_logprobs": top}], "timings": {"cache_n": cached}})

        def _send(self, answer: Any) -> None:
            text = b"<html>" if fault == "html" else json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.parametrize("fault", ["stale", "lost", "wrong slot", "dies"])
def test_a_fault_of_the_cache_is_found_and_shrunk(fault: str) -> None:
    with serving(fault) as url:
        result = check_server(url)
    failed = [each for each in result.scenarios if each.verdict == "fail"]
    assert result.verdict == "fail"
    assert all(1 <= len(each.history) <= 4 for each in failed)


@pytest.mark.parametrize("fault", ["", "rounding"])
def test_a_right_server_passes_with_every_seed(fault: str) -> None:
    with serving(fault) as url:
        verdicts = [check_server(url, seed=seed).verdict for seed in range(3)]
    assert verdicts == ["pass"] * 3


def test_a_cache_that_never_hits_is_not_tested() -> None:
    with serving("never hits") as url:
        assert {each.verdict for each in check_server(url).scenarios} == {"not tested"}


@pytest.mark.parametrize(
    ("fault", "status", "message"),
    [
        ("html", 200, "not JSON"),
        ("not finite", 200, "not finite"),
        ("", 401, "HTTP status 401"),
        ("", 404, "404"),
        ("", 429, "429"),
    ],
)
def test_an_answer_that_is_no_answer_is_one_line(fault: str, status: int, message: str) -> None:
    with serving(fault, status) as url, pytest.raises(UsageError, match=message) as caught:
        check_server(url)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://127.0.0.1:1", "nothing answers"),
        ("http://example.org", "not this machine"),
        ("file:///etc", "HOST:PORT"),
    ],
)
def test_an_address_that_cannot_be_asked_is_one_line(url: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        check_server(url)


def test_requests_are_limited() -> None:
    with serving() as url:
        assert check_server(url, requests=12).scenarios[-1].scenario == "limit reached"
