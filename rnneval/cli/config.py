"""Defaults of options from a file of TOML, with a section for each command and one for all of them.

    [rnneval]
    vocab-from = "train.txt"

    [evaluate]
    part = "90%:"

It is read only where `--config` names it. Its values are checked as if they were typed; a value that is typed wins.
Options that run code are refused: what runs must be seen on the command line.
"""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

import click

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


def read_defaults(ctx: click.Context, _: click.Parameter, path: str | None) -> None:
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
