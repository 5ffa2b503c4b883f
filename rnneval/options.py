"""Options of the commands and of the Python functions behind them, each defined once, as a field of a group.

Bases are listed in reverse: a dataclass takes the fields of its last base first, and the order of the fields is the
order of the options in help and docs.
"""

import inspect
import math
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, field
from functools import wraps
from importlib.util import find_spec
from textwrap import fill
from typing import Any, TypeVar

from rnneval.errors import UsageError
from rnneval.option import Options, option, options_of

PathLike = str | os.PathLike[str]
Paths = PathLike | Iterable[PathLike]
Pairs = Mapping[str, Any] | Sequence[str]
Progress = Callable[[int, int], None]
LARGEST_ORDER = 9  # Highest order of the n-gram baselines.


class VocabularyGroup(Options, heading="Model"):
    """Options that give the vocabulary."""

    vocabulary: Any = option(
        None, flag="--vocab", metavar="FILE", path=True, unset="the one inside the model or beside its file"
    )
    """Vocabulary file: JSON map or list, one token a line, .npy, tokenizer.json, or a .model of SentencePiece."""
    vocabulary_from: Paths | None = option(None, flag="--vocab-from", metavar="TEXT", path=True, repeated=True)
    """Training text whose sorted distinct characters are the vocabulary."""


class OpeningGroup(VocabularyGroup):
    """Options of every command that opens a checkpoint."""

    builder: str | Callable[..., Any] | None = option(
        None, metavar="FILE.py:NAME|FILE.ipynb:NAME|package.module:NAME", path=True
    )
    """Your own code that makes the model, or the module with the custom layers that a whole model asks for. Of a script
    or notebook, only the statements that NAME needs are run. A package.module is imported, which runs it."""
    builder_arguments: Pairs | None = option(None, flag="--builder-arg", metavar="NAME=VALUE", repeated=True)
    """Argument of the builder; vocab_size and vocabulary are passed to a builder that takes them."""
    builder_globals: Pairs | None = option(None, flag="--builder-global", metavar="NAME=VALUE", repeated=True)
    """Value of a variable of the builder's file, in place of the statement that computes it."""
    run_module: bool = option(False)
    """Run the whole file of the builder, with all that it trains and writes, as importing it does."""
    weight_map: PathLike | Mapping[str, Any] | None = option(None, metavar="FILE.json", path=True, seldom=True)
    """For a TensorFlow 1 checkpoint with ambiguous names: JSON map from names in the model to its; also forget_bias."""
    state_pairs: Pairs | None = option(
        None, metavar="INPUT=OUTPUT,…", repeated=True, seldom=True, unset="found by names, shapes or order"
    )
    """For an ONNX graph, the output that each input of a state gets; its behaviour confirms or refutes the pairs."""
    window: int | None = option(None, metavar="N", least=1)
    """Tokens in the window of a window model whose input does not say it."""
    backend: str | None = option(
        None, choices=("auto", "keras", "numpy"), unset="auto for evaluate, sweep and trace, keras for everything else"
    )
    """Library that runs the model: numpy (Keras' own layers in a chain, no TensorFlow), keras, or what fits: auto."""


class OpenOptions(OpeningGroup):
    """Options of `rnneval.open`."""

    expect_sha256: str | None = option(None, metavar="HEX", seldom=True)
    """Refuse a checkpoint with another SHA-256 hash."""
    as_saved: bool = option(False, flag="")
    """Let a Keras model that was saved in half precision compute in it; by default it is evaluated in float32."""


class TextGroup(Options, heading="Text"):
    """Options of every command that reads a text."""

    tokens: str | None = option(None, choices=("char", "byte", "word", "subword"), unset="told by the vocabulary")
    """Kind of token that the model reads; byte needs no vocabulary for a model of 256 outputs."""
    normalize: str = option("none", choices=("none", "lower", "nfc"))
    """Unicode normalization applied to the text: lower is Python's str.lower, nfc is normalization form C."""
    newlines: str = option("keep", choices=("keep", "lf"))
    """Line endings: keep them, or lf to turn CRLF and CR into LF."""
    unknown: str = option("error", metavar="error|skip|TOKEN")
    """Text that the vocabulary lacks: stop with an error, skip it, or read it as TOKEN."""
    part: str | None = option(None, metavar="SLICE", unset="the whole text")
    """Characters to evaluate, as a Python slice or in per cent, such as 90%:."""
    documents: str = option("one", choices=("one", "file", "blank-line"))
    """Where a document begins with a fresh state: the text is one, each file is one, or blank lines part them."""


class StateGroup(Options, heading="State"):
    """Options that say where the state starts anew, which changes the score."""

    state: str = option("carry", choices=("carry", "reset"))
    """Carry the state through each document, or reset it every --segment tokens."""
    segment: int | None = option(None, metavar="N", least=1, unset="chosen by size")
    """Tokens of each row in one step; with --state reset, tokens between two resets."""
    pad: bool = option(False)
    """For a window model, score the tokens before the first whole window too, after padding with id 0."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.state == "reset" and self.segment is None:
            raise UsageError("--state reset needs --segment N: after how many tokens the state starts anew")


_RESET = 64  # tokens between the resets of --how-far


class StreamGroup(Options, heading="Speed"):
    """Options that say how a text is read, which changes no valid result."""

    streams: int | str = option(
        "auto", metavar="N|auto", parse=lambda typed: int(typed) if typed.isdecimal() else typed, seldom=True
    )
    """Rows of text to read side by side, which does not change a valid result."""
    tolerance: float = option(1e-5, seldom=True)
    """Largest difference |Δ| / (1 + |s|) between two equal states; 0 asks for equality to the bit."""
    seed: int = option(0, seldom=True)
    """Random seed for the row that is audited and for the positions that are sampled."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.streams != "auto" and not (isinstance(self.streams, int) and self.streams >= 1):
            raise UsageError(f"--streams {self.streams!r} is not a number of rows: give auto or at least 1")
        if not 0 <= self.tolerance <= 1:
            raise UsageError(f"--tolerance {self.tolerance} is not allowed: give 0 for equality, or up to 1")


class FitGroup(Options, heading="Scores"):
    """Options of the baselines that learn from a text."""

    fit_on: Paths | None = option(
        None, metavar="TEXT", path=True, repeated=True, unset="the unscored training text, if known"
    )
    """Training text on which the baselines that learn are fitted."""
    fit_part: str | None = option(None, metavar="SLICE", unset="all of it")
    """Part of the --fit-on text, in the form of --part, which may not overlap the scored text."""
    max_order: int | None = option(None, metavar="N", least=1, unset="two above the best order", seldom=True)
    """Highest order of the n-gram baselines, up to 9; 1 leaves them out."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.max_order is not None and self.max_order > LARGEST_ORDER:
            raise UsageError(f"--max-order {self.max_order} is not allowed: give 1 to {LARGEST_ORDER}")
        if self.fit_part is not None and self.fit_on is None:
            raise UsageError(f"--fit-part {self.fit_part} is a part of the training text: give it, --fit-on TEXT")


class DeclareGroup(Options, heading="Wiring"):
    """Option by which an author says what a wiring check must not report."""

    declare: Iterable[str] = option(
        (),
        metavar="causal=false|stateless=LAYER|shared=LAYER|mixed=LAYER|chunked=LAYER|chunked=true|scaled=call",
        repeated=True,
    )
    """Property of the model that its author intends, so that the wiring check does not report it."""


class CheckOptions(DeclareGroup):
    """Options of `rnneval check`."""

    seed: int = option(0, seldom=True)
    """Random seed for the ids and for the numbers that stubs emit."""
    text: PathLike | None = option(None, metavar="TEXT", path=True, seldom=True)
    """Text by whose loss the pairs of an ONNX graph are judged that reads one token a call."""


class WiringGroup(DeclareGroup):
    """Options of the wiring check that comes before a run."""

    check: bool = option(True, off="Skip the check of the state wiring; nothing is known of it then.")
    """Check the state wiring first; a fault makes the run not valid."""


class GivenGroup(Options):
    """Keyword arguments of every function of one model and one text."""

    string: str | None = option(None, flag="")
    """Text in memory, in place of files; the record says so."""
    vocabulary: Any = option(None, flag="", unset="the model's own")
    """Vocabulary of the model, as `rnneval.wrap` takes it."""


class CallGroup(Options):
    """Keyword arguments of a run that is called from Python."""

    command: Sequence[str] = option((), flag="")
    """Command to record as the one that repeats the run."""
    progress: Progress | None = option(None, flag="")
    """Function that is called with the work done and the work in all."""


class WorkerGroup(Options, heading="Speed"):
    """Options of work in several processes."""

    jobs: int | None = option(None, metavar="N", least=1)
    """Number of worker processes on this machine."""
    memory: str | None = option(None, metavar="SIZE", unset="an equal share of all", seldom=True)
    """Memory that each worker process may allocate, such as 4GB (Linux)."""
    scheduler: str | None = option(None, metavar="ADDRESS", seldom=True)
    """Address of a Dask scheduler whose workers are used instead."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.scheduler is not None and (self.jobs is not None or self.memory is not None):
            raise UsageError("--scheduler brings its own workers: leave out --jobs and --memory")
        if self.scheduler is not None and find_spec("distributed") is None:
            raise UsageError("distributed is not installed, and --scheduler needs it: pip install 'rnneval[dask]'")


class SweptGroup(WiringGroup, FitGroup, StreamGroup, StateGroup, TextGroup):
    """Options of `rnneval.evaluate` that a sweep passes on to its workers."""

    states: bool = option(
        True, heading="Scores", off="Do not summarize the states of the layers, which takes about a tenth of the time."
    )
    """Summarize the states of every layer, which takes about a tenth of the time."""


class EvaluateOptions(CallGroup, SweptGroup):
    """Options of `rnneval.evaluate`."""

    losses: PathLike | None = option(None, metavar="FILE.parquet", endings=(".parquet",), heading="Output")
    """Parquet file to write, with one row for each scored token."""
    beside_reset: int | None = option(None, metavar="N", least=1, unset="scored once", heading="State")
    """Score the tokens again with the state reset every N tokens, as many training scripts do; show the difference."""

    how_far: bool = option(False, heading="State")
    """Say how far carrying the state helps: --beside-reset 64, unless another N is given."""

    trained_at: int | None = option(None, metavar="N", least=1, unset="unknown", heading="State")
    """Tokens of a training segment: --how-far resets the state there, and marks them in its figure."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.reset_every is not None and self.state == "reset":
            asked = f"{self.reset_by} {self.beside_reset or self.trained_at or ''}".strip()
            said = f"{asked} compares with the carried state, and --state reset carries none"
            raise UsageError(f"{said}: leave one of them out")

    @property
    def reset_by(self) -> str:
        """The option that asks for a second reading."""
        return "--beside-reset" if self.beside_reset else "--trained-at" if self.trained_at else "--how-far"

    @property
    def reset_every(self) -> int | None:
        """The distance of the resets of a second reading; None if there is none."""
        return self.beside_reset or self.trained_at or (_RESET if self.how_far else None)


class ImportOptions(FitGroup, VocabularyGroup, GivenGroup, TextGroup):
    """Options of `rnneval.from_losses`."""

    vocabulary: Any = option(
        None, flag="--vocab", metavar="FILE", path=True, heading="Model", unset="none: the tokens are taken as they are"
    )
    state: str | None = option(None, metavar="carry|reset-N", unset="unknown, so no run compares", heading="State")
    """State handling of the other program: carry through each document, or reset every N tokens."""
    vocabulary_size: int | None = option(None, flag="--vocab-size", metavar="N", least=1, unset="the vocabulary's")
    """Number of tokens that the model of the other program chooses from, for the baseline that guesses."""
    command: Sequence[str] = option((), flag="")
    """Command to record as the one that repeats the run."""


def parse_thresholds(pairs: Sequence[str]) -> dict[str, float]:
    """Read `RULE=NUMBER` pairs."""
    thresholds = {}
    for item in pairs:
        name, _, value = item.partition("=")
        try:
            thresholds[name.strip()] = float(value)
        except ValueError:
            raise UsageError(f"--threshold {item!r}: give RULE=NUMBER, such as dead-units=0.1") from None
    return thresholds


class DiagnosticOptions(GivenGroup, CallGroup, WiringGroup, StreamGroup, TextGroup, heading="Diagnostics"):
    """Options that `rnneval.trace` and `rnneval.gradients` share."""

    thresholds: Mapping[str, float] | None = option(
        None, flag="--threshold", metavar="RULE=VALUE", repeated=True, parse=parse_thresholds
    )
    """Threshold of a rule in place of its default, which rnneval explain RULE shows."""


class TraceOptions(DiagnosticOptions):
    """Options of `rnneval.trace`."""

    out: PathLike | None = option(None, metavar="FILE.parquet", endings=(".parquet",), heading="Output")
    """Parquet file to write: every state and gate at the stride, and time constants."""
    stride: int | None = option(None, metavar="N", least=1, unset="16, more in texts above a million tokens")
    """Tokens from one row of the table to the next."""
    every_token: bool = option(False)
    """Look at the state after every token, also of a model that shows it at the ends of calls: it is then called token
    by token."""
    context: bool = option(False)
    """Measure the loss as a function of the length of the context."""
    lyapunov: bool = option(False)
    """Measure the largest Lyapunov exponent of each layer and of the stack."""
    truncation: int | None = option(None, metavar="N", least=1, unset="unknown")
    """Tokens of a training segment, for findings that compare with it."""


class GradientOptions(DiagnosticOptions):
    """Options of `rnneval.gradients`."""

    truncation: int = option(100, metavar="N", least=1)
    """Tokens of a segment: give what training used."""
    segments: int = option(32, metavar="N", least=1)
    """Number of segments, evenly spread over the text."""
    lags: int = option(200, metavar="N", least=1)
    """Number of tokens to follow gradients back through time."""
    anchors: int = option(64, metavar="N", least=1)
    """Number of tokens from which gradients are followed, evenly spread over the text."""


_DTYPES = ("float64", "float32", "bfloat16", "float16")


class ParityOptions(GivenGroup, CallGroup, WiringGroup, TextGroup, heading="Calls"):
    """Options of `rnneval.parity`."""

    ref_segment: int | None = option(None, metavar="N", least=1, unset="64")
    """Tokens of a call of the reference."""
    cand_segment: int | None = option(None, metavar="N", least=1, unset="that of the reference")
    """Tokens of a call of the candidate."""
    ref_state: str = option("carry", choices=("carry", "reset"), seldom=True)
    """Whether a call of the reference reads the state of the call before, or the initial one."""
    cand_state: str = option("carry", choices=("carry", "reset"), seldom=True)
    """The same of the candidate."""
    ref_dtype: str | None = option(None, choices=_DTYPES, unset="its own")
    """Type to convert the reference to: a module of PyTorch as a whole, else its weights, rounded to half precision."""
    cand_dtype: str | None = option(None, choices=_DTYPES, unset="its own")
    """The same of the candidate."""
    max_kl: float | None = option(None, metavar="X", unset="no difference beyond rounding passes", heading="Limits")
    """Largest mean KL divergence that passes, in nats a token."""
    allow: Pairs = option((), metavar="loss=+X", repeated=True, heading="Limits")
    """Most that the loss may get worse, in nats a token, such as loss=+0.01."""
    seed: int = option(0, seldom=True)
    """Random seed of the wiring check and of the places of restarts."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.max_kl is not None and not 0 < self.max_kl < float("inf"):
            raise UsageError(f"--max-kl {self.max_kl} is not allowed: give nats a token above 0, such as 1e-4")

        if self.allow and self.allowed_loss is None:
            raise UsageError(f"--allow {self.allow!r}: give loss=+X in nats a token, such as loss=+0.01")

    @property
    def allowed_loss(self) -> float | None:
        """The most that the loss may get worse; None without a limit."""
        pairs = self.allow if isinstance(self.allow, Mapping) else dict(each.partition("=")[::2] for each in self.allow)
        try:
            (amount,) = (float(value) for name, value in pairs.items() if name.strip() == "loss" and len(pairs) == 1)
        except (TypeError, ValueError):
            return None
        return amount if math.isfinite(amount) else None


class SweepOptions(CallGroup, SweptGroup, WorkerGroup):
    """Options of `rnneval.sweep`."""

    out: PathLike = field(
        metadata={"option": {"metavar": "FOLDER", "path": True, "heading": "Output"}}
    )  # required: no default
    """Folder for the table and the records; it is made if it is missing."""
    jobs: int | None = option(None, metavar="N", least=1, unset="one per core")
    """Number of worker processes on this machine."""
    opening: Mapping[str, Any] | None = option(None, flag="")
    """Keyword arguments of `rnneval.open`, but for `expect_sha256`."""


R = TypeVar("R")


class UnknownOptionError(UsageError, TypeError):
    """A keyword argument that a function does not have."""


def by_keyword(group: type[Options]) -> Callable[[Callable[..., R]], Callable[..., R]]:
    """Let callers pass the fields of `group` as keywords; the function itself gets one `group` called `options`.

    In the signature and in the docstring, at the line `options: …`, stands an entry for each field.
    """

    def decorate(function: Callable[..., R]) -> Callable[..., R]:
        signature = inspect.signature(function)
        own = [each for each in signature.parameters.values() if each.name != "options"]
        keywords = inspect.signature(group).parameters
        known = {each.name for each in own} | set(keywords)

        @wraps(function)
        def called(*arguments: Any, **given: Any) -> R:
            if unknown := sorted(set(given) - known):
                names, function_name = ", ".join(sorted(keywords)), function.__name__
                opening = "; what rnneval.open takes stands in opening={…}" if "opening" in known else ""
                said = f"{', '.join(unknown)}: not an option of {function_name}; known are {names}{opening}"
                raise UnknownOptionError(said)
            options = group(**{name: given.pop(name) for name in [*given] if name in keywords})
            return function(*arguments, **given, options=options)

        described: Any = called
        described.__signature__ = signature.replace(parameters=[*own, *keywords.values()])
        line = re.compile(r"^( +)options: .*\n", re.MULTILINE)
        described.__doc__ = line.sub(lambda match: "".join(_lines(group, match[1])), function.__doc__ or "", count=1)
        return called

    return decorate


def _lines(group: type, indent: str) -> Iterator[str]:
    """Yield the lines of a docstring that describe the options of a group."""
    options = options_of(group)
    names = {each.flag: each.name for each in options}
    for each in options:
        text = re.sub(r"--[a-z][a-z-]*", lambda flag: f"`{names.get(flag[0], flag[0])}`", each.help)
        if each.choices:
            text += f" One of {', '.join(f'`{choice}`' for choice in each.choices)}."
        if each.unset and each.default is not MISSING:
            text += f" By default: {each.unset}."
        yield fill(f"{each.name}: {text}", 116, initial_indent=indent, subsequent_indent=f"{indent}    ") + "\n"
