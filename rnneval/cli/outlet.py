"""Standard output as a command sees it: whatever becomes of the reader, the command ends as it would have ended."""

import codecs
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from rnneval.errors import RecordError

T = TypeVar("T")
_ERRORS = "rnneval-escape"


@contextmanager
def lasting_output() -> Iterator[None]:
    """Let every command print while the block runs, into a pipe that nobody reads any more, too.

    `rnneval gate … | head -1` still ends with the verdict's exit code: a gate that fails must not pass because its
    table was cut off. What the encoding of the output lacks, such as half of a surrogate pair from a path that is not
    UTF-8, is written as JSON's escape, so that JSON stays JSON.

    Raises:
        RecordError: at the end of the block, where something could not be written for another reason.
    """
    _open_what_is_closed()
    stream: Any = sys.stdout
    before = _reconfigured(stream)
    outlet = _Outlet(stream)
    sys.stdout = outlet
    try:
        yield
        outlet.flush()
    finally:
        sys.stdout = stream
        with suppress(Exception):
            stream.reconfigure(**before)
    if outlet.failure is not None:
        reason = outlet.failure.strerror or outlet.failure
        raise RecordError(f"standard output cannot be written: {reason}") from outlet.failure


class _Outlet:
    """A text stream that outlives its reader; what else goes wrong is kept, as click and rich would swallow it."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.failure: OSError | None = None

    def write(self, text: str) -> int:
        """Write, or from the first failure on do nothing."""
        return self._tried(lambda: int(self._stream.write(text)), len(text))

    def flush(self) -> None:
        """Pass on what was written."""
        self._tried(self._stream.flush, None)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _tried(self, action: Callable[[], T], otherwise: T) -> T:
        try:
            return action()
        except OSError as error:
            if not isinstance(error, BrokenPipeError):
                self.failure = self.failure or error
            self._divert()
            return otherwise

    def _divert(self) -> None:
        """Let what is waiting and what is to come go nowhere: Python would complain of it at its exit."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())
        os.close(nowhere)


def _open_what_is_closed() -> None:
    """Fill descriptors 0 to 2 where they are closed, or the next file to be opened would get what is printed."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115 - as long as the process
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115 - as long as the process


def _reconfigured(stream: Any) -> dict[str, str]:
    """Make the stream write what its encoding lacks as escapes, and ASCII as UTF-8; give how it was."""
    if not hasattr(stream, "reconfigure"):
        return {}
    before = {"encoding": stream.encoding, "errors": stream.errors}
    ascii_alone = codecs.lookup(stream.encoding).name == "ascii"  # click does not believe it, either
    stream.reconfigure(encoding="utf-8" if ascii_alone else stream.encoding, errors=_ERRORS)
    return before


def _as_escape(error: UnicodeError) -> tuple[str, int]:
    r"""Write what cannot be encoded as `\u20ac`."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return json.dumps(error.object[error.start : error.end])[1:-1], error.end


codecs.register_error(_ERRORS, _as_escape)
