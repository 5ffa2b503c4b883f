"""Options that several commands share, as decorators, and the values that they become."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from rnneval.errors import RecordError, UsageError
from rnneval.records.paths import Named, named, named_checkpoint, require_apart

if TYPE_CHECKING:
    from rnneval.models import RecurrentLM

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, kw_only=True)
class CheckpointOptions:
    """How to open a checkpoint."""

    builder: str | None
    builder_arg: tuple[str, ...]
    vocab: str | None
    vocab_from: tuple[str, ...]
    expect_sha256: str | None
    window: int | None
    weight_map: str | None

    def look(self, checkpoint: str) -> None:
        """Refuse what can be refused before TensorFlow is imported."""
        from rnneval.files import preflight

        preflight(checkpoint, has_builder=self.builder is not None, expect_sha256=self.expect_sha256)

    def inputs(self, checkpoint: str | None) -> list[Named]:
        """Return every file that opening the checkpoint reads, a vocabulary beside it included."""
        code = (self.builder or "").rpartition(":")[0]
        found = [
            *named("--builder", code if code.endswith(".py") else None),
            *named("--vocab", self.vocab),
            *named("--vocab-from", self.vocab_from),
            *named("--weight-map", self.weight_map),
        ]
        if checkpoint is not None:
            from rnneval.text import siblings

            found += named_checkpoint("CHECKPOINT", checkpoint)
            found += [] if self.vocab or self.vocab_from else named("the vocabulary", siblings(checkpoint))
        return found

    def open(self, checkpoint: str) -> "RecurrentLM":
        """Open it for evaluation; see `rnneval.open`."""
        from rnneval.models import open as open_checkpoint

        return open_checkpoint(checkpoint, **self._arguments())

    def load_model(self, checkpoint: str) -> Any:
        """Load the model alone, one that cannot be evaluated too."""
        from rnneval.models.opening import load_model

        return load_model(checkpoint, **self._arguments())

    def _arguments(self) -> dict[str, Any]:
        from rnneval.models.builder import parse_arguments

        return {**self.unread(), "builder_arguments": parse_arguments(self.builder_arg)}

    def unread(self) -> dict[str, Any]:
        """Give them for another process, which will read `name=value`: TensorFlow is not imported."""
        return {
            "builder": self.builder,
            "builder_arguments": self.builder_arg,
            "vocabulary": self.vocab,
            "vocabulary_from": self.vocab_from or None,
            "expect_sha256": self.expect_sha256,
            "window": self.window,
            "weight_map": self.weight_map,
        }

    def for_workers(self) -> dict[str, Any]:
        """Give them for processes that open a checkpoint whose hash is known: it need not be expected again."""
        return {name: value for name, value in self.unread().items() if name != "expect_sha256"}


@dataclass(frozen=True, kw_only=True)
class TextChoices:
    """How the text is read."""

    tokens: str | None
    normalize: str
    newlines: str
    unknown: str
    part: str | None
    documents: str

    def as_arguments(self) -> dict[str, Any]:
        """Give them as `rnneval.evaluate` takes them."""
        return {name.name: getattr(self, name.name) for name in fields(self)}


@dataclass(frozen=True, kw_only=True)
class MeasureOptions:
    """How a model is measured on a text."""

    state: str
    segment: int | None
    pad: bool
    streams: str
    kernel: str
    tolerance: float
    seed: int
    fit_on: tuple[str, ...]
    fit_part: str | None
    no_states: bool
    no_check: bool
    declare: tuple[str, ...]

    def as_arguments(self) -> dict[str, Any]:
        """Give them as `rnneval.evaluate` takes them."""
        return {
            "state": self.state,
            "segment": self.segment,
            "pad": self.pad,
            "streams": rows_of(self.streams),
            "kernel": self.kernel,
            "tolerance": self.tolerance,
            "seed": self.seed,
            "fit_on": self.fit_on or None,
            "fit_part": self.fit_part,
            "states": not self.no_states,
            "check": not self.no_check,
            "declare": self.declare,
        }


def rows_of(streams: str) -> int | str:
    """Read `--streams`: a number of rows; what else it may be is the engine's to say."""
    return int(streams) if streams.isdecimal() else streams


_CHECKPOINT = (
    click.option(
        "--builder",
        metavar="FILE.py:NAME|package.module:NAME",
        help="Your own code: what makes the model, or the layers that a whole model asks for. Importing it runs it.",
    ),
    click.option(
        "--builder-arg", multiple=True, metavar="NAME=VALUE", help="What to call the builder with; may be repeated."
    ),
    click.option(
        "--vocab",
        metavar="FILE",
        help="Vocabulary: JSON map or list, one token a line, .npy, tokenizer.json, or a .model of SentencePiece.",
    ),
    click.option(
        "--vocab-from",
        multiple=True,
        metavar="TEXT",
        help="Take the vocabulary from the training text: its sorted distinct characters.",
    ),
    click.option("--expect-sha256", metavar="HEX", help="Refuse a checkpoint with another hash."),
    click.option(
        "--weight-map",
        metavar="FILE.json",
        help="Which weight is which, for a TensorFlow 1 checkpoint that does not say; and its forget_bias.",
    ),
    click.option(
        "--window",
        type=click.IntRange(min=1),
        metavar="N",
        help="Tokens of a window, for a window model whose input does not say it.",
    ),
)
_TEXT = (
    click.option(
        "--tokens",
        type=click.Choice(["char", "byte", "word", "subword"]),
        help="What a token is. [default: as the vocabulary]",
    ),
    click.option(
        "--normalize",
        type=click.Choice(["none", "lower", "nfc"]),
        default="none",
        show_default=True,
        help="Of the text.",
    ),
    click.option(
        "--newlines",
        type=click.Choice(["keep", "lf"]),
        default="keep",
        show_default=True,
        help="lf: CRLF and CR become LF.",
    ),
    click.option(
        "--unknown",
        default="error",
        show_default=True,
        metavar="error|skip|TOKEN",
        help="What becomes of what the vocabulary lacks.",
    ),
    click.option("--part", metavar="SLICE", help="Which characters, as Python slices or in per cents: 90%:"),
    click.option(
        "--documents",
        type=click.Choice(["one", "file", "blank-line"]),
        default="one",
        show_default=True,
        help="Where the state starts anew.",
    ),
)

# Of every command that runs a model along a text.
KERNEL = click.option(
    "--kernel",
    type=click.Choice(["auto", "hoisted", "layers"]),
    default="auto",
    show_default=True,
    help="What runs the recurrent layers; layers: the model's own code, slower.",
)
WIRING_FIRST = (
    click.option("--no-check", is_flag=True, help="Do not look at the wiring first."),
    click.option(
        "--declare",
        multiple=True,
        metavar="causal=false|stateless=LAYER|…",
        help="What you mean on purpose, for the check.",
    ),
)
_MEASURE = (
    click.option(
        "--state",
        type=click.Choice(["carry", "reset"]),
        default="carry",
        show_default=True,
        help="reset: every --segment tokens.",
    ),
    click.option(
        "--segment", type=click.IntRange(min=1), metavar="N", help="Tokens a step; with --state reset, of a state."
    ),
    click.option("--pad", is_flag=True, help="Of a window model, score the tokens before the first whole window, too."),
    click.option(
        "--streams", default="auto", show_default=True, metavar="N|auto", help="Rows side by side; changes no result."
    ),
    KERNEL,
    click.option(
        "--tolerance", default=1e-5, show_default=True, help="When two states count as equal; 0: to the last digit."
    ),
    click.option("--seed", default=0, show_default=True, help="Which row is audited."),
    click.option("--fit-on", multiple=True, metavar="TEXT", help="Training text, on which baselines are fitted."),
    click.option(
        "--fit-part", metavar="SLICE", help="Part of the --fit-on text, as in --part; not what is scored: :90%"
    ),
    click.option("--no-states", is_flag=True, help="Do not sum up the states of the layers."),
    *WIRING_FIRST,
)


def measure_options(command: F) -> F:
    """Add the options of every command that measures a model on a text; they arrive as one argument, `measuring`."""
    return grouped(command, _MEASURE, MeasureOptions, "measuring")


def checkpoint_options(command: F) -> F:
    """Add the options of every command that opens a checkpoint; they arrive as one argument, `opening`."""
    return grouped(command, _CHECKPOINT, CheckpointOptions, "opening")


def text_options(command: F) -> F:
    """Add the options of every command that reads a text; they arrive as one argument, `reading`."""
    return grouped(command, _TEXT, TextChoices, "reading")


def grouped(command: F, options: Sequence[Callable[[Any], Any]], value: type, argument: str) -> F:
    """Add options that arrive as one argument, a value whose fields are named as they are."""
    names = [item.name for item in fields(value)]

    def gathered(**given: Any) -> Any:
        group = value(**{name: given.pop(name) for name in names})
        return command(**given, **{argument: group})

    gathered.__doc__ = command.__doc__
    gathered.__click_params__ = list(getattr(command, "__click_params__", []))  # type: ignore[attr-defined]
    wrapped: Any = gathered
    for option in reversed(options):
        wrapped = option(wrapped)
    return wrapped  # type: ignore[no-any-return]


def format_option(*formats: str) -> Callable[[F], F]:
    """Add --format; the first is the default."""
    choice = click.Choice(formats)
    return click.option(
        "--format", "form", type=choice, default=formats[0], show_default=True, help="Of what is printed."
    )


def output_options(*formats: str) -> Callable[[F], F]:
    """Add --format (the first is the default), --out and --quiet."""

    def add(command: F) -> F:
        for option in (
            click.option("--quiet", "-q", is_flag=True, help="No progress and no table."),
            click.option("--out", metavar="FILE", help="Also write the record there, whole or not at all."),
            format_option(*formats),
        ):
            command = option(command)
        return command

    return add


def require_places(outputs: Sequence[Named], inputs: Sequence[Named]) -> None:
    """Refuse a file to write that cannot be written, or that a command also reads, before the work and not after it.

    Raises:
        RecordError: it is a folder, its folder does not exist, or it may not be written.
        UsageError: it is the same file as an input or as another output.
    """
    for path in (output.path for output in outputs):
        if Path(path).is_dir():
            raise RecordError(f"{path}: cannot be written: it is a folder: name a file in it")
        if not Path(path).absolute().parent.is_dir():
            raise RecordError(f"{path}: cannot be written: its folder is not there: make it first")
        if not os.access(path if os.path.lexists(path) else Path(path).absolute().parent, os.W_OK):
            raise RecordError(f"{path}: cannot be written: Permission denied")
    require_apart(outputs, inputs)


def require(condition: object, message: str) -> None:
    """Refuse a use of the command line.

    Raises:
        UsageError: the condition does not hold.
    """
    if not condition:
        raise UsageError(message)
