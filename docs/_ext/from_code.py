"""Parts of the pages that are made from the code, and kept in the pages: a code host shows them, too.

    python docs/_ext/from_code.py

writes them anew between the lines `<!-- from code: NAME -->` and `<!-- end -->` of each page; a test fails if one is
not current. Rules, metrics and records are read as source (`ast`), commands from click; neither TensorFlow nor a model
is needed. `output COMMAND` is what that command prints in `docs/records`, `record FILE` what the command printed that
wrote this file there, and `api NAME` the reference of a Python name.

For Sphinx, this file is an extension: it adds the tables of contents to the index, from the links that stand there.
"""

import ast
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import cache, partial
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from rnneval.cli.command import by_heading
from rnneval.cli.commands.explain import entries
from rnneval.cli.main import rnneval_command
from rnneval.pages import Page
from rnneval.records import json_schema, read, read_run, schema_names
from rnneval.render.document import Block
from rnneval.render.notebook import document_of
from rnneval.render.run_document import trace_document
from rnneval.render.terminal import as_text

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
DOCS = ROOT / "docs"
_RECORDS = ROOT / "docs" / "records"
PLACE = re.compile(r"^<!-- from code: (?P<name>[^\n]+) -->\n.*?^<!-- end -->$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(\]\(|src=\"|srcset=\")(?=reference/|evidence/|_static/|[a-z-]+\.md)")
NO_GUIDES = ("cached-models", "index", "contributing", "security", "changelog")
"""Pages at the top that are no guides."""
_KINDS = {
    "metrics": "metric",
    "baselines": "baseline",
    "rules": "rule",
    "lint rules": "lint rule",
    "loading rules": "loading rule",
    "warnings": "warning",
}
_PAGES = {"rule": "reference/check-rules.md", "lint rule": "reference/lint-rules.md"}
_TRAILING = re.compile(r"^(    \w+: .*?)  # (.+)$", re.MULTILINE)
"""A field of a record with its text at the end of the line, which is read like a string below it."""
_FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def fill(page: str, up: str = "") -> str:
    """Put each part in its place; `up` leads from the folder of the page to that of the docs.

    Raises:
        KeyError: the page asks for a part that does not exist.
    """
    return PLACE.sub(
        lambda place: f"<!-- from code: {place['name']} -->\n\n{part(place['name'], up)}\n\n<!-- end -->", page
    )


def part(name: str, up: str = "") -> str:
    """Return one part, or its `first N lines`; its links are relative to the docs unless `up` leads there."""
    name, _, first = name.partition(", first ")
    kind, _, rest = name.partition(" ")
    with_argument = {"api": api, "output": output, "record": record, "trace": trace, "picture": picture}
    text = with_argument[kind](rest) if kind in with_argument else PARTS[name]()
    if first:
        text = "\n".join([*text.splitlines()[: int(first.split()[0]) + 1], "…", "```"])
    return _LINK.sub(rf"\g<1>{up}", text)


def pages() -> list[Path]:
    """Return every page of the docs."""
    return sorted(path for path in DOCS.rglob("*.md") if not {"changelog.d", "_build"} & set(path.parts))


def current(path: Path) -> str:
    """Return a page with its parts as they are today."""
    return fill(path.read_text(encoding="utf-8"), "../" * (len(path.relative_to(DOCS).parts) - 1))


@cache
def api(names: str) -> str:
    """Return the reference of Python names with commas between them."""
    words = [sys.executable, str(HERE / "api.py"), *(name.strip() for name in names.split(","))]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ran = subprocess.run(words, capture_output=True, text=True, check=True, env=environment)  # noqa: S603 - our own file
    return ran.stdout.replace("\0", "\n\n").strip()


def output(command: str) -> str:
    """Return a command of `rnneval` that needs no TensorFlow, and what it prints in `docs/records`."""
    environment = {**os.environ, "COLUMNS": "100", "NO_COLOR": "1", "PYTHONPATH": str(ROOT)}
    words = [sys.executable, "-m", "rnneval", *shlex.split(command)]
    ran = subprocess.run(  # noqa: S603 - the commands stand in the pages
        words, capture_output=True, text=True, check=False, cwd=_RECORDS, env=environment
    )
    if ran.returncode not in (0, 1, 3) or ran.stderr:
        raise ValueError(f"rnneval {command}: exit code {ran.returncode}: {ran.stderr}")
    return f"```sh\nrnneval {command}\n```\n\n```text\n{ran.stdout.rstrip()}\n```"


def record(name: str) -> str:
    """Return what the command that wrote this record of `docs/records` printed."""
    return _printed(document_of(read(_RECORDS / name)))


def trace(name: str) -> str:
    """Return what `rnneval trace` printed when it wrote this record."""
    return _printed(trace_document(read_run(_RECORDS / name)))


def _printed(document: Iterable[Block]) -> str:
    return f"```text\n{as_text(document, 100).rstrip()}\n```"


def explained(kind: str) -> str:
    """Return every text of `rnneval explain` of one kind, a section each."""
    return "\n\n".join(section(entry) for entry in entries() if entry.kind == kind)


def section(entry: Page) -> str:
    """Return the text of one page, below a heading that other pages can link to."""
    return f"## {_title(entry)}\n\n{demoted(entry.text)}"


def _title(entry: Page) -> str:
    return f"{entry.name} ({entry.code})" if entry.code else entry.name


def anchor(heading: str) -> str:
    """Return the anchor of a heading, as code hosts and MyST make it."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def lint_codes() -> str:
    """Return the codes of the linter, each with a link to its page: among the rules of `check`, or of lint alone."""
    coded = sorted((entry for entry in entries() if entry.code), key=lambda entry: entry.code)
    rows = [
        f"| {entry.code} | [{entry.name}]({_PAGES[entry.kind]}#{anchor(_title(entry))}) | {_cell(entry.summary)} |"
        for entry in coded
    ]
    return "\n".join(["| code | page | fault |", "| --- | --- | --- |", *rows])


def demoted(text: str) -> str:
    """Move every heading outside of code one level down."""
    pieces, end = [], 0
    for code in _FENCED.finditer(text):
        pieces += [re.sub(r"(?m)^#", "##", text[end : code.start()]), code.group()]
        end = code.end()
    return "".join([*pieces, re.sub(r"(?m)^#", "##", text[end:])])


def hostile_files() -> str:
    """Return the table of hostile files, a row for the rules of a family, as `tests/hostile` found them."""
    found = json.loads((ROOT / "docs" / "hostile.json").read_text(encoding="utf-8"))
    families: dict[str, list[Any]] = {}
    for case in found["cases"]:
        families.setdefault(case["rule"].partition("-")[0], []).append(case)
    head = ["| refused by | files | sprang | seen | routes |", "| --- | ---: | ---: | --- | --- |"]
    used = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    sprang = sum(bool(case["fired"]) for case in found["cases"])
    count = f"{sprang} of {len(found['cases'])} traps sprang, with {used}:"
    return "\n".join([count, "", *head, *map(_family, families.values())])


def _family(cases: list[Any]) -> str:
    """Return a row of the table of hostile files; of several sizes of memory it names the largest."""
    rules = ", ".join(dict.fromkeys(_rule(case["rule"]) for case in cases))
    routes = ", ".join(sorted({route for case in cases for route in case["routes"]}))
    fired = [case["fired"] for case in cases if case["fired"]]
    grown = max((int(size) for text in fired for size in re.findall(r"memory grew by (\d+) MB", text)), default=0)
    seen = dict.fromkeys(f"memory grew by {grown} MB" if "memory grew" in text else text for text in fired)
    return f"| {rules} | {len(cases)} | {len(fired)} | {_cell('; '.join(seen))} | {routes} |"


def _rule(name: str) -> str:
    return f"[{name}](reference/loading-rules.md#{name})" if name else "opens; nothing happens"


def commands() -> str:
    """Return every command with its example, its arguments and its options."""
    # With the settings of the real thing: a command remembers the first help option that it is asked for.
    context = click.Context(rnneval_command, info_name="rnneval", **rnneval_command.context_settings)
    found = [(name, rnneval_command.get_command(context, name)) for name in rnneval_command.list_commands(context)]
    return "\n\n".join(_command(name, command, context) for name, command in found if command is not None)


def _command(name: str, command: click.Command, parent: click.Context) -> str:
    context = click.Context(command, info_name=name, parent=parent)
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    example = (command.epilog or "").removeprefix("Example: ")
    groups = by_heading(command.params).items()
    options = [f"**{heading}**\n\n" + "\n".join(map(_option, group)) for heading, group in groups]
    parts = [
        f"## {context.command_path}",
        _paragraphs(command.help or ""),
        f"```sh\n{example}\n```" if example else "",
        f"Usage: `{usage}`",
        *options,
    ]
    return "\n\n".join(part for part in parts if part).rstrip()


def _option(option: click.Option) -> str:
    names = ", ".join(f"`{name}`" for name in sorted(option.opts, key=len, reverse=True))
    choices = "|".join(option.type.choices) if isinstance(option.type, click.Choice) else option.metavar or ""
    plain = "" if option.is_flag else f" `{choices or option.type.name.upper()}`"
    said = _with_code(option.help or "What is printed.")
    default = f" Default: `{option.default}`." if option.show_default and option.default is not None else ""
    return f"- {names}{plain}: {said}{default}"


def _paragraphs(text: str) -> str:
    return "\n\n".join(_with_code(" ".join(paragraph.split())) for paragraph in text.split("\n\n"))


def _with_code(text: str) -> str:
    """Mark options in plain text of the terminal as code."""
    return re.sub(r"(?<![`\w-])--[a-z][a-z-]*", r"`\g<0>`", text)


def schemas() -> str:
    """Return the JSON Schema of every record, as it is generated."""
    return "\n\n".join(
        f"## {name}\n\n```json\n{json.dumps(json_schema(name), indent=2)}\n```" for name in schema_names()
    )


def records() -> str:
    """Return every record of `rnneval/records/` with the keys of its values, in the order of the schemas."""
    of_schema: dict[str, list[ast.ClassDef]] = {}
    for path in (ROOT / "rnneval" / "records").glob("[!_]*.py"):
        values: list[ast.ClassDef] = []
        for node in ast.parse(_TRAILING.sub(r'\1\n    """\2 """', path.read_text(encoding="utf-8"))).body:
            values += [node] if isinstance(node, ast.ClassDef) else []
            if values and (tag := _tag(values[-1])) and tag not in of_schema:
                of_schema[tag], values = [values[-1], *values[:-1]], []  # the record itself first
    return "\n\n".join(map(_record, (of_schema[schema] for schema in schema_names())))


def _tag(node: ast.ClassDef) -> str:
    return next((ast.literal_eval(word.value) for word in node.keywords if word.arg == "tag"), "")


def _record(classes: list[ast.ClassDef]) -> str:
    """Return a record and its values, the record first."""
    about = {node.name: _cell(ast.get_docstring(node) or "") for node in classes}
    head = f"## {classes[0].name}\n\nSchema `{_tag(classes[0])}`."
    return "\n\n".join([head, *(_value(node, about) for node in classes)])


def _value(node: ast.ClassDef, about: dict[str, str]) -> str:
    """Return a table of one value's keys."""
    rows = [f"| `{key}` | `{kind}` | {said} |" for key, kind, said in _keys(node, about)]
    head = f"### {node.name}\n\n{ast.get_docstring(node) or ''}"
    return "\n".join([head, "", "| key | type | meaning |", "| --- | --- | --- |", *rows]) if rows else head


def _keys(node: ast.ClassDef, about: dict[str, str]) -> Iterator[tuple[str, str, str]]:
    """Yield key, type and meaning; a key that has no text of its own says what its type is."""
    if tag := _tag(node):
        yield "schema", "str", f"Always `{tag}`."
    for place, item in enumerate(node.body):
        if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
            after = node.body[place + 1] if place + 1 < len(node.body) else None
            kind, optional = _kind(item)
            said = _cell(_string(after)) or about.get(kind, "")
            yield _name(item.target.id, item.value), kind, f"*Optional.* {said}".rstrip() if optional else said


def _name(attribute: str, default: ast.expr | None) -> str:
    """Return the key in JSON: the attribute, unless `msgspec.field(name=…)` gives another."""
    words = default.keywords if isinstance(default, ast.Call) else []
    return next((ast.literal_eval(word.value) for word in words if word.arg == "name"), attribute)


def _kind(item: ast.AnnAssign) -> tuple[str, bool]:
    """Return the type as a reader of JSON needs it, without bounds; and whether the key may be absent."""
    plain = re.sub(r"Annotated\[(\w+), .*?\)\]", r"\1", ast.unparse(item.annotation))
    plain = re.sub(r"tuple\[([^\[\]]+), \.\.\.\]", r"list[\1]", plain)
    for ours, json_name in (("Count", "int"), ("Sha256", "str")):
        plain = re.sub(rf"\b{ours}\b", json_name, plain)
    return _cell(plain.removesuffix(" | None")), plain.endswith(" | None")


def _string(node: ast.stmt | None) -> str:
    match node:
        case ast.Expr(value=ast.Constant(value=str(text))):
            return text
    return ""


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", r"\|")


def figures(part: str = "gallery", *name: str) -> str:
    """Return the gallery; its file is beside this one, also where this one is loaded by its path."""
    sys.path[:0] = [str(HERE)] if str(HERE) not in sys.path else []
    gallery: Any = import_module("gallery")
    return str(getattr(gallery, part)(*name))


def picture(name: str) -> str:
    """Return one picture of the gallery."""
    return figures("picture", name)


def speed() -> str:
    """Return the table of the page of speed; its file lies beside this one."""
    sys.path[:0] = [str(HERE)] if str(HERE) not in sys.path else []
    made: Any = import_module("speed_tables")
    return str(made.backends())


PARTS: dict[str, Callable[[], str]] = {
    **{name: partial(explained, kind) for name, kind in _KINDS.items()},
    "lint codes": lint_codes,
    "commands": commands,
    "hostile files": hostile_files,
    "schemas": schemas,
    "records": records,
    "figures": figures,
    "speed backends": speed,
}


def contents(index: str) -> str:
    """Return the tables of contents of Sphinx: the pages to which each section of the index links."""
    found, known = [], set[str]()
    for title, body in re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", index, re.MULTILINE | re.DOTALL):
        names = dict.fromkeys(re.findall(r"\]\(([\w/-]+)\.md\)", body))
        own = [name for name in names if name not in known and name != "index"]
        known |= {*own}
        if own:
            found.append("\n".join(["```{toctree}", f":caption: {title}", ":hidden:", "", *own, "```"]))
    return "\n\n".join(found)


def setup(app: Any) -> dict[str, bool]:
    """Register with Sphinx."""

    def adapted(_app: Any, page: str, content: list[str]) -> None:
        content[0] = _themed(content[0])
        if page == "index":
            content[0] += f"\n{contents(content[0])}\n"

    app.connect("source-read", adapted)
    return {"parallel_read_safe": True}


def _themed(page: str) -> str:
    """Show pictures in the look of the theme, which need not be that of the system."""
    images = r'<picture>\n<source [^>]*srcset="([^"]+)">\n<img src="([^"]+)"(.*?)>\n</picture>'
    light_and_dark = r'<div><img class="only-light" src="\2"\3><img class="only-dark" src="\1"\3></div>'
    return re.sub(images, light_and_dark, page)


if __name__ == "__main__":
    for each in pages():
        each.write_text(current(each), encoding="utf-8")
