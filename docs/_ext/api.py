"""The Python reference as Markdown, read from signatures and docstrings. Keras and TensorFlow are not needed."""

import importlib
import inspect
import re
import sys
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from textwrap import fill
from types import ModuleType
from typing import Any

_HEADS = ("Args", "Returns", "Raises", "Yields", "Example", "Examples", "Attributes", "Note")
_SECTION = re.compile(rf"^({'|'.join(_HEADS)}):$")
_NAMED = re.compile(r"^(\*{0,2}[\w., ]+): (.*)$")


class _Anything(type):
    """A class that has every attribute, in place of one of a library that is not loaded."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Anything(name, (), {})


class _Stub(ModuleType):
    """A module of a library that is not loaded."""

    __path__: list[str] = []  # noqa: RUF012 - marks a package

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Anything(name, (), {})


class _Finder:
    """Finds stubs for the libraries that only running a model needs."""

    def find_spec(self, name: str, *_: Any) -> ModuleSpec | None:
        return ModuleSpec(name, self, is_package=True) if name.partition(".")[0] in {"keras", "tensorflow"} else None  # type: ignore[arg-type]

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _Stub(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Leave the module empty."""


def entry(name: str) -> str:
    """Return the section of `package.name` or of `package.Class: member member`."""
    path, _, members = name.partition(":")
    found = _resolved(path.strip())
    parts = [_section(path.strip(), found, "###")]
    parts += [
        _section(f"{path.rsplit('.', 1)[-1]}.{member}", getattr(found, member), "####") for member in members.split()
    ]
    if inspect.ismodule(found):
        own = [each for each in vars(found).values() if inspect.isclass(each) and each.__module__ == found.__name__]
        parts = [f"- **{each.__name__}** ({each.__mro__[1].__name__}): {_flat(inspect.getdoc(each))}" for each in own]
        return "\n".join(parts)
    return "\n\n".join(parts)


def _resolved(path: str) -> Any:
    module, _, name = path.rpartition(".")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError):
        return importlib.import_module(path)


def _section(title: str, found: Any, level: str) -> str:
    text = inspect.getdoc(found) or ""
    begin = getattr(found, "__init__", None) if inspect.isclass(found) else None
    if begin is not None and "Args:" in (inspect.getdoc(begin) or "") and "Args:" not in text:
        text += "\n\n" + (inspect.getdoc(begin) or "").partition("\n\n")[2]
    signature = f"```text\n{_signature(title, found)}\n```\n\n" if callable(found) else ""
    return f"{level} {title}\n\n{signature}{markdown(text)}".rstrip()


def _signature(title: str, found: Any) -> str:
    """Return the call with names and defaults, without types: the text names them."""
    try:
        parameters = [each for each in inspect.signature(found).parameters.values() if each.name not in {"self", "cls"}]
    except ValueError:
        return title
    words: list[str] = []
    for each in parameters:
        if each.kind is each.KEYWORD_ONLY and "*" not in words and not any(w.startswith("*") for w in words):
            words.append("*")
        star = {each.VAR_POSITIONAL: "*", each.VAR_KEYWORD: "**"}.get(each.kind, "")
        default = "" if each.default is each.empty else f"={each.default!r}"
        words.append(f"{star}{each.name}{default if '<' not in default else '=…'}")
    line = f"{title}({', '.join(words)})"
    return (
        line
        if len(line) <= 100
        else f"{title}(\n{fill(', '.join(words), 96, initial_indent='    ', subsequent_indent='    ')}\n)"
    )


def markdown(text: str) -> str:
    """Return a docstring as Markdown: its sections as lists, its examples as code."""
    parts: list[str] = []
    head, lines = "", list[str]()
    for line in [*text.splitlines(), "Note:"]:
        section = _SECTION.match(line)
        if section or (head and line[:1].strip()):
            parts.append(_part(head, lines))
            head, lines = (section[1], []) if section else ("", [line])
        else:
            lines.append(line)
    return "\n\n".join(part for part in parts if part)


def _part(head: str, lines: list[str]) -> str:
    body = inspect.cleandoc("\n".join(["", *lines])).strip()
    if not body:
        return ""
    if head.startswith("Example"):
        code, _, text = body.partition("\n\n") if body[0] == "`" else (body, "", "")
        return f"```python\n{code.strip('`')}\n```\n\n{text}".strip()
    if head in {"Args", "Raises", "Attributes"}:
        return f"**{head}**\n\n" + "\n".join(_items(body))
    text = "\n\n".join(map(_paragraph, re.split(r"\n\n+", body)))
    return f"**{head}**\n\n{text}" if head else text


def _paragraph(text: str) -> str:
    if text.lstrip().startswith(">>>"):
        return f"```python\n{text}\n```"
    return text


def _items(body: str) -> Iterator[str]:
    """Yield a list item for each `name: text`, whose text may go on in indented lines."""
    for item in re.split(r"\n(?=\S)", body):
        flat = " ".join(item.split())
        named = _NAMED.match(flat)
        yield f"- `{named[1]}`: {named[2]}" if named else f"- {flat}"


def _flat(text: str | None) -> str:
    return " ".join((text or "").split("\n\n")[0].split())


if __name__ == "__main__":
    sys.meta_path.insert(0, _Finder())  # type: ignore[arg-type]
    print("\0".join(entry(name) for name in sys.argv[1:]), end="")  # noqa: T201
