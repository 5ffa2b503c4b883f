"""Commands of click with options in groups, paths that a shell completes, and a file of defaults.

The file of `--config` is TOML, with a section for each command and one for all of them.

    [rnneval]
    vocab-from = "train.txt"

    [evaluate]
    part = "90%:"

It is read only where the command line names it. Its values are checked as if they were typed; a value that is typed
wins. Options that run code are refused: what runs must be seen on the command line.
"""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

import click
from click.core import ParameterSource
from click.shell_completion import CompletionItem
from click.types import StringParamType

from rnneval.cli import commands
from rnneval.errors import UsageError
from rnneval.registry import module, names

CONFIG = "rnneval.config"
"""Key of a context's `meta` that holds the path of the file of defaults."""
SHARED = "rnneval"
"""Section of that file with options for every command that has them."""
RUNS_CODE = frozenset(("builder", "builder-arg", "builder-global", "run-module", "scheduler"))
"""Options that run the user's code, or name a scheduler, whose answers Dask unpickles."""
_MOST_BYTES = 1 << 16
_WIDEST = 30
_PATHS = ("FILE", "FOLDER", "TEXT", "RECORD", "BASE")


class GroupedOption(click.Option):
    """An option that help and docs list under the heading of its group."""

    def __init__(self, *names: Any, heading: str = "", **settings: Any) -> None:
        super().__init__(*names, **settings)
        self.heading = heading


class _Path(StringParamType):
    """Text that names a file or a folder, so that a shell completes it."""

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        return [CompletionItem(incomplete, type="file")]


class Command(click.Command):
    """A command whose help lists its options by group, and whose defaults `--config` can change."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.params.append(
            click.Option(
                ["--config"],
                metavar="FILE.toml",
                is_eager=True,
                expose_value=False,
                callback=_read_defaults,
                help=f"TOML file with defaults of options in a section [{self.name}] or [rnneval]. [default: none]",
            )
        )
        for param in self.params:
            named_by_path = isinstance(param, click.Argument) or any(word in (param.metavar or "") for word in _PATHS)
            if param.type is click.STRING and named_by_path:
                param.type = _Path()

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, a section for each group, all in the same columns."""
        records = {
            heading: [record for option in options if (record := option.get_help_record(ctx)) is not None]
            for heading, options in by_heading(self.get_params(ctx)).items()
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


def by_heading(params: Iterable[click.Parameter]) -> dict[str, list[click.Option]]:
    """Return the options that are shown by the heading of their group, in order of appearance."""
    found: dict[str, list[click.Option]] = {}
    for param in params:
        if isinstance(param, click.Option) and not param.hidden:
            found.setdefault(getattr(param, "heading", "") or "Options", []).append(param)
    return found


def _read_defaults(ctx: click.Context, _: click.Parameter, path: str | None) -> None:
    """Put the values of the file in place of the defaults of this command.

    The whole file is checked, sections of other commands too, but for the values of those.

    Raises:
        UsageError: the file cannot be read, or has a section, key or value that is not allowed; the message names file,
            section and key.
    """
    if path is None or ctx.resilient_parsing:
        return
    tables = _tables(path)
    for section, table in tables.items():
        known = _options_in(section)
        for key in table:
            _require_allowed(path, section, key, known)
    ctx.meta[CONFIG] = path
    own = {_key(option): option for option in _options(ctx.command)}
    found: dict[str, Any] = {}
    for section in (SHARED, ctx.info_name or ""):  # in this order: the command's own section wins
        for key, value in tables.get(section, {}).items():
            if (option := own.get(key)) is not None and option.name is not None:
                found[option.name] = _checked(f"{path}: [{section}] {key}", option, value, ctx)
    ctx.default_map = {**(ctx.default_map or {}), **found}


def _tables(path: str) -> dict[str, dict[str, Any]]:
    """Return the sections; keys are written with `-`."""
    import tomllib

    from rnneval.records.paths import read_regular

    try:
        parsed = tomllib.loads(read_regular(path, _MOST_BYTES).decode("utf-8-sig"))
    except OSError as error:
        raise UsageError(f"--config {path}: cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"--config {path}: is not TOML: {error}") from error
    sections = {SHARED, *names(commands.__name__)}
    found: dict[str, dict[str, Any]] = {}
    for section, table in parsed.items():
        if not isinstance(table, dict):
            raise UsageError(f"{path}: {section}: stands in no section: put it below [evaluate], or below [{SHARED}]")
        if section not in sections:
            known = ", ".join(sorted(sections))
            raise UsageError(f"{path}: [{section}]: no command of this name{_meant(section, sections)}; known: {known}")
        found[section] = {key.replace("_", "-"): value for key, value in table.items()}
        if len(found[section]) < len(table):
            raise UsageError(f"{path}: [{section}]: a key stands there twice, once with - and once with _: keep one")
    return found


def _options_in(section: str) -> frozenset[str]:
    """Return the keys that a section may have."""
    chosen = names(commands.__name__) if section == SHARED else (section,)
    every: Iterable[click.Command] = (module(commands.__name__, name).command for name in chosen)
    return frozenset(_key(option) for command in every for option in _options(command))


def _options(command: click.Command) -> list[click.Option]:
    """Return the options whose defaults a file may change."""
    return [param for param in command.params if isinstance(param, click.Option) and not param.is_eager]


def _key(option: click.Option) -> str:
    """Return the key of an option: its long name without the dashes."""
    return max(option.opts, key=len).removeprefix("--")


def _require_allowed(path: str, section: str, key: str, known: frozenset[str]) -> None:
    if key in RUNS_CODE:
        raise UsageError(f"{path}: [{section}] {key}: runs code, so it is taken from the command line alone: --{key}")
    if key not in known:
        command = "COMMAND" if section == SHARED else section
        meant = _meant(key, known - RUNS_CODE) or f"; rnneval {command} --help lists the options"
        raise UsageError(f"{path}: [{section}] {key}: no such option{meant}")


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
