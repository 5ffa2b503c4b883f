"""How well `rnneval lint` judges beside the checker, and in foreign code; tests/lint/test_rules.py holds the snippets.

`python benchmarks/lint_corpus.py checker` puts its verdict beside that of `rnneval check` on every model of
tests/wiring/corpus (whose verdicts its own tests hold). `… foreign FOLDER …` lists every finding in other people's
code, to be read and judged by a person. `--out FILE.json` keeps the figures.
"""

import argparse
import ast
import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rnneval.lint.check import LintFinding, check_bytes, check_file
from rnneval.lint.files import discover

TOP = Path(__file__).parent.parent
CORPUS = TOP / "tests" / "wiring" / "corpus"
PARTS = CORPUS / "parts.py"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("what", choices=["checker", "foreign"])
    parser.add_argument("folders", nargs="*")
    parser.add_argument("--out")
    options = parser.parse_args()
    figures = checker_figures() if options.what == "checker" else foreign_figures(options.folders)
    if options.out:
        Path(options.out).write_text(json.dumps(figures, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


@dataclass(frozen=True)
class Judged:
    """One model of the checker's corpus: what it is, and what the linter says."""

    name: str
    right: bool
    rule: str
    declared: bool
    found: tuple[str, ...]


def checker_figures() -> dict[str, list[str]]:
    cases = [case for path in sorted({*CORPUS.glob("*.py")} - {PARTS}) for case in _cases(path)]
    agree = [case for case in cases if case.right != bool(case.found)]
    print(
        f"{len(cases)} models: {sum(case.right for case in cases)} right, {sum(not case.right for case in cases)} wrong"
    )
    print(f"the linter agrees on {len(agree)}\n\n| model | checker | linter |\n| --- | --- | --- |")
    for case in cases:
        if case not in agree:
            checker = ("pass, as declared" if case.declared else "pass") if case.right else f"fail: {case.rule}"
            print(f"| {case.name} | {checker} | {', '.join(case.found) or 'silent'} |")
    caught = Counter(case.rule for case in cases if not case.right and case.found)
    every = Counter(case.rule for case in cases if not case.right)
    print("\n| fault | models | found by the linter |\n| --- | --- | --- |")
    for rule, count in sorted(every.items()):
        print(f"| {rule} | {count} | {caught[rule]} |")
    return {"differ": [case.name for case in cases if case not in agree]}


def _cases(path: Path) -> Iterator[Judged]:
    # The linter reads one file, and no helpers: what the models are made of is put in it, written out.
    source = re.sub(
        r"(?<!def )\b(gru|lstm)_layer\(",
        lambda helper: f"layers.{helper[1].upper()}(return_sequences=True, return_state=True, ",
        PARTS.read_text() + path.read_text(),
    ).encode()
    tree = ast.parse(source)
    findings = check_bytes(str(path), source)
    tops = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    for node in tree.body:
        mark = _mark(node)
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and mark is not None:
            lines = _lines(node, tops)
            found = {f"{finding.code} {finding.rule}" for finding in findings if finding.line in lines}
            rule = str(mark.args[0].value) if mark.args and isinstance(mark.args[0], ast.Constant) else ""
            declared = any(keyword.arg == "declare" for keyword in mark.keywords)
            named = next((ast.literal_eval(word.value) for word in mark.keywords if word.arg == "name"), node.name)
            yield Judged(named, _called(mark) == "right", rule, declared, tuple(sorted(found)))


def _mark(node: ast.stmt) -> ast.Call | None:
    decorators = node.decorator_list if isinstance(node, ast.FunctionDef | ast.ClassDef) else []
    return next(
        (item for item in decorators if isinstance(item, ast.Call) and _called(item) in ("right", "wrong")), None
    )


def _called(node: ast.Call) -> str:
    return node.func.id if isinstance(node.func, ast.Name) else ""


def _lines(node: ast.AST, tops: dict[str, ast.FunctionDef | ast.ClassDef]) -> set[int]:
    """Give the lines of a builder and of all that it uses in its file."""
    seen: set[str] = set()
    lines: set[int] = set()
    todo = [node]
    while todo:
        part = todo.pop()
        lines |= set(range(part.lineno, part.end_lineno + 1))  # type: ignore[attr-defined]
        for inner in ast.walk(part):
            if isinstance(inner, ast.Name) and inner.id in tops and inner.id not in seen:
                seen.add(inner.id)
                todo.append(tops[inner.id])
    return lines


def foreign_figures(folders: list[str]) -> dict[str, object]:
    files = discover(folders)
    lines = sum(Path(file).read_bytes().count(b"\n") for file in files)
    found = [finding for file in files for finding in check_file(file) if finding.code != "RNN000"]
    for finding in found:
        print(f"{_place(finding)}: {finding.code} {finding.message}")
    print(f"\n{len(found)} findings in {len(files):,} files, {lines:,} lines: read each of them")
    return {"files": len(files), "lines": lines, "findings": [f"{_place(finding)} {finding.code}" for finding in found]}


def _place(finding: LintFinding) -> str:
    cell = f"cell {finding.cell}:" if finding.cell is not None else ""
    return f"{finding.path}:{cell}{finding.line}"


if __name__ == "__main__":
    main()
