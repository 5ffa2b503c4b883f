"""The snippets: text files, a snippet under each `=== name` line, expected findings as `# !RNN001` at the end of their
lines.
"""

import re
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent / "snippets"
_EXPECTED = re.compile(r"#\s*((?:!RNN\d{3}\s*)+)$")


@dataclass(frozen=True)
class Snippet:
    """One source with the findings it must give: pairs of line and code."""

    name: str
    source: str
    expected: tuple[tuple[int, str], ...]


def snippets(kind: str) -> list[Snippet]:
    """Read all snippets of one kind: `wrong` or `right`."""
    return [snippet for path in sorted(FOLDER.glob(f"{kind}*.txt")) for snippet in _of(path)]


def _of(path: Path) -> list[Snippet]:
    parts = re.split(r"^=== (.*)\n", path.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    return [_snippet(f"{path.stem}: {name}", text) for name, text in zip(parts[::2], parts[1::2], strict=True)]


def _snippet(name: str, text: str) -> Snippet:
    expected = []
    for number, line in enumerate(text.splitlines(), 1):
        found = _EXPECTED.search(line)
        if found:
            expected += [(number, code[1:]) for code in found.group(1).split()]
    return Snippet(name, text, tuple(expected))
