"""What the tests of the pool let workers do: importable there, and without TensorFlow."""

import os
import signal
import time
from pathlib import Path


def where(number: int) -> tuple[int, int, str | None]:
    """The number, the process, and how many threads TensorFlow would get."""
    return number, os.getpid(), os.environ.get("TF_NUM_INTRAOP_THREADS")


def die(_: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def wrong(_: int) -> None:
    raise ValueError("on purpose")


def wait(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


def prints(number: int) -> int:
    print("not a result")  # noqa: T201
    return number


class OwnError(Exception):
    """An error that cannot be made again from its arguments."""

    def __init__(self, first: int, second: int) -> None:
        super().__init__(first * second)


def wrong_in_its_own_way(number: int) -> None:
    raise OwnError(number, 1)


def fill(size: int) -> int:
    """Take so many bytes of memory, and keep them until this process is ended."""
    taken = bytearray(os.urandom(1 << 20) * (size >> 20))
    time.sleep(60)
    return len(taken)


def tell(number: int, folder: str) -> None:
    """Write a file that is named like the process, and go on for a minute."""
    (Path(folder) / f"{os.getpid()}.pid").touch()
    time.sleep(60 + number)


def made(item):
    """Make one call of several: a number, the function and its arguments."""
    _, call, arguments = item
    return call(*arguments)
