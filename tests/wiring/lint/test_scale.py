"""Long files take as long as they are: twice the lines, about twice the time."""

import time
from collections.abc import Callable

import pytest

from rnneval.wiring.lint.check import check_bytes
from tests.wiring.lint.written import snippets

QUESTION = snippets("wrong")[0].source
HEAD = "import tensorflow as tf\ng = tf.keras.layers.GRU(3, return_sequences=True, return_state=True)\nx, s = g(y)\n"


def _classes(lines: int) -> str:
    count = lines // len(QUESTION.splitlines())
    return "".join(QUESTION.replace("MyModel", f"Model{number}") for number in range(count))


def _module(lines: int) -> str:
    return HEAD + "".join(
        f"v{number} = f(x, {number})\nif v{number}:\n    w{number} = v{number}\n" for number in range(lines // 3)
    )


def _one_name(lines: int) -> str:
    return HEAD + "x = f(x) + y\n" * lines


def _stack(lines: int) -> str:
    return HEAD + "x, s = g(x, initial_state=s)\n" * (lines // 10)


def _append(lines: int) -> str:
    return HEAD + "kept = []\n" + "kept.append(s)\n" * lines


@pytest.mark.parametrize("make", [_classes, _module, _one_name, _append, _stack], ids=lambda make: make.__name__)
def test_time_grows_with_the_lines(make: Callable[[int], str]) -> None:
    def seconds(lines: int) -> float:
        source = make(lines).encode()
        start = time.process_time()
        check_bytes("a.py", source)
        return time.process_time() - start

    seconds(500)
    small, large = min(seconds(1_500) for _ in range(2)), seconds(12_000)
    # Eight times the lines: linear is 8, quadratic 64.
    assert large < 24 * max(small, 0.01)


def test_fifty_thousand_lines() -> None:
    source = _classes(50_000)
    assert source.count("\n") > 49_000
    start = time.process_time()
    found = check_bytes("a.py", source.encode())
    assert len(found) == source.count("class ")
    assert time.process_time() - start < 20


def test_deep_nesting_does_not_multiply() -> None:
    depth = 18
    loops = "".join(f"{' ' * level}for i{level} in range(9):\n" for level in range(depth))
    start = time.process_time()
    check_bytes("a.py", (HEAD + loops + " " * depth + "x, s = g(x, initial_state=s)\n").encode())
    assert time.process_time() - start < 3


def test_calls_that_call_each_other_end() -> None:
    functions = "".join(
        f"def f{number}(x, s):\n" + f"  x, s = f{number + 1}(x, s)\n" * 2 + "  return g(x, initial_state=s)\n"
        for number in range(60)
    )
    start = time.process_time()
    check_bytes("a.py", (HEAD + functions + "f0(x, s)\n").encode())
    assert time.process_time() - start < 5
