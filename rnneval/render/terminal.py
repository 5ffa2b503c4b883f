"""Where tables are printed."""

import sys

from rich.console import Console

_PIPED = 120


def terminal() -> Console:
    """Give standard output: as wide as the terminal is, 120 columns into a pipe; NO_COLOR is respected by rich."""
    width = None if sys.stdout.isatty() else _PIPED
    return Console(file=sys.stdout, highlight=False, width=width)
