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


def die_once(flag: str) -> str:
    if not Path(flag).exists():
        Path(flag).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return "alive"


def stop_once(flag: str) -> str:
    """The first worker that is given this stands still for good."""
    if not Path(flag).exists():
        Path(flag).touch()
        os.kill(os.getpid(), signal.SIGSTOP)
    return "went on"


def wrong(_: int) -> None:
    raise ValueError("on purpose")


def wait(seconds: float) -> float:
    time.sleep(seconds)
    return seconds
