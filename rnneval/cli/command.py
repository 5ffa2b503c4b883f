"""Commands of click, made from functions and the groups of options that they take.

A command is a function whose parameters say what is typed: a `str` is an argument, a `tuple[str, ...]` several, a group
of `rnneval.option.Options` all of its options. Help lists options by group; a shell completes paths; every command
takes `--seed`, and `--config`, a file of TOML with defaults of options:

    [rnneval]
    vocab-from = "train.txt"

    [evaluate]
    part = "90%:"

It is read only where `--config` names it. Its values are checked as if they were typed; a value that is typed wins.
Options that run code are refused: what runs must be seen on the command line.
"""

import inspect
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import MISSING, Field, replace
from difflib import get_close_matches
from types import MappingProxyType
from typing import Annotated, Any, get_args, get_origin

import click
from click.core import ParameterSource

from rnneval.cli import commands
from rnneval.errors import UsageError
from rnneval.option import Option, Options, options_of
from rnneval.registry import module, names

_WIDEST = 30
_ALL = "rnneval.help_all"
"""Key of a context's `meta` that is true if help shows every option."""
_PATHS = ("FILE", "FOLDER", "TEXT", "RECORD", "BASE")
CONFIG = "rnneval.config"
"""Key of a context's `meta` that holds the path of the file of defaults."""
SHARED = "rnneval"
"""Section of that file with options for every command that has them."""
RUNS_CODE = frozenset(("builder", "builder-arg", "builder-global", "run-module", "scheduler"))
"""Options that run the user's code, or name a scheduler, whose answers Dask unpickles."""
_MOST_BYTES = 1 << 16


class GroupedOption(click.Option):
    """An option of a group, listed under its heading; its help is read only where it is shown, to save time."""

    def __init__(self, item: Field[Any], option: Option, **settings: Any) -> None:
        super().__init__([option.flag, *filter(None, [option.short]), item.name], **settings)
        self.item, self.option = item, option

    @property
    def help(self) -> str:
        """The text of the field, whether it may be repeated, and what happens without it."""
        text = self.option.off or self.option.help
        text += " May be repeated." if self.option.repeated else ""
        unset = self.item.default in (None, ()) and not self.is_flag
        return f"{text} [default: {self.option.unset}]" if unset and self.option.unset else text

    @help.setter  # noqa: A003 - the property
    def help(self, _: str | None) -> None:
        """Ignore what click sets."""


class Command(click.Command):
    """A command whose help lists its options by group, and whose defaults `--config` can change."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.seldom = {param for param in self.params if isinstance(param, GroupedOption) and param.option.seldom}
        if not any(param.name == "seed" for param in self.params):  # it draws no random number
            self.params.append(click.Option(["--seed"], type=int, expose_value=False, hidden=True))
        self.params.append(
            click.Option(
                ["--config"],
                metavar="FILE.toml",
                is_eager=True,
                expose_value=False,
                callback=_read_defaults,
                help=f"TOML file with defaults of options in a section [{self.name}] or [rnneval].",
            )
        )
        self.params.append(
            click.Option(
                ["--help-all"],
                is_flag=True,
                is_eager=True,
                expose_value=False,
                callback=_show_all,
                help="Show all options, also those that are seldom used, and exit.",
            )
        )
        for param in self.params:
            named_by_path = isinstance(param, click.Argument) or any(word in (param.metavar or "") for word in _PATHS)
            if param.type is click.STRING and named_by_path:
                param.type = click.Path()  # so that a shell completes it

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, a section for each group, all in the same columns; `--help-all` writes all of them."""
        records = {
            heading: [record for option in shown if (record := option.get_help_record(ctx)) is not None]
            for heading, options in by_heading(self.get_params(ctx)).items()
            if (shown := [option for option in options if ctx.meta.get(_ALL) or option not in self.seldom])
        }
        width = min(_WIDEST, max(len(names) for rows in records.values() for names, _ in rows))
        for heading, rows in records.items():
            with formatter.section(heading):
                formatter.write_dl([(names.ljust(width), text) for names, text in rows], col_max=_WIDEST)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; an error about an option whose value is the file's names the file."""
        try:
            return super().invoke(ctx)
        except UsageError as error:
            flag = str(error).partition(" ")[0]
            for param in self.params:
                if flag in param.opts and ctx.get_parameter_source(param.name or "") is ParameterSource.DEFAULT_MAP:
                    raise UsageError(f"{ctx.meta[CONFIG]}: {error}") from error
            raise


def _show_all(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    """Print the help with all options, and end."""
    if wanted and not ctx.resilient_parsing:
        ctx.meta[_ALL] = True
        click.echo(ctx.get_help())
        ctx.exit()


def by_heading(params: Iterable[click.Parameter]) -> dict[str, list[click.Option]]:
    """Return the options that are shown by the heading of their group, in order of appearance."""
    found: dict[str, list[click.Option]] = {}
    for param in params:
        if isinstance(param, click.Option) and not param.hidden:
            heading = param.option.heading if isinstance(param, GroupedOption) else ""
            found.setdefault(heading or "Options", []).append(param)
    return found


def from_function(
    example: str,
    cls: type[Command] = Command,
    *,
    seldom: Container[str] = (),
    texts: Mapping[str, str] = MappingProxyType({}),
) -> Callable[[Callable[..., int | None]], Command]:
    """Make a command of a function, whose module has its name, and whose docstring is its help.

    Its parameters stand in the order of the help. `Annotated[str, "PATH"]` is an argument of this name; a default makes
    an argument optional. A group is made before the function is called, and refuses bad values.

    Args:
        example: Arguments of an example for the help.
        cls: Class of the command.
        seldom: Fields whose options this command refuses or ignores, so that only `--help-all` shows them.
        texts: Help of fields in place of that of their group.
    """

    def decorate(function: Callable[..., int | None]) -> Command:
        name = function.__module__.rpartition(".")[2].removesuffix("_")
        groups: dict[str, type[Options]] = {}
        params: list[click.Parameter] = []
        for each in inspect.signature(function).parameters.values():
            if isinstance(each.annotation, type) and issubclass(each.annotation, Options):
                groups[each.name] = each.annotation
                for item, option in options_of(each.annotation):
                    text, hidden = texts.get(item.name, ""), option.seldom or item.name in seldom
                    params += [_option(item, replace(option, seldom=hidden, text=text))] if option.flag else []
            else:
                params.append(_argument(each))

        def callback(**typed: Any) -> int | None:
            for argument, group in groups.items():
                known = [(item, option) for item, option in options_of(group) if option.flag]
                values = {item.name: _value(item, option, typed.pop(item.name)) for item, option in known}
                typed[argument] = group(**values)
            return function(**typed)

        help_text = inspect.getdoc(function)
        return cls(name, callback=callback, params=params, help=help_text, epilog=f"Example: rnneval {name} {example}")

    return decorate


def _argument(parameter: inspect.Parameter) -> click.Argument:
    kind, metavar = parameter.annotation, None
    if get_origin(kind) is Annotated:
        kind, metavar = get_args(kind)
    several = get_origin(kind) is tuple
    required = parameter.default is inspect.Parameter.empty
    return click.Argument([parameter.name], nargs=-1 if several else 1, required=required, metavar=metavar)


def _option(item: Field[Any], option: Option) -> GroupedOption:
    """Return the option of click for a field of a group."""
    if item.type is bool:
        return GroupedOption(item, option, is_flag=True)
    kinds: tuple[Any, ...] = tuple(kind for kind in get_args(item.type) or [item.type] if kind is not type(None))
    kind = click.Choice(option.choices) if option.choices else kinds[0] if kinds in ((int,), (float,)) else str
    settings: dict[str, Any] = {"required": True}
    if item.default is not MISSING:
        default = None if option.repeated else item.default
        settings = {"default": default, "show_default": default is not None}
    settings |= {"type": kind, "metavar": option.metavar, "multiple": option.repeated}
    return GroupedOption(item, option, **settings)


def _value(item: Field[Any], option: Option, typed: Any) -> Any:
    """Return the value of an option in Python from that on the command line."""
    if item.default is True:
        return not typed
    if typed is None or typed == ():
        return item.default
    return typed if option.parse is None else option.parse(typed)


def _read_defaults(ctx: click.Context, _: click.Parameter, path: str | None) -> None:
    """Put the values of the file in place of the defaults of this command.

    Keys of other commands' sections are checked, too.
    """
    if path is None or ctx.resilient_parsing:
        return
    ctx.meta[CONFIG] = path
    options_of = {name: _options(module(commands.__name__, name).command) for name in names(commands.__name__)}
    every = {key: option for options in options_of.values() for key, option in options.items()}
    own, command, found = _options(ctx.command), ctx.info_name or "", {}
    sections = _sections(path)
    for section in sorted(sections, key=lambda section: section == command):  # the command's own section wins
        if section != SHARED and section not in options_of:
            known = ", ".join(sorted([SHARED, *options_of]))
            raise UsageError(
                f"{path}: [{section}]: no command of this name{_meant(section, options_of)}; known: {known}"
            )
        allowed = every if section == SHARED else options_of[section]
        for key, value in sections[section].items():
            where = f"{path}: [{section}] {key}"
            if key in RUNS_CODE:
                raise UsageError(f"{where}: runs code, so it is taken from the command line alone: --{key}")
            if key not in allowed:
                meant = _meant(key, allowed.keys() - RUNS_CODE)
                help_line = f"; rnneval {'COMMAND' if section == SHARED else section} --help lists the options"
                raise UsageError(f"{where}: no such option{meant or help_line}")
            if section in (SHARED, command) and key in own:
                found[str(own[key].name)] = _checked(where, own[key], value, ctx)
    ctx.default_map = {**(ctx.default_map or {}), **found}


def _sections(path: str) -> dict[str, dict[str, Any]]:
    """Return the sections; keys are written with `-`."""
    import tomllib

    from rnneval.paths import read_regular

    try:
        parsed = tomllib.loads(read_regular(path, _MOST_BYTES).decode("utf-8-sig"))
    except OSError as error:
        raise UsageError(f"--config {path}: cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"--config {path}: is not TOML: {error}") from error
    found: dict[str, dict[str, Any]] = {}
    for section, table in parsed.items():
        if not isinstance(table, dict):
            raise UsageError(f"{path}: {section}: stands in no section: put it below [evaluate], or below [{SHARED}]")
        found[section] = {key.replace("_", "-"): value for key, value in table.items()}
        if len(found[section]) < len(table):
            raise UsageError(f"{path}: [{section}]: a key stands there twice, once with - and once with _: keep one")
    return found


def _options(command: click.Command) -> dict[str, click.Option]:
    """Return the options whose defaults a file may change by their keys: their long names without the dashes."""
    options = [param for param in command.params if isinstance(param, click.Option) and not param.is_eager]
    return {max(option.opts, key=len).removeprefix("--"): option for option in options}


def _meant(word: str, known: Iterable[str]) -> str:
    """Return close matches as the end of a sentence; "" if there are none."""
    close = get_close_matches(word, sorted(known))
    return f"; did you mean {' or '.join(close)}?" if close else ""


def _checked(where: str, option: click.Option, value: Any, ctx: click.Context) -> Any:
    """Return a value as click takes it, after the checks that it makes of a typed one."""
    if option.is_flag:
        if not isinstance(value, bool):
            raise UsageError(f"{where}: {value!r} is not a value of a switch: give true or false")
        return value
    several = value if isinstance(value, list) and option.multiple else [value]
    if any(isinstance(each, bool) or not isinstance(each, str | int | float) for each in several):
        allowed = "text, a number, or a list of them" if option.multiple else "one text or number"
        raise UsageError(f"{where}: {value!r} is not a value of this option: give {allowed}")
    written = [str(each) for each in several] if option.multiple else str(value)
    try:
        option.type_cast_value(ctx, written)
    except click.BadParameter as error:
        raise UsageError(f"{where}: {error.message}") from error
    return written
