"""Nothing that is handed in makes the linter raise: valid, invalid and mutilated sources."""

import ast
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rnneval.lint.check import check_bytes
from tests.lint.written import snippets

SOURCES = [snippet.source for snippet in [*snippets("wrong"), *snippets("right")]]
OWN = [path.read_text(encoding="utf-8") for path in Path(ast.__file__).parent.glob("[a-d]*.py")][:20]
PRELUDE = (
    "import tensorflow as tf, torch\nfrom torch import nn\n"
    "g, h, c = tf.keras.layers.GRU(3, return_sequences=True, return_state=True), nn.LSTM(2, 2), nn.GRUCell(2, 2)\n"
    "layers = [g, tf.keras.layers.LSTM(3, return_state=True, return_sequences=True)]\n"
)
RELAXED = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)

NAMES = st.sampled_from(["x", "y", "s", "g", "h", "c", "layers", "states", "i", "self"])


def _combine(inner):
    pairs = st.tuples(inner, inner)
    return st.one_of(
        pairs.map(lambda p: f"({p[0]}, {p[1]})"),
        pairs.map(lambda p: f"[{p[0]}, *[{p[1]}]]"),
        pairs.map(lambda p: f"{p[0]}({p[1]}, initial_state={p[0]})"),
        pairs.map(lambda p: f"g({p[0]}, {p[1]})"),
        pairs.map(lambda p: f"h({p[0]}, ({p[1]}, {p[0]}))"),
        pairs.map(lambda p: f"({p[0]} + {p[1]})"),
        pairs.map(lambda p: f"({p[0]} or {p[1]})"),
        pairs.map(lambda p: f"({p[0]} if {p[1]} is None else {p[1]})"),
        pairs.map(lambda p: f"[{p[0]} for i in {p[1]}]"),
        pairs.map(lambda p: f"{{'a': {p[0]}, **{p[1]}}}"),
        pairs.map(lambda p: f"({p[0]})[{p[1]}]"),
        inner.map(lambda e: f"({e})[:2]"),
        inner.map(lambda e: f"({e})[:, -1]"),
        inner.map(lambda e: f"({e})[-1]"),
        inner.map(lambda e: f"({e}).states"),
        inner.map(lambda e: f"({e}).append({e})"),
        inner.map(lambda e: f"[{e}] * 3"),
        inner.map(lambda e: f"(x := {e})"),
        inner.map(lambda e: f"(lambda *x: {e})"),
        inner.map(lambda e: f"tf.concat([{e}], -1)"),
    )


EXPRESSIONS = st.recursive(
    st.one_of(NAMES, st.sampled_from(["None", "0", "-1", "'a'", "...", "1.5", "()"])), _combine, max_leaves=8
)
TARGETS = st.sampled_from(
    [
        "x",
        "x, s",
        "x, *s",
        "x, (s, y)",
        "[x, s]",
        "s[0]",
        "s[i]",
        "self.s",
        "x, self.s",
        "s[0], y",
        "(x,)",
        "*x, s",
        "s['a']",
    ]
)


def _indented(lines: list[str]) -> str:
    return "".join(f"    {line}\n" for text in lines for line in text.splitlines()) or "    pass\n"


def _nest(inner):
    bodies = st.lists(inner, min_size=1, max_size=3).map(_indented)
    return st.one_of(
        st.tuples(EXPRESSIONS, bodies, bodies).map(lambda p: f"if {p[0]}:\n{p[1]}else:\n{p[2]}"),
        st.tuples(TARGETS, EXPRESSIONS, bodies).map(lambda p: f"for {p[0]} in {p[1]}:\n{p[2]}"),
        st.tuples(EXPRESSIONS, bodies).map(lambda p: f"while {p[0]}:\n{p[1]}    break\n"),
        bodies.map(lambda body: f"try:\n{body}except ValueError as s:\n{body}finally:\n{body}"),
        st.tuples(EXPRESSIONS, bodies).map(lambda p: f"with {p[0]} as s:\n{p[1]}"),
        st.tuples(EXPRESSIONS, bodies).map(
            lambda p: f"def f(self, x, s={p[0]}, *a, i=None, **k):\n{p[1]}    return x, s\n"
        ),
        st.tuples(EXPRESSIONS, bodies).map(lambda p: f"match {p[0]}:\n  case [x, *s]:\n{p[1]}  case _:\n{p[1]}"),
        bodies.map(
            lambda body: (
                "class A(nn.Module):\n  def __init__(self):\n    self.g = g\n"
                f"  def call(self, x, s=None):\n{body}    return x, s\n"
            )
        ),
    )


STATEMENTS = st.recursive(
    st.one_of(
        st.tuples(TARGETS, EXPRESSIONS).map(lambda p: f"{p[0]} = {p[1]}\n"),
        EXPRESSIONS.map(lambda e: f"{e}\n"),
        EXPRESSIONS.map(lambda e: f"s += {e}\n"),
        st.sampled_from(["del s\n", "global x\n", "pass\n", "x: int\n", "x: int = g(x)\n", "import y\n"]),
    ),
    _nest,
    max_leaves=8,
)


@RELAXED
@given(st.lists(STATEMENTS, max_size=6))
def test_generated_programs(statements: list[str]) -> None:
    found = check_bytes("a.py", (PRELUDE + "".join(statements)).encode())
    assert all(finding.line >= 1 and finding.column >= 1 for finding in found)


@RELAXED
@given(st.sampled_from(SOURCES + OWN), st.data())
def test_sources_with_lines_cut_out(source: str, data: st.DataObject) -> None:
    lines = source.split("\n")
    start = data.draw(st.integers(0, len(lines) - 1))
    count = data.draw(st.integers(1, 4))
    cut = "\n".join(lines[:start] + lines[start + count :])
    found = check_bytes("a.py", cut.encode())
    assert all(finding.code == "RNN000" for finding in found) or ast.parse(cut)


@RELAXED
@given(st.sampled_from(SOURCES), st.data())
def test_sources_cut_short_and_spliced(source: str, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(source)))
    other = data.draw(st.sampled_from(SOURCES))
    noise = data.draw(st.text(max_size=6))
    assert isinstance(check_bytes("a.py", (source[:at] + noise + other[at:]).encode("utf-8", "surrogatepass")), tuple)


@RELAXED
@given(st.binary(max_size=300), st.sampled_from(["a.py", "a.ipynb", "a.pyi", "a"]))
def test_any_bytes(content: bytes, path: str) -> None:
    assert isinstance(check_bytes(path, content), tuple)


@RELAXED
@given(
    st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=20), st.sampled_from(SOURCES)),
        lambda inner: st.one_of(
            st.lists(inner, max_size=3),
            st.dictionaries(
                st.sampled_from(["cells", "cell_type", "source", "worksheets", "input", "a"]), inner, max_size=4
            ),
        ),
        max_leaves=10,
    )
)
def test_any_json_as_a_notebook(content: object) -> None:
    import json

    assert isinstance(check_bytes("a.ipynb", json.dumps(content).encode()), tuple)
