"""Commands of click, made from functions and the groups of options that they take.

A command is a function whose parameters say what is typed: a `str` is an argument, a `tuple[str, ...]` several, a group
of `rnneval.option.Options` all of its options. Before it is called, its files are checked.
"""

import inspect
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import MISSING, replace
from typing import Annotated, Any, get_args, get_origin

import click

from rnneval.cli.output import require_places
from rnneval.option import Option, Options, options_of

_WIDEST = 30
_SHORT = {"reference": "ref", "candidate": "cand"}
_ALL = "rnneval.help_all"  # Key of a context's `meta` that is true if help shows every option.


class GroupedOption(click.Option):
    """An option of a group, listed under its heading."""

    def __init__(self, option: Option) -> None:
        self.option = option
        text = (option.off or option.help) + " May be repeated." * option.repeated
        settings: dict[str, Any] = {"is_flag": True}
        if option.kind is not bool:
            numbers = [kind for kind in (int, float) if option.kind in (kind, kind | None)]
            text_or_path = click.Path() if option.path or option.endings else str  # a shell completes paths
            kind: Any = click.Choice(option.choices) if option.choices else (*numbers, text_or_path)[0]
            settings = {"type": kind, "metavar": option.metavar, "multiple": option.repeated}
            settings["required"] = option.default is MISSING
            if option.default is not MISSING:
                default = None if option.repeated else option.default
                settings |= {"default": default, "show_default": default is not None}
            if option.default in (None, ()) and option.unset:
                text += f" [default: {option.unset}]"
        super().__init__([option.flag, *filter(None, [option.short]), _key(option)], help=text, **settings)


class Command(click.Command):
    """A command whose help lists its options by group."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        if not any(param.name == "seed" for param in self.params):  # it draws no random number
            self.params.append(click.Option(["--seed"], type=int, expose_value=False, hidden=True))
        text = "Show all options, also those that are seldom used, and exit."
        switch = {"is_flag": True, "is_eager": True, "expose_value": False}
        self.params.append(click.Option(["--help-all"], callback=_show_all, help=text, **switch))

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, a section for each group, all in the same columns; `--help-all` writes all of them."""
        records = {}
        for heading, options in by_heading(self.get_params(ctx)).items():
            usual = [each for each in options if not (isinstance(each, GroupedOption) and each.option.seldom)]
            if shown := options if ctx.meta.get(_ALL) else usual:
                records[heading] = list(filter(None, (each.get_help_record(ctx) for each in shown)))
        width = min(_WIDEST, max(len(names) for rows in records.values() for names, _ in rows))
        for heading, rows in records.items():
            with formatter.section(heading):
                formatter.write_dl([(names.ljust(width), text) for names, text in rows], col_max=_WIDEST)


def _show_all(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        ctx.meta[_ALL] = True
        click.echo(ctx.get_help())
        ctx.exit()


def by_heading(params: Iterable[click.Parameter]) -> dict[str, list[click.Option]]:
    """Return the options that are shown by the heading of their group, in order of appearance."""
    options: dict[str, list[click.Option]] = {}
    for param in params:
        if isinstance(param, click.Option) and not param.hidden:
            heading = param.option.heading if isinstance(param, GroupedOption) else ""
            options.setdefault(heading or "Options", []).append(param)
    return options


def from_function(
    example: str, cls: type[Command] = Command, *, seldom: Container[str] = ()
) -> Callable[[Callable[..., int | None]], Command]:
    """Make a command of a function, whose module has its name, and whose docstring is its help.

    `Annotated[str, "PATH"]` is an argument of this name; a default makes an argument optional. `Annotated[Group,
    "reference"]` has the options of a group with `--ref-` before their names, "candidate" with `--cand-`. Only
    `--help-all` shows the fields `seldom`, which this command refuses or ignores.
    """

    def decorate(function: Callable[..., int | None]) -> Command:
        name = function.__module__.rpartition(".")[2].removesuffix("_").replace("_", "-")
        groups: dict[str, tuple[type[Options], list[Option]]] = {}
        params: list[click.Parameter] = []
        for each in inspect.signature(function).parameters.values():
            annotated = get_origin(each.annotation) is Annotated
            kind, word = get_args(each.annotation) if annotated else (each.annotation, None)
            if not (isinstance(kind, type) and issubclass(kind, Options)):
                nargs, required = -1 if get_origin(kind) is tuple else 1, each.default is each.empty
                params.append(click.Argument([each.name], required, type=click.Path(), nargs=nargs, metavar=word))
                continue
            known = [_prefixed(one, word) for one in options_of(kind) if one.flag]
            groups[each.name] = kind, known
            params += [GroupedOption(replace(one, seldom=one.seldom or one.name in seldom)) for one in known]

        def callback(**typed: Any) -> int | None:
            _require_files(params, typed)
            values = {param.name: typed[param.name] for param in params if isinstance(param, click.Argument)}
            for argument, (group, options) in groups.items():
                values[argument] = group(**{each.name: _value(each, typed[_key(each)]) for each in options})
            return function(**values)

        help_text = inspect.getdoc(function)
        return cls(name, callback=callback, params=params, help=help_text, epilog=f"Example: rnneval {name} {example}")

    return decorate


def _prefixed(option: Option, prefix: str | None) -> Option:
    """Return an option of a group that a command takes twice: `--ref-builder` of `--builder`, under its own heading."""
    if not prefix:
        return option
    flag, name = f"--{_SHORT[prefix]}-{option.flag.removeprefix('--')}", prefix.capitalize()
    return replace(option, flag=flag, heading=name, seldom=True)


def _require_files(params: Iterable[click.Parameter], typed: Mapping[str, Any]) -> None:
    """Refuse an output that cannot be written, or that the command also reads, before any work."""
    outputs: dict[str, Any] = {}
    inputs: dict[str, Any] = {}
    for param in params:
        value = typed.get(str(param.name))
        if value and isinstance(param, GroupedOption) and param.option.endings:
            outputs[param.option.flag] = value
        elif value and isinstance(param.type, click.Path):
            name = param.human_readable_name if isinstance(param, click.Argument) else param.opts[0]
            inputs[name.split()[0].rstrip(".")] = value
    require_places(outputs, inputs)


def _key(option: Option) -> str:
    """Return the name that click has for an option: a command may have two fields of one name, with other flags."""
    return option.flag.strip("-").replace("-", "_")


def _value(option: Option, typed: Any) -> Any:
    """Return the value in Python of that on the command line."""
    if option.default is True:
        return not typed
    if typed is None or typed == ():
        return option.default
    return typed if option.parse is None else option.parse(typed)
