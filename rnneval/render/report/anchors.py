"""Anchors: what a link on the page may point to, made of nothing that came out of a file."""


def anchor(*parts: str | int) -> str:
    """Join words and numbers of our own.

    >>> anchor("numbers", 2)
    'numbers-2'
    """
    return "-".join(str(part) for part in parts)
