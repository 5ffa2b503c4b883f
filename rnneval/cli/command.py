"""Commands of click with options in groups, a file of defaults (`--config`), and paths that a shell completes."""

from collections.abc import Iterable
from typing import Any

import click
from click.core import ParameterSource
from click.shell_completion import CompletionItem
from click.types import StringParamType

from rnneval.errors import UsageError

CONFIG = "rnneval.config"
"""Key of a context's `meta` that holds the path of the file of defaults."""
OTHER = "Options"
"""Heading of options without a group."""
_WIDEST = 30
_PATHS = ("FILE", "FOLDER", "TEXT", "RECORD", "BASE")


class GroupedOption(click.Option):
    """An option that help and docs list under the heading of its group."""

    def __init__(self, *names: Any, heading: str = "", **settings: Any) -> None:
        super().__init__(*names, **settings)
        self.heading = heading or OTHER


class _Path(StringParamType):
    """Text that names a file or a folder, so that a shell completes it."""

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Let the shell complete the path."""
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
        groups = by_heading(self.get_params(ctx))
        records = {
            heading: [record for option in options if (record := option.get_help_record(ctx)) is not None]
            for heading, options in groups.items()
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
            from_file = [
                param
                for param in self.params
                if flag in param.opts and ctx.get_parameter_source(param.name or "") is ParameterSource.DEFAULT_MAP
            ]
            if not from_file:
                raise
            raise UsageError(f"{ctx.meta[CONFIG]}: {error}") from error


def by_heading(params: Iterable[click.Parameter]) -> dict[str, list[click.Option]]:
    """Return the options that are shown by the heading of their group, in order of appearance."""
    found: dict[str, list[click.Option]] = {}
    for param in params:
        if isinstance(param, click.Option) and not param.hidden:
            found.setdefault(getattr(param, "heading", OTHER), []).append(param)
    return found


def _read_defaults(ctx: click.Context, _: click.Parameter, path: str | None) -> None:
    """Put the values of the file in place of the defaults of this command."""
    if path is None or ctx.resilient_parsing:
        return
    from rnneval.cli.config import defaults_of

    ctx.meta[CONFIG] = path
    ctx.default_map = {**(ctx.default_map or {}), **defaults_of(path, ctx)}
