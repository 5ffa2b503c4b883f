"""Loops and comprehensions: two passes, or one for each item of a known tuple of layers.

A *turn* is the number of a pass, from 0.
"""

import ast
from collections.abc import Callable

from rnneval.linter.flow.assignment import assign
from rnneval.linter.flow.machine import Env, Machine
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
    alternatives,
    choice,
    cut,
    traced,
)

MOST_TURNS = 6
"""Passes that are run of a loop over layers."""
MOST_LOOPS_DEEP = 2
"""Loops within each other that are run twice; those inside of them are run once."""


class Elements:
    """The iterable of a loop: an element for each pass."""

    def __init__(self, machine: Machine, node: ast.expr) -> None:
        self.machine = machine
        self.node = node
        self.role = _role(machine, node)
        arguments = node.args if isinstance(node, ast.Call) and self.role in ("enumerate", "zip", "reversed") else []
        self.inner = [Elements(machine, argument) for argument in arguments if not isinstance(argument, ast.Starred)]
        self.value = NOTHING if self.inner else self._evaluate()

    def _evaluate(self) -> Value:
        machine, node = self.machine, self.node
        match self.role, node:
            case "range", ast.Call():
                bounds = [machine.value_of(argument) for argument in node.args]
                first = bounds[0] if len(bounds) > 1 else Const(0)
                known = len(bounds) < 3 and isinstance(first, Const) and isinstance(first.value, int)
                return first if known else NOTHING
            case "tqdm", ast.Call(args=[argument, *_]):
                return machine.value_of(argument)
            case "items" | "values", ast.Call(func=ast.Attribute() as func):
                return machine.value_of(func.value)
            case _:
                return machine.value_of(node)

    @property
    def layers(self) -> int:
        """Number of passes that a known tuple of layers asks for; 0 if none is known."""
        if self.inner:
            return max(inner.layers for inner in self.inner)
        if isinstance(self.value, Many) and any(
            isinstance(option, Layer) for item in self.value.items for option in alternatives(item)
        ):
            return len(self.value.items) + (1 if self.value.open and len(self.value.items) < 2 else 0)
        return 0

    @property
    def turns(self) -> int:
        """Number of passes to run."""
        return min(self.layers, MOST_TURNS) or 2

    @property
    def open(self) -> bool:
        """True if there may be more elements than are known."""
        if self.inner:
            return any(inner.open for inner in self.inner)
        return isinstance(self.value, Many) and self.value.open

    def at(self, loop: int, turn: int) -> Value:
        """Return the element of one pass."""
        match self.role, self.inner:
            case "enumerate", [inner, *_]:
                element: Value = Many((Step(loop, turn), inner.at(loop, turn)))
            case "zip", [_, *_]:
                element = Many(tuple(inner.at(loop, turn) for inner in self.inner))
            case "reversed", [inner, *_]:
                element = inner.from_the_end(loop, turn)
            case "range", _:
                start = self.value.value if isinstance(self.value, Const) else None
                element = Step(loop, turn, start) if isinstance(start, int) else NOTHING
            case "items" | "values", _:
                element = self._of_table(turn)
            case _:
                element = self._plain(Step(loop, turn))
        return element

    def _of_table(self, turn: int) -> Value:
        if isinstance(self.value, Table) and turn < len(self.value.items):
            name, value = self.value.items[turn]
            return Many((Const(name), value)) if self.role == "items" else value
        return cut(self.machine.data_of(self.value), ("item", self.node.lineno, turn))

    def from_the_end(self, loop: int, turn: int) -> Value:
        """Return the element of one pass of `reversed`."""
        options = alternatives(self.value)
        if all(isinstance(option, Incoming) or _has(option, turn) for option in options):
            return choice(self.machine.part(option, -1 - turn) for option in options)
        return self._plain(Step(loop, turn))

    def _plain(self, running: Step) -> Value:
        if isinstance(self.value, Many | Incoming | Table):
            return self.machine.part(self.value, running)
        if any(isinstance(option, Many | Incoming) for option in alternatives(self.value)):
            return choice(self.machine.part(option, running) for option in alternatives(self.value))
        data = self.machine.data_of(self.value)
        return Data(traced(data.origins, ("item", self.node.lineno, running.turn)), data.passed)


def _has(value: Value, turn: int) -> bool:
    return isinstance(value, Many) and not value.open and turn < len(value.items)


def _role(machine: Machine, node: ast.expr) -> str | None:
    """Return the function or method that makes the iterable, if it is one that is followed."""
    if not isinstance(node, ast.Call):
        return None
    if isinstance(node.func, ast.Attribute) and node.func.attr in ("items", "values") and not node.args:
        return node.func.attr
    value = machine.value_of(node.func, quiet=True)
    name = value.name.rpartition(".")[2] if isinstance(value, Known | Method) else ""
    return name if name in ("enumerate", "zip", "reversed", "range", "tqdm", "items", "values") else None


def loop_over(machine: Machine, iterable: ast.expr, target: ast.expr, body: Callable[[], None]) -> None:
    """Run a `for` loop."""
    elements = Elements(machine, iterable)
    loop = machine.next_loop()

    def one_pass(turn: int) -> None:
        assign(machine, target, elements.at(loop, turn))
        body()

    _run(machine, loop, elements.turns, bool(elements.layers), one_pass)


def loop_while(machine: Machine, body: Callable[[], None]) -> None:
    """Run a `while` loop."""
    _run(machine, machine.next_loop(), 2, False, lambda _: body())


def _run(machine: Machine, loop: int, turns: int, layers: bool, one_pass: Callable[[int], None]) -> None:
    """Run the passes of a loop; `layers` tells whether they are places in a stack."""
    deep = len(machine.loops) >= MOST_LOOPS_DEEP or machine.out_of_budget()
    outer, base = machine.loops, machine.env
    for turn in range(1 if deep and not layers else turns):
        machine.loops = (*outer, (loop, turn, layers))
        machine.env = start = Env(base)
        machine.loop_envs.append(base)
        machine.loop_exits.append([])
        one_pass(turn)
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
    """Run a comprehension: return a list of what its passes give."""
    items: list[Value] = []
    is_open = True

    def level(depth: int) -> None:
        nonlocal is_open
        if depth == len(generators):
            items.append(machine.value_of(element))
            return
        generator = generators[depth]
        elements = Elements(machine, generator.iter)
        if depth == 0:
            is_open = not (elements.layers and not elements.open) or bool(generator.ifs)
        loop = machine.next_loop()

        def one_pass(turn: int) -> None:
            assign(machine, generator.target, elements.at(loop, turn))
            for test in generator.ifs:
                machine.value_of(test, quiet=True)
            level(depth + 1)

        _run(machine, loop, elements.turns, bool(elements.layers), one_pass)

    base = machine.env
    machine.env = Env(base)
    level(0)
    machine.env = base
    return Many(tuple(items[:8]), is_open)
