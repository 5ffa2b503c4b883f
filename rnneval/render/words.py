"""Words that several renderers share."""

from collections.abc import Iterable


def visible(text: str) -> str:
    r"""Show control characters as escapes, so that a name out of a file cannot drive a terminal.

    Example:
        >>> visible("gru\x1b[2J")
        'gru\\x1b[2J'
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def counted(number: int, noun: str) -> str:
    """Give a number and its noun, in the plural where it is one.

    Example:
        >>> counted(1, "token"), counted(111540, "character")
        ('1 token', '111,540 characters')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def listed(things: Iterable[str], most: int = 5) -> str:
    """Give the first few of many, and how many more there are."""
    every = list(things)
    more = len(every) - most
    return ", ".join(every[:most]) + (f" and {more} more" if more > 0 else "")
