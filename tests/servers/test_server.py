"""`check_server` against servers of our own, whose faults are known."""

import json
import os
import re
import subprocess
import sys
from importlib import util
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import numpy as np
import pytest

import rnneval
from rnneval.errors import UsageError
from rnneval.records import decode, encode

_spec = util.spec_from_file_location("fake", Path(__file__).with_name("fake.py"))
assert _spec is not None
assert _spec.loader is not None
fake: Any = util.module_from_spec(_spec)
_spec.loader.exec_module(fake)
serving = fake.serving


def _failed(record: rnneval.records.Server) -> list[Any]:
    return [each for each in record.scenarios if each.verdict == "fail"]


def _ask(url: str, ids: list[int]) -> None:
    body = {"prompt": ids, "n_predict": 1, "id_slot": 0, "cache_prompt": True, "logit_bias": [[0, 1]]}
    request = Request(f"{url}/completion", json.dumps(body).encode())  # noqa: S310
    with urlopen(request) as response:  # noqa: S310
        response.read()


@pytest.mark.parametrize("fault", ["stale", "lost", "edge", "wrong slot", "restore", "copy"])
def test_a_fault_of_the_cache_is_found_and_shrunk_to_its_cause(fault: str) -> None:
    with serving(fault) as url:
        record = rnneval.check_server(url)
    assert record.verdict == "fail"
    assert not record
    (shown,) = (each for each in _failed(record) if each.repeated)
    assert 2 <= sum(map(len, shown.history)) <= (6 if fault == "restore" else 4)  # a restore needs what was saved
    assert decode(encode(record)) == record


def test_what_a_slot_held_before_is_not_taken_for_the_cause() -> None:
    """The stale state of an older prompt makes the first prompts wrong; the history that is shown must do so alone."""
    with serving("stale") as url:
        for ids in ([7, 1, 2, 3, 4], [8, 1, 2, 3, 4, 5, 6, 7], [9, 8, 7, 6, 5]):
            _ask(url, ids)
        record = rnneval.check_server(url)
    failed = next(each for each in _failed(record) if each.repeated)
    assert re.search(r"the answer equals that to the prompt with token \d+ of request \d", failed.explanation)
    assert sum(map(len, failed.history)) <= 4
    assert record.script is not None
    with serving("stale") as url:
        script = re.sub(r"http://127\.0\.0\.1:\d+", url, record.script)
        shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert float(shown.split()[5]) > record.limit  # on a server that was asked nothing else
    with serving() as url:
        script = re.sub(r"http://127\.0\.0\.1:\d+", url, record.script)
        shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert float(shown.split()[5]) < 1e-9


def test_a_row_with_the_state_of_another_is_found_among_requests_at_the_same_time() -> None:
    with serving("neighbour") as url:
        record = rnneval.check_server(url)
    assert (_failed(record)[0].name, _failed(record)[0].repeated) == ("others at the same time", True)
    shown = next(each for each in record.scenarios if each.history)
    assert [len(moment) for moment in shown.history] == [2]


@pytest.mark.parametrize("fault", ["", "rounding"])
def test_a_right_server_raises_no_alarm_with_any_seed(fault: str) -> None:
    with serving(fault) as url:
        records = [rnneval.check_server(url, seed=seed, requests=200) for seed in range(20)]
        whole = rnneval.check_server(url)
    assert {record.verdict for record in records} == {"pass"}
    assert {each.verdict for each in whole.scenarios} == {"pass"}


def test_a_cache_that_never_hits_is_not_tested() -> None:
    with serving("never hits") as url:
        record = rnneval.check_server(url)
    assert record.verdict == "not tested"
    assert {each.verdict for each in record.scenarios} == {"not tested"}


def test_a_server_that_dies_is_a_finding() -> None:
    with serving("dies") as url:
        record = rnneval.check_server(url)
    assert record.verdict == "fail"
    assert record.scenarios[-1].name == "the server goes on"
    assert len(record.scenarios[-1].history) <= 4
    assert record.script is not None
    shown = subprocess.run([sys.executable, "-c", record.script], capture_output=True, text=True, check=False)
    assert "ConnectionRefusedError" in shown.stderr  # the server is gone


@pytest.mark.parametrize(("fault", "said"), [("later not finite", "not finite"), ("later 500", "HTTP status 500")])
def test_a_server_that_fails_in_the_middle_is_a_finding(fault: str, said: str) -> None:
    with serving(fault) as url:
        record = rnneval.check_server(url)
    assert record.verdict == "fail"
    assert said in record.scenarios[-1].explanation


@pytest.mark.parametrize(
    ("fault", "status", "message"),
    [
        ("html", 200, "not JSON"),
        ("not finite", 200, "not finite"),
        ("empty", 200, "lacks the log-probabilities"),
        ("slow", 200, "no answer in time"),
        ("", 401, "HTTP status 401: set RNNEVAL_SERVER_KEY"),
        ("", 404, "404"),
        ("", 429, "429"),
    ],
)
def test_an_answer_that_is_no_answer_is_one_line(fault: str, status: int, message: str) -> None:
    with serving(fault, status) as url, pytest.raises(UsageError, match=message) as caught:
        rnneval.check_server(url, seconds=0.2 if fault == "slow" else 60)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://127.0.0.1:1", "nothing answers"),
        ("http://example.org", "not this machine"),
        ("http://127.0.0.1:80?key=a", "HOST:PORT"),
        ("http://:secret@127.0.0.1", "HOST:PORT"),
        ("file:///etc", "HOST:PORT"),
    ],
)
def test_an_address_that_cannot_be_asked_is_one_line(url: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        rnneval.check_server(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan"), float("inf")])
def test_seconds_that_are_no_limit_are_refused(seconds: float) -> None:
    with pytest.raises(UsageError, match=r"seconds.+is not allowed"):
        rnneval.check_server("http://127.0.0.1:1", seconds=seconds)


def test_a_limit_before_the_first_answer_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("one two three")
    with serving() as url, pytest.raises(UsageError, match="limit of requests or seconds was reached before the first"):
        rnneval.check_server(url, requests=1, text=tmp_path / "text.txt")


def test_a_server_that_ends_at_the_first_request_is_a_finding() -> None:
    with serving("closes", engine="openai") as url:
        record = rnneval.check_server(url)
    assert (record.verdict, record.scenarios[0].name) == ("fail", "the server goes on")


def test_requests_are_limited() -> None:
    with serving() as url:
        record = rnneval.check_server(url, requests=40)
    assert record.requests == 40
    assert "limit of 40 requests" in record.reason


def test_the_key_is_sent_and_written_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving("key") as url:
        with pytest.raises(UsageError, match="401"):
            rnneval.check_server(url)
        monkeypatch.setenv("RNNEVAL_SERVER_KEY", "s3cret")
        record = rnneval.check_server(url)
        monkeypatch.setenv("RNNEVAL_SERVER_KEY", "s3cret\n")
        with pytest.raises(UsageError, match="RNNEVAL_SERVER_KEY has") as caught:
            rnneval.check_server(url)
    assert record.verdict == "pass"
    assert "s3cret" not in encode(record) + str(caught.value)


@pytest.mark.parametrize("fault", ["", "content"])
def test_a_server_of_openai_is_asked_with_words(fault: str) -> None:
    with serving(fault, engine="openai") as url:
        record = rnneval.check_server(url)
    assert record.verdict == "pass"
    assert record.engine == "OpenAI's API (us)"
    assert record.listed == 5


@pytest.mark.parametrize(
    ("fault", "engine", "name", "reason"),
    [
        ("no actions", "llama.cpp", "slots saved and restored", "HTTP status 501: start the server with"),
        ("one answer", "llama.cpp", "several answers to one prompt", "gives 1 answer where 3 are asked for"),
        ("", "openai", "slots saved and restored", "no slots that a request can save"),
    ],
)
def test_what_a_server_does_not_offer_is_not_tested(fault: str, engine: str, name: str, reason: str) -> None:
    with serving(fault, engine=engine) as url:
        record = rnneval.check_server(url)
    assert record.verdict == "pass"
    line = next(each for each in record.scenarios if each.name == name)
    assert (line.verdict, reason in line.explanation) == ("not tested", True)


@pytest.mark.parametrize("engine", ["llama.cpp", "openai"])
def test_prompts_are_pieces_of_a_text_or_ids_below_a_number(tmp_path: Path, engine: str) -> None:
    path = tmp_path / "text.txt"
    path.write_text("one two three four five six seven eight nine ten")
    asked: list[Any] = []
    with serving(engine=engine, asked=asked) as url:
        assert rnneval.check_server(url, text=path)
        ids = [sum(map(ord, word)) % fake.V for word in path.read_text().split()]
        pieces = [
            " ".join(path.read_text().split()[at:][:5]) if engine == "openai" else ids[at:][:5] for at in range(6)
        ]
        assert any(prompt in pieces for prompt in asked)
        asked.clear()
        assert rnneval.check_server(url, vocabulary_size=30)
        assert {n for prompt in asked if isinstance(prompt, list) for n in prompt} - {13} <= {*range(30)}
        assert sum(isinstance(prompt, list) for prompt in asked) > 100
        for more in ({"text": path, "vocabulary_size": 30}, {"vocabulary_size": 4}):
            with pytest.raises(UsageError, match="vocab"):
                rnneval.check_server(url, **more)
        path.write_text("one two")
        with pytest.raises(UsageError, match="prompts would be made of 2 different tokens, 8 are needed"):
            rnneval.check_server(url, text=path)


def test_a_turn_of_a_conversation_has_the_text_that_the_server_generated() -> None:
    asked: list[Any] = []
    with serving("mlx", engine="openai", asked=asked) as url:
        record = rnneval.check_server(url)
    assert record.verdict == "pass"
    assert record.listed == 10  # by `top_logprobs`, as mlx_lm.server wants it
    assert any(" t0 t1 t2 " in prompt for prompt in asked)


@pytest.mark.parametrize("fault", ["stale", "lost"])
def test_a_fault_behind_the_interface_of_openai_is_found(fault: str) -> None:
    with serving(fault, engine="openai") as url:
        record = rnneval.check_server(url)
    assert record.verdict == "fail"
    assert any(each.repeated and sum(map(len, each.history)) <= 4 for each in _failed(record))


def test_a_server_without_a_cold_answer_needs_a_second_one() -> None:
    with serving("silent", engine="openai") as url:
        with pytest.raises(UsageError, match="second server without a cache") as caught:
            rnneval.check_server(url)
        with serving("never hits", engine="openai") as cold:
            record = rnneval.check_server(url, cold=cold)
        with serving() as other, pytest.raises(UsageError, match="give equal ones"):
            rnneval.check_server(url, cold=other)
    assert "\n" not in str(caught.value)
    assert record.verdict == "not tested"
    assert record.cold == cold


def test_cold_requests_go_to_a_second_server() -> None:
    with serving("lost") as url, serving("never hits") as cold:
        record = rnneval.check_server(url, cold=cold, slots=1)
    assert record.verdict == "fail"
    with serving() as url, pytest.raises(UsageError, match="it has 1 slot"):
        rnneval.check_server(url, slots=1)


class _Model:
    """The model of the fake server, as `rnneval.open` would give it; `shift` makes another one of it."""

    width = fake.V

    def __init__(self, shift: float) -> None:
        self.shift = shift

    def initial_state(self, batch: int) -> Any:
        return np.zeros((batch, fake.UNITS))

    def step(self, ids: Any, state: Any) -> tuple[Any, Any]:
        logits = []
        for token in ids[0]:
            state = np.stack([fake.moved(state[0], int(token))])
            logits.append(state[0] @ fake.OUT + 3 + self.shift * np.arange(fake.V))
        return np.stack([logits]), state


@pytest.mark.parametrize(("shift", "verdict"), [(0.0, "pass"), (0.5, "fail")])
def test_the_numbers_of_a_reference_are_compared(shift: float, verdict: str) -> None:
    model: Any = _Model(shift)
    with serving() as url:
        record = rnneval.check_server(url, reference=model)
    assert record.scenarios[0].name == "numbers of the reference"
    assert record.scenarios[0].verdict == record.verdict == verdict
    assert record.kl is not None
    assert (record.kl.largest < 1e-9) == (verdict == "pass")


def _command(*words: str) -> "subprocess.CompletedProcess[str]":
    code = "import sys; from rnneval.cli.main import run; code = run(sys.argv[1:]); "
    code += "assert not {'tensorflow', 'torch'} & set(sys.modules); sys.exit(code)"
    return subprocess.run(
        [sys.executable, "-c", code, "check-server", *words], capture_output=True, text=True, check=False
    )


def test_the_command_prints_writes_and_ends_by_the_verdict(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("server.json", "server.xml", "server.md", "fault.py")]
    record, junit, markdown, script = map(str, files)
    with serving("lost") as url:
        found = _command(url, "--out", record, "--out", junit, "--out", markdown, "--reproduce", script)
    assert found.returncode == 1, found.stderr
    assert "fill the caches of the server" in found.stderr
    assert "longer prompt" in found.stdout
    kept: Any = rnneval.read(record)
    assert kept.command[1] == "check-server"
    assert "<failure" in files[1].read_text()
    assert "| longer prompt |" in files[2].read_text()
    assert "import rnneval" not in files[3].read_text()
    with serving("never hits") as url:
        assert _command(url, "--requests", "60", "--format", "json").returncode == 3
    with serving() as url:
        assert _command(url, "-q").returncode == 0
    refused = _command("http://127.0.0.1:1")
    assert refused.returncode == 2
    assert "Traceback" not in refused.stderr


def test_a_report_has_a_chapter_of_servers(tmp_path: Path) -> None:
    with serving("lost") as url:
        rnneval.check_server(url).save(tmp_path / "server.json")
    page = tmp_path / "report.html"
    rnneval.report([tmp_path / "server.json"], page)
    assert "Whether what a server answers depends on what it was asked before." in page.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["mamba2", "rwkv7", "nemotron_h"])
def test_the_fault_of_a_release_of_llama_cpp_is_found(name: str) -> None:
    """Of xllamacpp 2026.10.11549, with a model in RNNEVAL_GGUF: a state of another request is in the answer."""
    pytest.importorskip("xllamacpp")
    path = Path(os.environ.get("RNNEVAL_GGUF", "")) / f"{name}.gguf"
    if not path.is_file():
        pytest.skip("RNNEVAL_GGUF names no folder with the model")
    code = (
        "import sys, time, xllamacpp; p = xllamacpp.CommonParams(); p.model.path = sys.argv[1]; p.n_parallel = 4; "
        "p.n_ctx = 8192; s = xllamacpp.Server(p); print(s.listening_address, flush=True); time.sleep(600)"
    )
    server = subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert server.stdout is not None
        url = next(line.strip() for line in server.stdout if line.startswith("http"))
        record = rnneval.check_server(url)
    finally:
        server.terminate()
        server.communicate()
    (shown,) = (each for each in _failed(record) if each.repeated)
    assert sum(map(len, shown.history)) <= 4
    assert shown.explanation is not None
    assert record.seconds < 60
