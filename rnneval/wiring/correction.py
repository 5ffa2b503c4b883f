"""The corrected line: the author's own call, with the layer's own state going in and coming out.

Only plain statements are corrected: `x, state = self.gru_2(x, initial_state=state)` and its like.
"""

import ast
import re
from collections.abc import Sequence


def corrected(code: str, path: str, slots: Sequence[str], place: int = 1, *, cell: bool = False) -> str | None:
    """Rewrite the statement so that the unit takes and gives its own state; return None if it is not plain enough.

    Args:
        code: One statement.
        path: How the author reaches the unit, such as `gru_2` or `enc.rnn`.
        slots: The names of the parts of its state.
        place: Which of its places in the call it is: each has a state of its own.
        cell: Whether it is a cell, which gives its states back in the form in which it takes them.

    Example:
        >>> corrected("x, states = self.gru_2(x, initial_state=states)", "gru_2", ["h"])
        'x, gru_2_state = self.gru_2(x, initial_state=gru_2_state)'
        >>> corrected("x, s = self.cell(x, [s1])", "cell", ["h"], cell=True)
        'x, (cell_state,) = self.cell(x, [cell_state])'
    """
    try:
        body = ast.parse(code).body
    except SyntaxError:
        return None
    match body:
        case [ast.Assign(targets=[target], value=ast.Call() as call) as statement]:
            written = ast.unparse(call.func)
        case _:
            return None
    if written != path and not written.endswith(f".{path}"):
        return None
    stem = re.sub(r"\W+", "_", path if place == 1 else f"{path}_{place}").strip("_")
    parts = ["state"] if len(slots) == 1 else [re.sub(r"[^0-9A-Za-z]+", "_", slot) for slot in slots]
    names = [f"{stem}_{part}" for part in parts]
    if not isinstance(target, (ast.Tuple, ast.List)) or len(target.elts) < 2:
        return None
    own, bound = _in_form_of(_given(call), names), [ast.Name(name, ast.Store()) for name in names]
    match target.elts[1:]:
        case [ast.Starred()]:
            own = ast.Name(f"{stem}_states", ast.Load())
            target.elts[1:] = [ast.Starred(ast.Name(own.id, ast.Store()), ast.Store())]
        case [ast.Tuple(elts=[*inner]) | ast.List(elts=[*inner])] if len(inner) == len(names):
            target.elts[1:] = [ast.Tuple([*bound], ast.Store())]
        case rest if len(rest) == len(names):
            nested = cell and isinstance(own, (ast.Tuple, ast.List))
            target.elts[1:] = [ast.Tuple([*bound], ast.Store())] if nested else bound
        case _:
            return None
    _feed(call, own)
    return ast.unparse(ast.fix_missing_locations(statement))


def _given(call: ast.Call) -> ast.expr | None:
    """Return the state that the author passes."""
    keyword = _keyword(call)
    return keyword.value if keyword else call.args[1] if len(call.args) > 1 else None


def _keyword(call: ast.Call) -> ast.keyword | None:
    return next((k for k in call.keywords if k.arg in {"initial_state", "states", "state"}), None)


def _in_form_of(given: ast.expr | None, names: list[str]) -> ast.expr:
    """Return the unit's own state in the form in which the author passes one."""
    loads: list[ast.expr] = [ast.Name(name, ast.Load()) for name in names]
    if isinstance(given, ast.Tuple):
        return ast.Tuple(loads, ast.Load())
    return ast.List(loads, ast.Load()) if isinstance(given, ast.List) or len(names) > 1 else loads[0]


def _feed(call: ast.Call, own: ast.expr) -> None:
    """Pass a state in the place of the author's."""
    keyword = _keyword(call)
    if keyword:
        keyword.value = own
    elif len(call.args) > 1:
        call.args[1] = own
    else:
        call.keywords.insert(0, ast.keyword("initial_state", own))
