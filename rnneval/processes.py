"""Cores and threads of processes, pauses of the garbage collector, and what is imported from the current folder."""

import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

THREADS = (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS",
)  # fmt: skip
"""Environment variables for how many threads NumPy and TensorFlow start."""
LARGE = 1 << 19
"""Parameters from which on PyTorch is faster in two threads: two layers of LSTM with 256 units have twice as many."""


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def blas() -> Any:
    """Return the libraries of linear algebra that are loaded; they are searched for once."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def torch_threads() -> int:
    """Return the number of threads in which PyTorch computes; 1 where it is not imported."""
    torch: Any = sys.modules.get("torch")
    return torch.get_num_threads() if torch else 1


@contextmanager
def one_thread(parameters: int = 0) -> Iterator[None]:
    """Let linear algebra and PyTorch compute in one thread while the block runs: many spin where a machine is busy.

    PyTorch keeps its number of threads for a model of 2¹⁹ parameters or more. TensorFlow takes its own when it starts.
    """
    before = torch_threads()
    torch: Any = sys.modules.get("torch") if parameters < LARGE else None
    try:
        with blas().limit(limits=1, user_api="blas"):
            if torch:
                torch.set_num_threads(1)
            yield
    finally:
        if torch:
            torch.set_num_threads(before)


@contextmanager
def without_current_folder() -> Iterator[None]:
    """Keep modules of the current folder from being imported while the block runs.

    A notebook and `python -m` put that folder first on the path, so that a `keras_hub/` or `h5py.py` beside a
    checkpoint would be imported in place of the package of that name.
    """
    here, before, installed = os.path.realpath("."), list(sys.path), ("site-packages", "dist-packages")
    sys.path[:] = [p for p in before if os.path.realpath(p or ".") != here or p.endswith(installed)]
    try:
        yield
    finally:
        sys.path[:] = [*before, *(place for place in sys.path if place not in before)]


@contextmanager
def collector_paused() -> Iterator[None]:
    """Keep Python's garbage collector from running while the block makes many objects that stay, and few cycles.

    It takes a sixth of the time of importing TensorFlow, and a quarter of the time of parsing many files.
    """
    running = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if running:
            gc.enable()
