"""`rnneval parity` as it is typed: exit codes, one clear line, and files that are whole or absent."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rnneval
from rnneval.cli.main import run

# A leaky sum over four letters. `late` is what a call gives whose state has read more than 900 tokens.
SOURCE = """
import numpy as np, rnneval
DRAW = np.random.default_rng(3)
IN, OUT = DRAW.normal(size=(4, 5)), DRAW.normal(size=(5, 4))
def model(late=None, order=range(4), kept=0.5):
    order = np.array(order)
    def step(ids, state):
        h, read = state
        logits = np.empty((*ids.shape, 4), np.float32)
        for at in range(ids.shape[1]):
            h = (kept if at == 0 and read[0, 0] else 0.5) * h + IN[order[ids[:, at]]]
            logits[:, at] = (np.tanh(h) @ OUT)[:, order]
        if late is not None and read.max() > 900:
            logits = late(logits)
        return logits, (h.astype(np.float32), read + ids.shape[1])
    begin = lambda rows: (np.zeros((rows, 5), np.float32), np.zeros((rows, 1), np.int32))
    return rnneval.from_step(step, begin, vocab_size=4)
def right(): return model()
def reversed_ids(): return model(order=[3, 2, 1, 0])
def lost(): return model(kept=0.0)
def not_a_number(): return model(late=lambda logits: logits * np.nan)
def infinite(): return model(late=lambda logits: logits + np.array([np.inf, 0, 0, 0], np.float32))
def table():
    numbers = DRAW.normal(size=(5, 4, 4)).astype(np.float32)
    def step(ids, state):
        before = np.concatenate([state, ids[:, :-1]], axis=1)
        return numbers[before, ids], ids[:, -1:]
    return rnneval.from_step(step, lambda rows: np.full((rows, 1), 4, np.int32), vocab_size=4)
def listed(): return model(late=lambda logits: [1, 2])
def raises():
    def late(logits): raise MemoryError("no room")
    return model(late=late)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("own.py").write_text(SOURCE, encoding="utf-8")
    Path("text.txt").write_text("".join(np.random.default_rng(1).choice([*"abcd"], 6000)), encoding="utf-8")
    Path("short.txt").write_text("abcdabdc" * 62, encoding="utf-8")
    Path("empty.txt").touch()
    for name, tokens in (("vocab", "abcd"), ("turned", "dcba"), ("other", "abcx")):
        Path(f"{name}.json").write_text(json.dumps([*tokens]), encoding="utf-8")
    return tmp_path


def _run(capsys: pytest.CaptureFixture[str], candidate: str, *more: str, reference: str = "right",
         text: str = "text.txt", check: bool = False) -> tuple[int, str]:  # fmt: skip
    written = ["--out", "parity.json", "--plot", "parity.svg"]
    vocabulary = [] if "--ref-vocab" in more else ["--vocab", "vocab.json"]
    code = run(["parity", f"own.py:{reference}", f"own.py:{candidate}", text, *([] if check else ["--no-check"]),
                *vocabulary, *more, *written])  # fmt: skip
    printed = capsys.readouterr()
    return code, " ".join((printed.out + printed.err).split())


@pytest.mark.parametrize(
    ("candidate", "options", "expected"),
    [
        ("right", [], (0, "no token differs by more than rounding")),
        ("reversed_ids", ["--ref-vocab", "vocab.json", "--cand-vocab", "turned.json"], (0, "no token differs")),
        ("lost", ["--max-kl", "10"], (1, "parity, state: fail")),
        ("not_a_number", [], (1, "at token 961 are not finite")),
        ("infinite", [], (1, "at token 961 are not finite")),
    ],
)
def test_a_verdict_is_written_whatever_it_is(
    folder: Path, capsys: pytest.CaptureFixture[str], candidate: str, options: list[str], expected: tuple[int, str]
) -> None:
    code, printed = _run(capsys, candidate, *options)
    assert (code, expected[1] in printed) == (expected[0], True), printed
    record = rnneval.read(folder / "parity.json")
    assert (folder / "parity.svg").exists() == (record.kl is not None)
    assert ("parity.svg: not drawn" in printed) == (record.kl is None)


@pytest.mark.parametrize(
    ("candidate", "given", "words"),
    [
        ("raises", {}, "no room"),
        ("absent", {}, "there is no absent in it"),
        ("right", {"reference": "not_a_number"}, "the reference's loss of token 961 is not finite"),
        ("right", {"reference": "lost", "check": True}, "fails the wiring check"),
        ("right", {"text": "empty.txt"}, "the text is empty"),
        ("right", {"text": "absent.txt"}, "no such file"),
        ("right --ref-vocab vocab.json --cand-vocab other.json", {}, "differ in 2 tokens, such as 'd'"),
        ("right --max-kl 0", {}, "--max-kl 0.0 is not allowed"),
        ("right --allow loss=nan", {}, "give loss=+X"),
        ("right --allow kl=1", {}, "give loss=+X"),
        ("listed", {}, "the logits is a builtins.list"),
    ],
)
def test_what_cannot_be_compared_costs_one_line_and_leaves_no_file(
    folder: Path, capsys: pytest.CaptureFixture[str], candidate: str, given: dict[str, Any], words: str
) -> None:
    name, *more = candidate.split()
    code, printed = _run(capsys, name, *more, **given)
    assert (code, words in printed) == (2, True), printed
    assert "Traceback" not in printed
    assert not (folder / "parity.json").exists()
    assert not (folder / "parity.svg").exists()


def test_a_short_text_gets_no_verdict(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, printed = _run(capsys, "right", text="short.txt")
    assert (code, "7 hand-overs of the state, 64 are needed" in printed) == (3, True), printed
    assert _run(capsys, "right", "--strict", text="short.txt")[0] == 1


def test_a_floor_of_zero_is_said(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # Logits are numbers of a table, by the last two ids: no way of reading rounds them otherwise.
    code, printed = _run(capsys, "table", reference="table")
    assert (code, "agrees with itself to the last digit" in printed) == (0, True), printed
    floor = rnneval.read(folder / "parity.json").floor
    assert [each.largest for each in floor.readings] == [0.0] * len(floor.readings)
    assert 0 < floor.limit < 1e-12
