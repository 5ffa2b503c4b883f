"""A process that scores blocks of rows in shared memory (see `rnneval.backends.numpy.team`)."""

import contextlib
import mmap
import os
import pickle
import signal
import sys
from typing import Any, cast

from rnneval.backends.numpy.network import Recipe
from rnneval.backends.numpy.products import one_blas_thread
from rnneval.backends.numpy.room import Ask
from rnneval.backends.numpy.scorer import BlockScorer
from rnneval.backends.protocol import Sees


def main(recipe_descriptor: str, shared_descriptor: str) -> None:
    """Score what is asked for until the input ends.

    Args:
        recipe_descriptor: Descriptor of the pickled recipe of the network, written by the parent process.
        shared_descriptor: Descriptor of the shared memory.
    """
    recipe_file, shared = int(recipe_descriptor), int(shared_descriptor)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the other process decides: then the input ends
    memory = mmap.mmap(shared, os.fstat(shared).st_size)
    # Mapped, not read: the position in the file is shared with the other workers.
    with mmap.mmap(recipe_file, 0, access=mmap.ACCESS_READ) as written:
        recipe: Recipe = pickle.loads(written)  # noqa: S301 - written by the process that started this one
    network = recipe.network()
    scorer = BlockScorer(network)
    with contextlib.suppress(BrokenPipeError), one_blas_thread():
        done()
        for line in sys.stdin:
            time, sees, *rows = line.split()
            ask = Ask(rows=tuple(map(int, rows)), time=int(time), sees=cast("Sees", sees))
            for room in ask.rooms(network, memory):
                scorer.score(room)
            done()


def done() -> Any:
    """Say that everything that was asked for is done."""
    return os.write(1, b".")
