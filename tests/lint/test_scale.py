"""Long files take as long as they are: twice the lines, about twice the work."""

import sys
from collections.abc import Callable

import pytest

from rnneval.lint.check import check_bytes
from tests.lint.written import snippets

QUESTION = snippets("wrong")[0].source
HEAD = "import tensorflow as tf\ng = tf.keras.layers.GRU(3, return_sequences=True, return_state=True)\nx, s = g(y)\n"


def _classes(lines: int) -> str:
    count = lines // len(QUESTION.splitlines())
    return "".join(QUESTION.replace("MyModel", f"Model{number}") for number in range(count))


def _stack(lines: int) -> str:
    return HEAD + "x, s = g(x, initial_state=s)\n" * (lines // 10)


def _methods(lines: int) -> str:
    method = "    def m{n}(self, x):\n        x = self.g(x)\n        return self.m0(x)\n"
    return (
        "import keras\nclass A:\n    def __init__(self):\n        self.g = keras.layers.GRU(3)\n"
        + "    def m0(self, x):\n        return self.g(x)\n"
        + "".join(method.replace("{n}", str(number)) for number in range(1, lines // 3))
    )


def work(source: bytes) -> int:
    """How many functions are called, Python's and C's: what a noisy machine does not change."""
    calls = 0

    def count(_frame: object, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event in {"call", "c_call"}

    sys.setprofile(count)
    try:
        check_bytes("a.py", source)
    finally:
        sys.setprofile(None)
    return calls


@pytest.mark.parametrize(
    "make",
    [_classes, _stack, _methods],
    ids=lambda make: make.__name__,
)
def test_work_grows_with_the_lines(make: Callable[[int], str]) -> None:
    check_bytes("a.py", make(500).encode())  # what is read once is read now
    small, large = work(make(1_500).encode()), work(make(12_000).encode())
    # Eight times the lines: linear is 8, quadratic 64.
    assert large < 12 * small
