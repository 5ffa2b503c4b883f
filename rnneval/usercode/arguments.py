"""Values of `--builder-arg` and `--builder-global`."""

import ast
from collections.abc import Mapping, Sequence
from typing import Any

from rnneval.errors import UsageError


class Settings(dict[str, Any]):
    """A dict whose values can be read as attributes too, as code reads the settings of argparse, wandb or a dataclass.

    Example:
        >>> settings = Settings(units=8)
        >>> settings.units, settings["units"]
        (8, 8)
    """

    def __getattr__(self, name: str) -> Any:
        """Return a value by its name."""
        try:
            return self[name]
        except KeyError:
            known = ", ".join(map(str, self))
            raise AttributeError(f"the settings given have no {name!r}; they have {known}") from None


def parse_arguments(
    pairs: Sequence[str] | Mapping[str, Any], flag: str = "--builder-arg", example: str = "rnn_units=1024"
) -> Mapping[str, Any]:
    """Read `name=value` pairs whose values are Python literals; what is no literal is text. A map stays as it is.

    A value that is a dict becomes `Settings`.

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
            literal = ast.literal_eval(value)
            arguments[name] = Settings(literal) if isinstance(literal, dict) else literal
        except (ValueError, SyntaxError):
            arguments[name] = value
    return arguments
