"""Python processes beside this one, each running one module of this package."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import rnneval

# -P and the search path of this process, without the current folder: a module there must not stand in for another one.
_START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); import rnneval\n"
    "from importlib import import_module\n"
    "with rnneval.without_current_folder(): module = import_module(sys.argv[2])\n"
    "module.main(*sys.argv[3:])"
)
THREADS = (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS",
)  # fmt: skip


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def start_python(
    module: str, *arguments: object, threads: int, settings: Mapping[str, str] | None = None, **pipes: Any
) -> "subprocess.Popen[bytes]":
    """Start a process that calls a module's `main` with the arguments as strings, and imports nothing else.

    It does not run the script of this process again, as processes of `multiprocessing` do.

    Args:
        module: Dotted name of a module of this package.
        arguments: Arguments of its `main`.
        threads: Threads of NumPy and TensorFlow in it.
        settings: Further environment variables.
        pipes: Keyword arguments of `subprocess.Popen`.

    Raises:
        OSError: no process can be started.
    """
    home = str(Path(rnneval.__file__).resolve().parents[1])
    path = [str(place) for place in sys.path]
    return subprocess.Popen(  # noqa: S603 - Python itself
        [sys.executable, "-P", "-c", _START, json.dumps([*path, home]), module, *map(str, arguments)],
        env={**os.environ, "PYTHONSAFEPATH": "1", **dict.fromkeys(THREADS, str(threads)), **(settings or {})},
        **pipes,
    )
