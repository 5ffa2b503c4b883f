"""Commands of click, made from functions and the groups of options that they take.

A command is a function whose parameters say what is typed: a `str` is an argument, a `tuple[str, ...]` several, a group
of `rnneval.option.Options` all of its options. Help lists options by group; a shell completes paths; every command
takes `--seed`.
"""

import inspect
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import MISSING, Field, replace
from types import MappingProxyType
from typing import Annotated, Any, get_args, get_origin

import click

from rnneval.option import Option, Options, options_of

_WIDEST = 30
_ALL = "rnneval.help_all"
"""Key of a context's `meta` that is true if help shows every option."""
_PATHS = ("FILE", "FOLDER", "TEXT", "RECORD", "BASE")


class GroupedOption(click.Option):
    """An option of a group, listed under its heading."""

    def __init__(self, item: Field[Any], option: Option) -> None:
        self.item, self.option = item, option
        text = (option.off or option.help) + " May be repeated." * option.repeated
        settings: dict[str, Any] = {"is_flag": True, "help": text}
        if item.type is not bool:
            kinds = tuple(kind for kind in get_args(item.type) or [item.type] if kind is not type(None))
            kind: Any = click.Choice(option.choices) if option.choices else str
            settings = {"type": kinds[0] if kinds in ((int,), (float,)) else kind, "metavar": option.metavar}
            settings |= {"multiple": option.repeated, "required": item.default is MISSING, "help": text}
            if item.default is not MISSING:
                default = None if option.repeated else item.default
                settings |= {"default": default, "show_default": default is not None}
            if item.default in (None, ()) and option.unset:
                settings["help"] += f" [default: {option.unset}]"
        super().__init__([option.flag, *filter(None, [option.short]), item.name], **settings)

    def value(self, typed: Any) -> Any:
        """Return the value in Python of that on the command line."""
        if self.item.default is True:
            return not typed
        if typed is None or typed == ():
            return self.item.default
        return typed if self.option.parse is None else self.option.parse(typed)


class Command(click.Command):
    """A command whose help lists its options by group."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        if not any(param.name == "seed" for param in self.params):  # it draws no random number
            self.params.append(click.Option(["--seed"], type=int, expose_value=False, hidden=True))
        text = "Show all options, also those that are seldom used, and exit."
        switch = {"is_flag": True, "is_eager": True, "expose_value": False}
        self.params.append(click.Option(["--help-all"], callback=_show_all, help=text, **switch))
        for param in self.params:
            named_by_path = isinstance(param, click.Argument) or any(word in (param.metavar or "") for word in _PATHS)
            if param.type is click.STRING and named_by_path:
                param.type = click.Path()  # so that a shell completes it

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, a section for each group, all in the same columns; `--help-all` writes all of them."""
        records = {}
        for heading, options in by_heading(self.get_params(ctx)).items():
            shown = [each for each in options if ctx.meta.get(_ALL) or not _is_seldom(each)]
            if shown:
                records[heading] = list(filter(None, (option.get_help_record(ctx) for option in shown)))
        width = min(_WIDEST, max(len(names) for rows in records.values() for names, _ in rows))
        for heading, rows in records.items():
            with formatter.section(heading):
                formatter.write_dl([(names.ljust(width), text) for names, text in rows], col_max=_WIDEST)


def _is_seldom(option: click.Option) -> bool:
    return isinstance(option, GroupedOption) and option.option.seldom


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

    `Annotated[str, "PATH"]` is an argument of this name; a default makes an argument optional. Only `--help-all` shows
    the fields `seldom`, which this command refuses or ignores; `texts` stand in place of the help of fields.
    """

    def decorate(function: Callable[..., int | None]) -> Command:
        name = function.__module__.rpartition(".")[2].removesuffix("_")
        groups: dict[str, tuple[type[Options], list[GroupedOption]]] = {}
        params: list[click.Parameter] = []
        for each in inspect.signature(function).parameters.values():
            if not (isinstance(each.annotation, type) and issubclass(each.annotation, Options)):
                params.append(_argument(each))
                continue
            options = []
            for item, option in options_of(each.annotation):
                told = replace(option, seldom=option.seldom or item.name in seldom, text=texts.get(item.name, ""))
                options += [GroupedOption(item, told)] if option.flag else []
            groups[each.name] = each.annotation, options
            params += options

        def callback(**typed: Any) -> int | None:
            for argument, (group, options) in groups.items():
                values = {option.item.name: option.value(typed.pop(option.item.name)) for option in options}
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
