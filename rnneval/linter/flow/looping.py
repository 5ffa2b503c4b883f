"""Loops and comprehensions: two passes, or one for each item of a known tuple of layers."""

import ast
from collections.abc import Callable
from dataclasses import dataclass

from rnneval.linter.flow import expressions
from rnneval.linter.flow.env import Env
from rnneval.linter.flow.machine import Machine
from rnneval.linter.flow.values import (
    NOTHING,
    Const,
    Data,
    Incoming,
    Known,
    Layer,
    Many,
    Method,
    Step,
    Table,
    Value,
    choice,
    options,
    traced,
)
from rnneval.linter.flow.views import cut, data_of, part

MOST_TURNS = 6
MOST_LOOPS_DEEP = 2


class Elements:
    """What a loop runs over: an element for each pass."""

    def __init__(self, machine: Machine, node: ast.expr) -> None:
        self.machine = machine
        self.node = node
        name = _called(machine, node)
        self.role = name if name in ("enumerate", "zip", "reversed", "range", "tqdm", "items", "values") else None
        arguments = node.args if isinstance(node, ast.Call) and self.role in ("enumerate", "zip", "reversed") else []
        self.inner = [Elements(machine, argument) for argument in arguments if not isinstance(argument, ast.Starred)]
        self.value = NOTHING if self.inner else self._evaluate()

    def _evaluate(self) -> Value:
        machine, node = self.machine, self.node
        if isinstance(node, ast.Call) and self.role == "range":
            bounds = [expressions.value_of(machine, argument) for argument in node.args]
            first = bounds[0] if len(bounds) > 1 else Const(0)
            return first if len(bounds) < 3 and isinstance(first, Const) and isinstance(first.value, int) else NOTHING
        if isinstance(node, ast.Call) and self.role == "tqdm" and node.args:
            return expressions.value_of(machine, node.args[0])
        if isinstance(node, ast.Call) and self.role in ("items", "values") and isinstance(node.func, ast.Attribute):
            return expressions.value_of(machine, node.func.value)
        return expressions.value_of(machine, node)

    @property
    def layers(self) -> int:
        """How many passes a known tuple of layers asks for; 0 where none is known."""
        if self.inner:
            return max(inner.layers for inner in self.inner)
        if isinstance(self.value, Many) and any(
            isinstance(option, Layer) for item in self.value.items for option in options(item)
        ):
            return len(self.value.items) + (1 if self.value.open and len(self.value.items) < 2 else 0)
        return 0

    def at(self, loop: int, turn: int) -> Value:
        """Give the element of one pass."""
        running = Step(loop, turn)
        if self.role == "enumerate" and self.inner:
            return Many((running, self.inner[0].at(loop, turn)))
        if self.role == "zip" and self.inner:
            return Many(tuple(inner.at(loop, turn) for inner in self.inner))
        if self.role == "reversed" and self.inner:
            return self.inner[0].from_the_end(loop, turn)
        if self.role == "range":
            return Step(loop, turn, self.value.value) if isinstance(self.value, Const) else NOTHING  # type: ignore[arg-type]
        if self.role in ("items", "values"):
            return self._of_table(turn)
        return self._plain(running)

    def from_the_end(self, loop: int, turn: int) -> Value:
        """Give the element of one pass of `reversed`."""
        if isinstance(self.value, Many) and not self.value.open and turn < len(self.value.items):
            return self.value.items[-1 - turn]
        if isinstance(self.value, Incoming):
            return part(self.machine, self.value, ("from the end", loop, turn))
        return self._plain(Step(loop, turn))

    def _of_table(self, turn: int) -> Value:
        if isinstance(self.value, Table) and turn < len(self.value.items):
            name, value = self.value.items[turn]
            return Many((Const(name), value)) if self.role == "items" else value
        return cut(data_of(self.machine, self.value), ("item", self.node.lineno, turn))

    def _plain(self, running: Step) -> Value:
        if isinstance(self.value, Many | Incoming | Table):
            return part(self.machine, self.value, running)
        if any(isinstance(option, Many | Incoming) for option in options(self.value)):
            return choice(part(self.machine, option, running) for option in options(self.value))
        data = data_of(self.machine, self.value)
        return Data(traced(data.origins, ("item", self.node.lineno, running.turn)), data.passed)


def _called(machine: Machine, node: ast.expr) -> str:
    if not isinstance(node, ast.Call):
        return ""
    if isinstance(node.func, ast.Attribute) and node.func.attr in ("items", "values") and not node.args:
        return node.func.attr
    value = expressions.value_of(machine, node.func, quiet=True)
    return value.name.rpartition(".")[2] if isinstance(value, Known | Method) else ""


def over(machine: Machine, node: ast.expr, bind: Callable[[Value], None], body: Callable[[], None]) -> None:
    """Run a `for` loop."""
    elements = Elements(machine, node)
    turns = min(elements.layers, MOST_TURNS) or 2
    loop = _number(machine)
    _run(machine, Passes(loop, turns, bool(elements.layers)), lambda turn: bind(elements.at(loop, turn)), body)


def again(machine: Machine, body: Callable[[], None]) -> None:
    """Run a `while` loop."""
    _run(machine, Passes(_number(machine), 2, False), lambda _: None, body)


def _number(machine: Machine) -> int:
    machine.loop_count += 1
    return machine.loop_count


@dataclass(frozen=True, slots=True)
class Passes:
    """How often a loop is run, and whether its passes are places in a stack."""

    loop: int
    turns: int
    layers: bool


def _run(machine: Machine, passes: Passes, bind: Callable[[int], None], body: Callable[[], None]) -> None:
    deep = len(machine.loops) >= MOST_LOOPS_DEEP or machine.gives_up()
    outer, base = machine.loops, machine.env
    for turn in range(1 if deep and not passes.layers else passes.turns):
        machine.loops = (*outer, (passes.loop, turn, passes.layers))
        machine.env = Env(base)
        machine.loop_envs.append(base)
        machine.loop_exits.append([])
        start = machine.env
        bind(turn)
        body()
        exits = machine.loop_exits.pop()
        machine.loop_envs.pop()
        machine.env = base
        base.meet([start, *exits])
        if base.dead:
            # Every way out of the pass leaves the function or the loop: what follows is still reached by other passes.
            base.dead = False
            break
    machine.loops = outer


def comprehend(machine: Machine, generators: list[ast.comprehension], element: ast.expr) -> Value:
    """Run a comprehension: a list of what its passes give."""
    items: list[Value] = []
    state = {"open": True}

    def level(depth: int) -> None:
        if depth == len(generators):
            items.append(expressions.value_of(machine, element))
            return
        generator = generators[depth]
        elements = Elements(machine, generator.iter)
        if depth == 0:
            state["open"] = not (elements.layers and not _is_open(elements)) or bool(generator.ifs)
        turns = min(elements.layers, MOST_TURNS) or 2
        loop = _number(machine)

        def bind(turn: int) -> None:
            from rnneval.linter.flow.targets import assign

            assign(machine, generator.target, elements.at(loop, turn), generator.iter)
            for test in generator.ifs:
                expressions.value_of(machine, test, quiet=True)

        _run(machine, Passes(loop, turns, bool(elements.layers)), bind, lambda: level(depth + 1))

    base = machine.env
    machine.env = Env(base)
    level(0)
    machine.env = base
    return Many(tuple(items[:8]), state["open"])


def _is_open(elements: Elements) -> bool:
    if elements.inner:
        return any(_is_open(inner) for inner in elements.inner)
    return isinstance(elements.value, Many) and elements.value.open
