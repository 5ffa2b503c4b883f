"""Commands of click, made from functions and the groups of options that they take.

A command is a function whose parameters say what is typed: a `str` is an argument, a `tuple[str, ...]` several, a group
of `rnneval.option.Options` all of its options. Help lists options by group; a shell completes paths; `--config` reads
defaults from a file; every command takes `--seed`.
"""

import inspect
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import MISSING, Field, replace
from types import MappingProxyType
from typing import Annotated, Any, get_args, get_origin

import click
from click.core import ParameterSource

from rnneval.cli.config import CONFIG, read_defaults
from rnneval.errors import UsageError
from rnneval.option import Option, Options, options_of

_WIDEST = 30
_ALL = "rnneval.help_all"
"""Key of a context's `meta` that is true if help shows every option."""
_PATHS = ("FILE", "FOLDER", "TEXT", "RECORD", "BASE")


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
                callback=read_defaults,
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
