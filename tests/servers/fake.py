"""A server of our own: a recurrent model in NumPy behind `http.server`, with slots, checkpoints and planted faults.

Each slot keeps the states at the end of its last prompt and 4 tokens before. A request goes on from the last of them
that its prompt shares with the one before.
"""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any

import numpy as np

V, UNITS = 40, 12
_draw = np.random.default_rng(0)
EMBEDDING, RECURRENT, OUT = (_draw.normal(size=shape) for shape in ((V, UNITS), (UNITS, UNITS), (UNITS, V)))


def moved(state: Any, token: int) -> Any:
    return np.tanh(0.5 * state @ RECURRENT + EMBEDDING[token])


def scores(state: Any) -> Any:
    logits = state @ OUT
    return logits - np.log(np.exp(logits).sum())


class Slots:
    """Four slots; `fault` names what is wrong with them."""

    def __init__(self, fault: str) -> None:
        self.fault, self.asked = fault, 0
        self.running: list[list[int]] = []
        self.ids: list[list[int]] = [[], [], [], []]
        self.kept: list[dict[int, Any]] = [{}, {}, {}, {}]  # states, by the number of tokens before them
        self.saved: tuple[list[int], dict[int, Any]] = ([], {})
        self.lock = Lock()

    def answer(self, ids: list[int], slot: int, tokens: list[int], *, cache: bool) -> tuple[list[Any], int]:
        """Return the scores after a prompt and after each token that is generated, and the tokens from the cache."""
        self.running.append(ids)
        if self.fault == "neighbour" and cache:
            time.sleep(0.02)
        with self.lock:
            self.asked += 1
            others = [each for each in self.running if each is not ids] if self.fault == "neighbour" else []
            found = self._answer(others[0] if others else ids, slot, tokens, cache=cache)
            self.running = [each for each in self.running if each is not ids]
        return found

    def act(self, action: str, slot: int) -> None:
        """Save a slot, or put what was saved last into it."""
        with self.lock:
            if action == "save":
                self.saved = (self.ids[slot], dict(self.kept[slot]))
            elif self.fault == "restore":
                self.ids[slot] = self.saved[0]  # but the states of what was there before
                self.kept[slot] = {len(self.saved[0]): self.kept[slot][max(self.kept[slot])]}
            else:
                self.ids[slot], self.kept[slot] = self.saved[0], dict(self.saved[1])

    def copy(self, others: int) -> None:
        """Copy the first slot to others, for several answers to its prompt."""
        with self.lock:
            for slot in range(1, others):
                self.ids[slot], self.kept[slot] = self.ids[0], dict(self.kept[0])
                if self.fault == "copy":
                    self.kept[slot][max(self.kept[0])] = np.zeros(UNITS)

    def _answer(self, ids: list[int], slot: int, tokens: list[int], *, cache: bool) -> tuple[list[Any], int]:
        before, kept = self.ids[slot], self.kept[slot]
        pairs = enumerate(zip(before, ids, strict=False))
        shared = next((n for n, (a, b) in pairs if a != b), min(len(before), len(ids))) if cache else 0
        last = shared + 1 if self.fault == "stale" else shared  # its last token is that of the prompt before
        for n in [n for n in kept if n > last]:
            del kept[n]
        hits = [n for n in kept if n <= min(shared, len(ids) - 1)] if cache and self.fault != "never hits" else []
        start = max(hits, default=0)
        state = kept[start] if start else np.zeros(UNITS)
        if self.fault == "wrong slot" and start:
            state = next((each[max(each)] for each in self.kept[slot + 1 :] if each), state)
        if self.fault == "rounding" and start:
            state = state.astype(np.float16).astype(float)
        for n, token in enumerate(ids[start:], start):
            lost = start and ((self.fault == "lost" and n == start) or (self.fault == "edge" and n % 16 == 0))
            state = state if lost else moved(state, token)
            if n + 1 in (len(ids) - 4, len(ids)):
                kept[n + 1] = state
        self.ids[slot] = ids
        found = [scores(state)]
        for token in tokens[:-1]:
            state = moved(state, token)
            found.append(scores(state))
        return found, start


@contextmanager
def serving(
    fault: str = "", status: int = 200, *, engine: str = "llama.cpp", asked: list[Any] | None = None
) -> Iterator[str]:
    """Serve the model at the address that is yielded; each prompt that is asked goes into `asked`."""
    slots = Slots(fault)

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

        def do_GET(self) -> None:
            if self.path == "/props" and engine == "openai":
                return self.send_error(404)
            models = {"data": [{"id": "m", "owned_by": "us", "meta": {"n_vocab": V}}]}
            return self._send(models if self.path == "/v1/models" else {"total_slots": 4, "build_info": "b1"})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if fault == "dies" and slots.asked > 40:
                self.close_connection = True
                return
            if fault == "later 500" and slots.asked > 40:
                self.send_error(500)
                return
            if fault == "no actions" and self.path.startswith("/slots/"):
                self.send_error(501)
                return
            if fault == "closes":
                self.close_connection = True
                return
            if fault == "mlx" and body["logprobs"] is not True:
                self.send_error(400)
                return
            if asked is not None:
                asked.append(body.get("prompt"))
            if fault == "key" and self.headers["Authorization"] != "Bearer s3cret":
                self.send_error(401)
                return
            self._send(self._of_words(body) if engine == "openai" else self._of_ids(body))

        def _of_ids(self, body: Any) -> Any:
            if self.path == "/tokenize":
                return {"tokens": [sum(map(ord, word)) % V for word in body["content"].split()]}
            if self.path.startswith("/slots/"):
                slots.act(self.path.rpartition("=")[2], int(self.path.split("/")[2][0]))
                return {}
            forced = [body["logit_bias"][0][0]] * body["n_predict"]
            found, cached = slots.answer(body["prompt"], body["id_slot"], forced, cache=body["cache_prompt"])
            if fault == "not finite" or (fault == "later not finite" and slots.asked > 40):
                found[0][0] = float("nan")
            steps = [{"top_logprobs": [{"id": n, "logprob": x} for n, x in enumerate(each)]} for each in found]
            steps = [] if fault == "empty" else steps
            answer = {"completion_probabilities": steps, "timings": {"cache_n": cached}}
            if (several := body.get("n_cmpl", 1)) > 1 and fault != "one answer":
                slots.copy(several)
                return [answer] * several
            return answer

        def _of_words(self, body: Any) -> Any:
            words = body["prompt"]
            ids = [sum(map(ord, each)) % V for each in words.split()] if isinstance(words, str) else words
            salt = body.get("cache_salt")
            (found,), cached = slots.answer(ids, 0 if salt is None else 3, [0], cache=salt is None)
            top = sorted(enumerate(found), key=lambda each: -each[1])[: body.get("top_logprobs", body["logprobs"])]
            usage = {} if fault == "silent" else {"prompt_tokens_details": {"cached_tokens": cached}}
            listed = {"top_logprobs": [{f"t{n}": x for n, x in top}]}
            if fault in ("content", "mlx"):
                listed = {"content": [{"top_logprobs": [{"token": f"t{n}", "logprob": x} for n, x in top]}]}
            text = " ".join(f"t{n}" for n in range(body["max_tokens"]))
            return {"choices": [{"logprobs": listed, "text": text}] * body.get("n", 1), "usage": usage}

        def _send(self, answer: Any) -> None:
            text = b"<html>" if fault == "html" else json.dumps(answer).encode()
            try:
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                if fault == "slow":
                    time.sleep(0.5)
                self.wfile.write(text)
            except OSError:
                pass  # the client hung up

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
