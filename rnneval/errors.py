"""Errors about input: files, models, texts and options that rnneval cannot use.

Every message says what was seen, where, what is allowed and what to do, in one line; the command line prints it
as it is and exits with 2. Any other exception is a defect of rnneval.
"""

import os
import re
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

ShapePair = tuple[str, tuple[int, ...], tuple[int, ...]]

_PACKAGE = f"{Path(__file__).parent}{os.sep}"
_NUMERICS = re.compile(r"site-packages/(torch|numpy)/")  # what rnneval itself calls
_CALLS_OF_MODULES = {"_call_impl", "_wrapped_call_impl"}  # of torch.nn.Module
_LONGEST_NAME = 255  # bytes of a file name on the usual file systems
_SHOWN = 38
_AS_FLAGS = "RNNEVAL_ERRORS_NAME_FLAGS"
"""Variable of the environment, so that worker processes have it, too: errors name options as the command line does."""
_KEYWORDS = {
    "vocab": "vocabulary", "vocab-from": "vocabulary_from", "vocab-size": "vocabulary_size", "threshold": "thresholds",
    "builder-arg": "builder_arguments", "builder-global": "builder_globals",
    "no-check": "check=False", "no-states": "states=False",
}  # fmt: skip
"""Keyword arguments whose names are not those of their flags."""
_SWITCHES = frozenset({"pad", "run-module", "context", "lyapunov", "better-than-counting"})
_MAPS = frozenset({"builder-arg", "builder-global", "allow"})
_FLAG = re.compile(
    r"""rnneval\ [a-z-]+\ [^;:()]*  # a command line: stays as it is
    | --(?!rnneval)(?P<flag>[a-z][a-z0-9-]*[a-z0-9])
      (?:\ (?P<value>'[^']*' | "[^"]*" | [A-Z\d](?:[^\s,;()]*[^\s,;:()])? | [\w./-]+(?=:\s)
        | [a-z_]\w*=[^\s;,:()]+ | (?:reset|carry|numpy|keras|lower|nfc|lf|skip)\b))?""",
    re.VERBOSE,
)


@contextmanager
def errors_name_flags() -> Iterator[None]:
    """Let errors name options as they are typed on the command line, `--part`, and not as keyword arguments."""
    before = os.environ.get(_AS_FLAGS)
    os.environ[_AS_FLAGS] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_AS_FLAGS]


def in_python(message: str) -> str:
    """Return a message that names options by flags with the keyword arguments of Python in their place.

    >>> in_python("--state reset: --segment N is needed, or leave out --no-check (see rnneval evaluate --help)")
    "state='reset': segment=N is needed, or leave out check=False (see rnneval evaluate --help)"
    """

    def keyword(match: re.Match[str]) -> str:
        flag, value = match["flag"], match["value"]
        if flag is None:
            return match[0]
        name = _KEYWORDS.get(flag, flag.replace("-", "_"))
        if value is None:
            return f"{name}=True" if flag in _SWITCHES else name
        key, equals, of_key = value.partition("=")
        if equals and flag in _MAPS:
            return f"{name}={{{key!r}: {of_key if flag.startswith('builder') else repr(of_key)}}}"
        as_it_is = re.fullmatch("[A-Z].*|[0-9]+|['\"].*", value)
        return f"{name}={value if as_it_is else repr(value)}"

    return _FLAG.sub(keyword, message)


def failure_of(error: Exception) -> str:
    """Return in words why a model's calls cannot be watched; warn of an error that is a defect of rnneval.

    An error is the model's where a module, a library of models or a file of the user runs below the last function of
    rnneval. An RnnevalError says what is wrong with the input in its own words.
    """
    if isinstance(error, RnnevalError):
        return str(error)
    frames = traceback.extract_tb(error.__traceback__)
    last = max((at for at, frame in enumerate(frames) if frame.filename.startswith(_PACKAGE)), default=-1)
    below = frames[last + 1 :]
    in_call = any(frame.name in _CALLS_OF_MODULES or not _NUMERICS.search(frame.filename) for frame in below)
    if in_call:
        return f"the model raises {type_and_message(error)}"
    at = f"{Path(frames[last].filename).name}, line {frames[last].lineno}"
    seen = f"rnneval raises {type_and_message(error)} ({at})"
    warnings.warn(f"{seen}: this is a defect of rnneval, please report it", RuntimeWarning, stacklevel=2)
    return seen


class RnnevalError(Exception):
    """Base class of all errors about input."""

    def __init__(self, message: str = "", *, rule: str | None = None, cause: str = "", advice: str = "") -> None:
        super().__init__(message)
        self.cause, self.advice = cause, advice
        """The likely cause and what to do, where they are long: the command line gives them lines of their own."""
        self.rule = rule
        """The rule by which a file was refused, such as `zip-traversal`; `rnneval explain` has its text."""

    def __str__(self) -> str:
        message = ": ".join(filter(None, [super().__str__(), self.cause, self.advice]))
        return message if _AS_FLAGS in os.environ else in_python(message)


class CheckpointError(RnnevalError):
    """A checkpoint, a builder or a model cannot be used as it is."""


class WeightShapeError(CheckpointError):
    """Weights in a file have other shapes than those of the model that a builder made."""

    def __init__(self, message: str = "", *, pairs: Sequence[ShapePair] = (), **parts: str) -> None:
        super().__init__(message, **parts)
        self.pairs = tuple(pairs)
        """Name, shape in the file and shape in the model of every weight whose shapes differ."""


class VocabularyError(RnnevalError):
    """A vocabulary is missing, is not a one-to-one map, or does not fit the model or the text."""


class TextError(RnnevalError):
    """A text is missing, empty, not UTF-8, or has characters that the vocabulary lacks."""


class RecordError(RnnevalError):
    """A record cannot be read or written."""


class UsageError(RnnevalError):
    """Options that contradict each other, or a package that is not installed."""


def named_in_message(path: str | os.PathLike[str]) -> str:
    r"""Return a path for a message, cut short if it is plainly a text: with a line break, or over 255 characters.

    >>> named_in_message("held_out.txt"), named_in_message("First Citizen:\nBefore we proceed any further, hear me")
    ('held_out.txt', "'First Citizen:\\nBefore we proceed any f…' (53 characters)")
    """
    text = os.fspath(path)
    if not is_plainly_text(text):
        return text
    start = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
    return f"{start!r} ({len(text):,} characters)"


def is_plainly_text(path: str) -> bool:
    """Return whether a path that does not exist is a text that was given in place of one."""
    return "\n" in path or len(path) > _LONGEST_NAME


def in_one_line(error: BaseException) -> str:
    """Return the first 300 characters of an error's message in one line, without Keras' bold type."""
    return " ".join(re.sub(r"\x1b\[[0-9;]*m", "", str(error)).split())[:300]


def type_and_message(error: BaseException) -> str:
    """Return the type of an error and its message, in one line."""
    return f"{type(error).__name__}: {in_one_line(error)}"
