"""One process in which hostile files are opened one after the other, as from the command line, and watched.

    python -m tests.hostile.worker FILE.json

FILE.json is a list of {"name", "folder", "model", "listener"}: what was built, and where. One line of JSON a case is
printed.
"""

import contextlib
import io
import json
import os
import socket
import sys
import time
from pathlib import Path

from tests.hostile.canary import Canary, peak_memory
from tests.hostile.corpus import all_cases


def main() -> None:
    """Open every case of the list, with the current folder first among the places of modules, as in a notebook."""
    sys.path.insert(0, "")
    for built in json.loads(Path(sys.argv[1]).read_text()):
        sys.stdout.write(json.dumps(opened(**built)) + "\n")
        sys.stdout.flush()


def opened(name: str, folder: str, model: str, listener: int | None) -> dict[str, object]:
    """Open one: exit code, what was said, whether TensorFlow was imported, whether the canary fired, cost."""
    from rnneval.cli.main import run

    found = all_cases()[name]
    if found.late:
        import rnneval.models.keras  # noqa: F401 - its own half a gigabyte is no bomb
    canary = Canary(Path(folder) / "traps", memory=peak_memory())
    if listener is not None:
        canary.listener = socket.socket(fileno=listener)
        canary.listener.setblocking(False)
    said, printed, began = io.StringIO(), io.StringIO(), time.perf_counter()
    os.chdir(Path(model) if Path(model).is_dir() else Path(model).parent)
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(printed):
        code = run(found.command(Path(model)))
    return {
        "name": name,
        "code": code,
        "said": said.getvalue(),
        "seconds": time.perf_counter() - began,
        "tensorflow": "tensorflow" in sys.modules,
        "fired": canary.fired(),
        "peak_mb": peak_memory() >> 20,
    }


if __name__ == "__main__":
    main()
