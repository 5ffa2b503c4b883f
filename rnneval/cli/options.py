"""Click options: made from the groups of `rnneval.options`, and those of output that commands share."""

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from rnneval.cli.command import CONFIG, GroupedOption
from rnneval.errors import RecordError, UsageError

if TYPE_CHECKING:
    from dataclasses import Field

    from rnneval.options import Option
    from rnneval.records.paths import Named

F = TypeVar("F", bound=Callable[..., Any])


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
        def gathered(**given: Any) -> Any:
            values = {each.name: _value(each, option, given.pop(each.name)) for each, option in known}
            return command(**given, **{argument: (make or group)(**values)})

        gathered.__doc__ = command.__doc__
        gathered.__click_params__ = list(getattr(command, "__click_params__", []))  # type: ignore[attr-defined]
        wrapped: Any = gathered
        for each, option in reversed(known):
            wrapped = _click_option(each, option)(wrapped)
        return wrapped  # type: ignore[no-any-return]

    return add


def _click_option(each: "Field[Any]", option: "Option") -> Callable[[Any], Any]:
    from dataclasses import MISSING

    text = option.off or option.help
    if isinstance(each.default, bool):
        return click.option(option.flag, each.name, cls=GroupedOption, heading=option.heading, is_flag=True, help=text)
    kind: Any = str
    if option.choices:
        kind = click.Choice(option.choices)
    elif option.least is not None:
        kind = int
    elif isinstance(each.default, (int, float)):
        kind = type(each.default)
    required = each.default is MISSING
    default = None if required or option.repeated else each.default
    text += " May be repeated." if option.repeated else ""
    text += f" [default: {option.unset or 'none'}]" if default is None and not required else ""
    return click.option(
        option.flag,
        each.name,
        cls=GroupedOption,
        heading=option.heading,
        type=kind,
        metavar=option.metavar,
        multiple=option.repeated,
        required=required,
        default=default,
        show_default=default is not None,
        help=text,
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


def format_option(*formats: str, text: str = "Format of what is printed.") -> Callable[[F], F]:
    """Add --format; the first is the default."""
    return output_option(
        "--format", "form", type=click.Choice(formats), default=formats[0], show_default=True, help=text
    )


def out_option(
    text: str = "File to write the record to as well, as JSON; only a complete one takes its place.",
    *,
    repeated: bool = False,
) -> Callable[[F], F]:
    """Add --out."""
    text += " May be repeated." if repeated else ""
    return output_option("--out", metavar="FILE", multiple=repeated, help=f"{text} [default: none]")


def quiet_option(text: str = "Print no progress and no table.") -> Callable[[F], F]:
    """Add --quiet."""
    return output_option("--quiet", "-q", is_flag=True, help=text)


def output_option(*names: str, **settings: Any) -> Callable[[F], F]:
    """Add an option of click under the heading Output."""
    return click.option(*names, cls=GroupedOption, heading="Output", **settings)


def repeated_option(flag: str, metavar: str, text: str, unset: str = "none") -> Callable[[F], F]:
    """Add an option that may be repeated; `unset` says what happens without it."""
    return click.option(flag, multiple=True, metavar=metavar, help=f"{text} May be repeated. [default: {unset}]")


def output_options(*formats: str) -> Callable[[F], F]:
    """Add --format (the first is the default), --out and --quiet."""

    def add(command: F) -> F:
        return format_option(*formats)(out_option()(quiet_option()(command)))

    return add


def unused_seed(command: F) -> F:
    """Add a hidden --seed to a command that draws no random number: every command takes it."""
    return click.option("--seed", type=int, expose_value=False, hidden=True)(command)


def require_places(outputs: "Sequence[Named]", inputs: "Sequence[Named]") -> None:
    """Refuse an output file that cannot be written, or that the command also reads, before any work.

    Raises:
        RecordError: it is a folder, its folder does not exist, or it may not be written.
        UsageError: it is the same file as an input or as another output.
    """
    from rnneval.records.paths import require_apart

    for path in (output.path for output in outputs):
        if Path(path).is_dir():
            raise RecordError(f"{path}: cannot be written: it is a folder: name a file in it")
        if not Path(path).absolute().parent.is_dir():
            raise RecordError(f"{path}: cannot be written: its folder is not there: make it first")
        if not os.access(path if os.path.lexists(path) else Path(path).absolute().parent, os.W_OK):
            raise RecordError(f"{path}: cannot be written: Permission denied")
    require_apart(outputs, [*inputs, *config_file()])


def config_file() -> "list[Named]":
    """Return the file that --config names, as an input of the command that runs."""
    from rnneval.records.paths import named

    context = click.get_current_context(silent=True)
    return named("--config", context.meta.get(CONFIG)) if context is not None else []


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


def require(condition: object, message: str) -> None:
    """Refuse a use of the command line.

    Raises:
        UsageError: the condition does not hold.
    """
    if not condition:
        raise UsageError(message)
