"""A second lock while statements of the user's run: the interpreter reports what they do, and effects are refused.

The list of what may run (`allowed`) is read from the source. What slips through it, as a method that some library
calls, is stopped here when it happens: Python audits files that are opened, removed or renamed, processes and
connections (PEP 578). Installed packages may do so while they are imported.
"""

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rnneval.checkpoints.usercode.neighbours import is_installed
from rnneval.errors import CheckpointError

_EFFECTS = re.compile(
    r"os\.(chmod|chown|exec|fork|forkpty|kill|killpg|link|mkdir|posix_spawn|remove|rename|rmdir|setxattr|spawn|startfile"
    r"|symlink|system|truncate|utime)|pty\.spawn|shutil\.\w+|socket\.(bind|connect|getaddrinfo|sendto)|sqlite3\.connect"
    r"|subprocess\.Popen"
)
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
# TensorFlow writes the functions that it traces into temporary modules, and imports those.
_MAY = ("<frozen importlib._bootstrap", str(Path("autograph", "pyct", "loader.py")))
_state = {"installed": False, "watching": 0}


@contextmanager
def no_effects() -> Iterator[None]:
    """Raise CheckpointError where the user's own code has an effect that Python audits, while the block runs."""
    if not _state["installed"]:
        sys.addaudithook(_refuse)  # it stays for good, and does nothing outside of such blocks
        _state["installed"] = True
    _state["watching"] += 1
    try:
        yield
    finally:
        _state["watching"] -= 1


def _refuse(event: str, arguments: tuple[Any, ...]) -> None:
    if not _state["watching"]:
        return
    writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & _WRITING
    if not writes and not _EFFECTS.fullmatch(event):
        return
    frame = sys._getframe(1)
    while frame is not None:
        file = frame.f_code.co_filename
        if any(part in file for part in _MAY):
            return
        if not file.startswith("<") and not is_installed(Path(file)):
            what = "opens a file to write" if writes else f"calls {event}"
            raise CheckpointError(
                f"builder: {file}:{frame.f_lineno} {what}, and was stopped: move that into a function that the model "
                "does not need, or give --run-module to run the whole file as it is"
            )
        frame = frame.f_back  # type: ignore[assignment]
