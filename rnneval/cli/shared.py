"""Parts that commands share: options and output.

Options are made from the groups of `rnneval.options`, or say what is printed and written. Files are checked before any
work; a result is printed and written; a run has an exit code.
"""

import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import click

from rnneval.cli.command import CONFIG, GroupedOption
from rnneval.cli.terminal import say
from rnneval.errors import RecordError, UsageError

if TYPE_CHECKING:
    from dataclasses import Field

    import pandas as pd

    from rnneval.options import Option
    from rnneval.records import Record, Run
    from rnneval.render.document import Block

F = TypeVar("F", bound=Callable[..., Any])
Places = Mapping[str, str | os.PathLike[str] | Iterable[str | os.PathLike[str]] | None]
ENDINGS = (".json", ".csv", ".md")
"""Endings of the files that `Output.print_and_write` writes."""


def add_options(group: type, argument: str = "options", *, make: type | None = None) -> Callable[[F], F]:
    """Add a click option for each option of a group; the command gets them as one argument.

    Args:
        group: Dataclass of `rnneval.options`.
        argument: Name of the command's argument.
        make: Class of its value, by default the group. It is made before the command runs and refuses bad values.
    """
    from rnneval.options import options_of

    known = [(each, option) for each, option in options_of(group) if option.flag]

    def add(command: F) -> F:
        @wraps(command)
        def gathered(**given: Any) -> Any:
            values = {each.name: _value(each, option, given.pop(each.name)) for each, option in known}
            return command(**given, **{argument: (make or group)(**values)})

        wrapped: Any = gathered
        for each, option in reversed(known):
            wrapped = _click_option(each, option)(wrapped)
        return wrapped  # type: ignore[no-any-return]

    return add


def _click_option(each: "Field[Any]", option: "Option") -> Callable[[F], F]:
    text = option.off or option.help
    shared: dict[str, Any] = {"cls": GroupedOption, "heading": option.heading}
    if isinstance(each.default, bool):
        return click.option(option.flag, each.name, is_flag=True, help=text, **shared)
    kind: Any = str
    if option.choices:
        kind = click.Choice(option.choices)
    elif option.least is not None:
        kind = int
    elif isinstance(each.default, (int, float)):
        kind = type(each.default)
    text += " May be repeated." if option.repeated else ""
    if each.default is MISSING:
        shared["required"] = True
    else:
        default = None if option.repeated else each.default
        text += f" [default: {option.unset or 'none'}]" if default is None else ""
        shared |= {"default": default, "show_default": default is not None}
    return click.option(
        option.flag, each.name, type=kind, metavar=option.metavar, multiple=option.repeated, help=text, **shared
    )


def _value(each: "Field[Any]", option: "Option", given: Any) -> Any:
    """Return the Python value of an option from its value on the command line."""
    if each.default is True:
        return not given
    if given is None or given == ():
        return each.default
    return given if option.parse is None else option.parse(given)


def command_line() -> list[str]:
    """Return the command line of this process, as records hold it."""
    return ["rnneval", *sys.argv[1:]]


def output_options(
    *,
    formats: Sequence[str] = ("table", "json"),
    text: str = "Format of what is printed.",
    out: str | None = "File to write the record to as well, as JSON; only a complete one takes its place.",
    repeated: bool = False,
    quiet: str = "Print no progress and no table; warnings still go to standard error.",
) -> Callable[[F], F]:
    """Add --format (the first is the default), --out and --quiet, which the command gets as one `Output`.

    Args:
        formats: Formats of what is printed.
        text: Help of --format.
        out: Help of --out; None: there is none, or the command adds it.
        repeated: Whether --out may be given several times.
        quiet: Help of --quiet.
    """

    def add(command: F) -> F:
        @wraps(command)
        def gathered(*, form: str, quiet: bool, **given: Any) -> Any:
            files = given.pop("out") if out is not None else None
            files = (files,) if isinstance(files, str) else files or ()
            return command(**given, output=Output(form=form, quiet=quiet, out=files))

        wrapped: Any = quiet_option(quiet)(gathered)
        if out is not None:
            more = " May be repeated. [default: none]" if repeated else " [default: none]"
            wrapped = output_option("--out", metavar="FILE", multiple=repeated, help=out + more)(wrapped)
        kind = click.Choice(formats)
        add_format = output_option("--format", "form", type=kind, default=formats[0], show_default=True, help=text)
        return add_format(wrapped)  # type: ignore[no-any-return]

    return add


def quiet_option(text: str) -> Callable[[F], F]:
    """Add --quiet."""
    return output_option("--quiet", "-q", is_flag=True, help=text)


def output_option(*names: str, **settings: Any) -> Callable[[F], F]:
    """Add an option of click under the heading Output."""
    return click.option(*names, cls=GroupedOption, heading="Output", **settings)


def repeated_option(flag: str, metavar: str, text: str, unset: str = "none") -> Callable[[F], F]:
    """Add an option that may be repeated; `unset` says what happens without it."""
    return click.option(flag, multiple=True, metavar=metavar, help=f"{text} May be repeated. [default: {unset}]")


def unused_seed(command: F) -> F:
    """Add a hidden --seed to a command that draws no random number: every command takes it."""
    return click.option("--seed", type=int, expose_value=False, hidden=True)(command)


def require(condition: object, message: str) -> None:
    """Refuse a use of the command line.

    Raises:
        UsageError: the condition does not hold.
    """
    if not condition:
        raise UsageError(message)


def require_places(outputs: Places, inputs: Places) -> None:
    """Refuse an output file that cannot be written, or that the command also reads, before any work.

    Args:
        outputs: The files by the option that names them; None stands for no file.
        inputs: As `outputs`, in order: of a file that is named twice, the message has the last option.

    Raises:
        RecordError: it is a folder, its folder does not exist, or it may not be written.
        UsageError: it is the same file as an input, the file of --config included, or as another output.
    """
    from rnneval.records.paths import named, require_apart

    written = [each for option, paths in outputs.items() for each in named(option, paths)]
    read = [each for option, paths in inputs.items() for each in named(option, paths)]
    for path in (output.path for output in written):
        folder = Path(path).absolute().parent
        if Path(path).is_dir():
            raise RecordError(f"{path}: cannot be written: it is a folder: name a file in it")
        if not folder.is_dir():
            raise RecordError(f"{path}: cannot be written: its folder is not there: make it first")
        if not os.access(path if os.path.lexists(path) else folder, os.W_OK):
            raise RecordError(f"{path}: cannot be written: Permission denied")
    context = click.get_current_context(silent=True)
    config = named("--config", context.meta.get(CONFIG)) if context is not None else []
    require_apart(written, [*read, *config])


def require_ending(option: str, paths: str | os.PathLike[str] | Iterable[str] | None, *allowed: str) -> None:
    """Refuse a file whose ending promises another format than one of those that can be written.

    A path without an ending (/dev/stdout, a pipe of the shell) is no promise and passes.

    Raises:
        UsageError: an ending is none of the allowed ones; the message names them.
    """
    for path in [paths] if isinstance(paths, str | os.PathLike) else paths or ():
        ending = Path(path).suffix
        if ending and ending.lower() not in allowed:
            known = " or ".join(filter(None, [", ".join(allowed[:-1]), allowed[-1]]))
            raise UsageError(f"{option} {path}: {ending} is not a format of this output: give {known}")


class Tabular(Protocol):
    """A result that is a table as well."""

    def to_frame(self) -> "pd.DataFrame":
        """Return the table."""


@dataclass(frozen=True, kw_only=True)
class Output:
    """Options that say how a result is printed, and to which files it is written."""

    form: str
    quiet: bool
    out: tuple[str, ...]

    def require(self, inputs: Places, *endings: str) -> None:
        """Refuse files that cannot be written, that the command reads, or whose ending is none of these."""
        require_places({"--out": self.out}, inputs)
        require_ending("--out", self.out, *endings)

    def write_and_print(self, record: "Record", document: "Callable[[], Iterable[Block]]") -> None:
        """Write a record to the files, then print it."""
        from rnneval.records import encode, write

        for path in self.out:
            write(record, path)
        self.print(lambda: encode(record), document)

    def print_and_write(self, result: Tabular, encoded: str, document: "Callable[[], Iterable[Block]]") -> None:
        """Print a result, then write it to files, each completely or not at all: it is not lost if a file fails.

        Of the files, `.csv` gets the table of the result, `.md` the document, any other ending the JSON.
        """
        from rnneval.records import write_text

        self.print(lambda: encoded, document)
        for path in self.out:
            text, ending = encoded, Path(path).suffix.lower()
            if ending == ".csv":
                text = str(result.to_frame().to_csv(index=False))
            elif ending == ".md":
                from rnneval.render.markdown import markdown

                text = markdown(document())
            write_text(text, path)

    def print(self, encoded: "Callable[[], str]", document: "Callable[[], Iterable[Block]]") -> None:
        """Print a result: its JSON with the form `json`, else the document, or with `quiet` nothing.

        Warnings of the document go to standard error, whatever the form. The JSON is made only where it is printed: a
        number that is not finite has none, and still has a document.
        """
        from rnneval.render.document import is_warning
        from rnneval.render.terminal import print_document

        blocks = tuple(document())
        if self.form == "json":
            click.echo(encoded(), nl=False)
        elif not self.quiet:
            print_document(block for block in blocks if not is_warning(block))
        for warning in filter(is_warning, blocks):
            say(f"rnneval: {warning.title}: {warning.text}")


def exit_of(run: "Run", *, strict: bool = False) -> int:
    """Return 1 for a run that is not valid, with `strict` also for one with warnings, else 0."""
    return int(not run.valid or (strict and bool(run.warnings)))
