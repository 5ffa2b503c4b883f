"""Values of `--builder-arg` and `--builder-global`."""

import ast
from collections.abc import Mapping, Sequence
from typing import Any

from rnneval.errors import UsageError


def parse_arguments(
    pairs: Sequence[str] | Mapping[str, Any], flag: str = "--builder-arg", example: str = "rnn_units=1024"
) -> Mapping[str, Any]:
    """Read `name=value` pairs whose values are Python literals; what is no literal is text. A map stays as it is.

    Example:
        >>> parse_arguments(("rnn_units=1024", "cell=lstm", "dropout=0.1", "sizes=(2, 3)"))
        {'rnn_units': 1024, 'cell': 'lstm', 'dropout': 0.1, 'sizes': (2, 3)}
    """
    if isinstance(pairs, Mapping):
        return pairs
    arguments: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name.isidentifier():
            raise UsageError(f"{flag} {pair!r}: give name=value, such as {example}")
        try:
            arguments[name] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            arguments[name] = value
    return arguments
