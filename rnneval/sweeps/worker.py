"""A process that runs tasks of a `rnneval.sweeps.workers.ProcessPool`, one after the other."""

import os
import pickle
import queue
import signal
import sys
import threading
from collections.abc import Callable
from typing import IO, Any


def main() -> None:
    """Run the calls that come on standard input, and write their results to standard output, both pickled.

    The process ends when its input does: whatever ends the process that started it, a task included that is running.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the other process decides: then the input ends
    results = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a task prints is no result
    calls: queue.SimpleQueue[tuple[Callable[..., Any], tuple[Any, ...]]] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(sys.stdin.buffer, calls), daemon=True).start()
    while True:
        call, arguments = calls.get()
        results.write(_answer(call, arguments))
        results.flush()


def _receive(source: IO[bytes], calls: "queue.SimpleQueue[Any]") -> None:
    try:
        while True:
            calls.put(pickle.load(source))  # noqa: S301 - written by the process that started this one
    except EOFError:
        os._exit(0)
    except BaseException:
        os._exit(1)  # such as a function that cannot be imported here: the other process sees a worker that died


def _answer(call: Callable[..., Any], arguments: tuple[Any, ...]) -> bytes:
    """Return what a call returns or raises, pickled; an error that cannot be pickled by its name and message."""
    try:
        return pickle.dumps((call(*arguments), None), protocol=5)
    except Exception as error:
        try:
            written = pickle.dumps((None, error), protocol=5)
            pickle.loads(written)  # noqa: S301 - written in the line above
        except Exception:
            return pickle.dumps((None, RuntimeError(f"{type(error).__name__}: {error}")), protocol=5)
        return written
