"""`check_server` against servers of our own, whose faults are known."""

import json
import re
import subprocess
import sys
from importlib import util
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

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


@pytest.mark.parametrize("fault", ["stale", "lost", "edge", "wrong slot"])
def test_a_fault_of_the_cache_is_found_and_shrunk_to_its_cause(fault: str) -> None:
    with serving(fault) as url:
        record = rnneval.check_server(url)
    assert record.verdict == "fail"
    assert not record
    (shown,) = (each for each in _failed(record) if each.repeated)
    assert 2 <= sum(map(len, shown.history)) <= 4
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
        record = rnneval.check_server(url, requests=150)
    assert record.verdict in {"fail", "inconclusive"}


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


@pytest.mark.parametrize(
    ("fault", "status", "message"),
    [
        ("html", 200, "not JSON"),
        ("not finite", 200, "not finite"),
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
