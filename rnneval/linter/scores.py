"""Scores of language models in a file: what unit each is in, what it was averaged over, and which of that is wrong.

The values are followed by a small interpreter of their own, since these faults stand in training and evaluation
scripts, which need not have a recurrent layer at all. Every function is run once, with unknown arguments; loops are run
once; what differs between two branches is unknown. A `Score` is a number in nats, in bits, or a perplexity; a `Series`
holds several, in a list or as their sum.
"""

import ast
import re
from collections import ChainMap
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any, Literal

from rnneval.linter.finding import within

_POWERS = ("exp(", "exp2(", "pow(", "2 **", "2**", "2.0 **", "log(2")
_WORTH = re.compile(r"exp2?\(|pow\(|2(?:\.0)? ?\*\*|log\(2|LN2|perplex|ppl|compile\(", re.IGNORECASE)
"""What stands in every function that is worth a run by itself; others are run where they are called."""
_LOSSES = ("erplexit", "PPL", "ntropy", "nll", "NLL", "log2")
_SHORT = re.compile(r"(?<![a-z])ppl")


def mentions(text: str) -> bool:
    """Return whether a file's text may hold a score at all: others need no look."""
    power = any(word in text for word in _POWERS)
    return power and (any(word in text for word in _LOSSES) or bool(_SHORT.search(text)))


Kind = Literal["mean-of-perplexities", "mean-of-batch-means", "log2-for-ln"]
FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef

_PERPLEXITY = re.compile(r"perplex|ppl", re.IGNORECASE)
_SCORE_NAME = re.compile(r"perplex|ppl|entropy|bpc|bits", re.IGNORECASE)
_LOSS = re.compile(r"(^|_)(loss|losses|nll|nlls|xent|nats|cross_?entropy)$", re.IGNORECASE)
_INDEPENDENT = re.compile(r"seed|fold|trial|run|repeat|epoch|experiment", re.IGNORECASE)
"""Loops whose passes give results of their own, which may be averaged."""

_MEAN_LOSSES = frozenset({"cross_entropy", "nll_loss", "binary_cross_entropy", "binary_cross_entropy_with_logits"})
_LOSSES_OF_EACH = frozenset({
    "sparse_softmax_cross_entropy_with_logits", "softmax_cross_entropy_with_logits", "categorical_crossentropy",
    "softmax_cross_entropy_with_logits_v2", "sparse_categorical_crossentropy", "binary_crossentropy",
})  # fmt: skip
_OTHER_LOSSES = frozenset({"softmax_cross_entropy", "sparse_softmax_cross_entropy", "sequence_loss"})
_CRITERIA = frozenset({
    "CrossEntropyLoss", "NLLLoss", "SparseCategoricalCrossentropy", "CategoricalCrossentropy", "BinaryCrossentropy",
})  # fmt: skip
_MEANS = frozenset({"mean", "reduce_mean", "average", "nanmean", "fmean", "streaming_mean"})
_SUMS = frozenset({"sum", "reduce_sum", "fsum", "nansum"})
_SAME = frozenset({
    "item", "float", "numpy", "detach", "cpu", "cast", "convert_to_tensor", "stack", "array", "asarray", "tensor",
    "eval", "squeeze", "reshape", "flatten", "view", "tolist", "list", "tuple", "iter", "tqdm", "enumerate", "to",
    "prefetch", "map", "cache", "shuffle", "cat", "concatenate", "concat", "gather", "round", "reversed", "clone",
})  # fmt: skip
_AXES = ("axis", "dim")
_TRAINING = frozenset({"backward", "apply_gradients", "train_on_batch", "minimize"})
_LN2, _LOG2E = 0.6931, 1.4427


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A fault of a score at a node of the tree."""

    kind: Kind
    node: ast.expr
    seen: str
    """The wrong expression, shortened."""
    unit: str
    """The unit of what went in: nats, bits or perplexity."""


@dataclass(frozen=True, slots=True)
class Score:
    """A loss or a perplexity."""

    unit: str
    shape: str = "?"
    """`each` for a number a token or row, `mean` for one of a batch or text, `sum`, `row sums`, `?` if not known."""
    by: Literal["function", "logarithm", "name"] = "name"
    """How the unit is known: by a loss function, a logarithm, or a name only."""
    negative: bool = False
    """Whether it is a logarithm of a probability, and not its negative."""
    mean_of_means: ast.expr | None = None
    """Where means of batches of different size were averaged to get it."""


@dataclass(frozen=True, slots=True)
class Series:
    """Scores of several batches: a list of them, or what a metric object holds; `summed` if only their sum is left."""

    of: Score
    summed: bool = False
    uneven: bool = False
    """Whether each is the mean of a batch, and the last batch may be smaller."""


@dataclass(frozen=True, slots=True)
class Tool:
    """A value that is no score but makes or changes one."""

    kind: str
    """`criterion`, `meter`, `batches` (the last may be smaller), `even` ones, `whole` (a multiple), `ln2`, `log2e`."""
    shape: str = "mean"


Value = Score | Series | Tool | None
_BY_NAME = Tool("by name")
"""Stands for what a name holds that was given an unknown value: only how it reads is known."""


def score_faults(tree: ast.Module, text: str) -> tuple[Fault, ...]:
    """Find the faults of all scores in a file, given as its tree and its text."""
    reader = _Reader(tree, [number for number, line in enumerate(text.split("\n"), 1) if _WORTH.search(line)])
    reader.run(tree.body)
    return tuple(reader.found.values())


class _Reader:
    """Runs a file."""

    def __init__(self, tree: ast.Module, lines: list[int]) -> None:
        self.tree, self.lines = tree, lines
        self.names: ChainMap[str, Value] = ChainMap()
        """Names that hold a score or tool, attributes as `self.name`; None where two branches leave different ones."""
        self.function = ""
        """The function that runs, and what its returns gave."""
        self.returned: list[Value] = []
        self.loops: list[tuple[bool, bool]] = []
        """The loops around: whether they run over batches of different size, and over independent results."""
        self.statement: ast.stmt | None = None
        self.found: dict[tuple[str, int, int], Fault] = {}
        self.functions: ChainMap[str, FunctionNode] = ChainMap(_functions(tree.body, ""))
        self.results: ChainMap[str, Value] = ChainMap()

    @cached_property
    def keras_nats(self) -> bool:
        """The file compiles a model with a cross-entropy."""
        return any(
            "rossentropy" in ast.unparse(loss)
            for node in ast.walk(self.tree)
            if isinstance(node, ast.Call) and _last(node.func) == "compile"
            for loss in [*node.args, *(item.value for item in node.keywords if item.arg == "loss")]
        )

    # Statements

    def run(self, body: Iterable[ast.stmt]) -> None:
        """Run statements in their order."""
        for node in body:
            self.statement = node
            match node:
                case ast.FunctionDef() | ast.AsyncFunctionDef():
                    self.functions[node.name] = node
                    if within(self.lines, node):
                        self.result(node.name)
                case ast.ClassDef() if within(self.lines, node):
                    self._class(node)
                case ast.For() | ast.AsyncFor():
                    self._loop(node, partial(self.run, node.body))
                    self.run(node.orelse)
                case ast.If():
                    self.value(node.test)
                    self._branches(node.body, node.orelse)
                case ast.While() | ast.With() | ast.AsyncWith():
                    self.run(node.body)
                case ast.Try():
                    self.run([*node.body, *node.orelse, *node.finalbody])
                case _:
                    self._simple(node)

    def _simple(self, node: ast.stmt) -> None:
        match node:
            case ast.Return(value=value):
                self.returned.append(self.value(value))
            case ast.Assign(value=value):
                held = self.value(value)
                for target in node.targets:
                    total = None
                    if isinstance(value, ast.BinOp) and "" != _dotted(target) == _dotted(value.left):
                        total = self._added(self.value(value.right), value.op)  # total = total + loss
                    self._bind(target, total or held, value)
            case ast.AnnAssign(target=target, value=ast.expr() as value):
                self._bind(target, self.value(value))
            case ast.AugAssign(target=target, op=op, value=value):
                added = self.value(value)
                self._bind(target, self._added(added, op) or self._computed(self.value(target), op, added))
            case ast.Expr(value=value):
                self.value(value)

    def _class(self, node: ast.ClassDef) -> None:
        """Run a class: first the method that makes its attributes, then the others."""
        outer = self.functions, self.results, self.names
        self.functions = self.functions.new_child(_functions(node.body, "self."))
        self.results, self.names = self.results.new_child(), self.names.new_child()
        methods = [item for item in node.body if isinstance(item, FunctionNode)]
        for method in sorted(methods, key=lambda method: method.name != "__init__"):
            if method.name == "__init__" or within(self.lines, method):
                self.result(f"self.{method.name}")
        self.functions, self.results, self.names = outer

    def result(self, name: str) -> Value:
        """Run a function of the file once; return what all of its returns agree on."""
        if name not in self.results:
            self.results[name] = None  # also where it calls itself
            outer = names, _, _, _, _ = self.names, self.function, self.returned, self.loops, self.statement
            self.names, self.function, self.returned, self.loops = names.new_child(), name, [], []
            self.run(self.functions[name].body)
            inner, returned = self.names.maps[0], self.returned
            self.names, self.function, self.returned, self.loops, self.statement = outer
            if name == "self.__init__":
                names.update({key: held for key, held in inner.items() if key.startswith("self.")})
            self.results[name] = returned[0] if len(set(returned)) == 1 else None
        return self.results[name]

    def _loop(self, loop: ast.For | ast.AsyncFor | ast.comprehension, body: Callable[[], None]) -> None:
        """Bind the target of a loop and run its body once."""
        held = self.value(loop.iter)
        self._bind(loop.target, held.of if isinstance(held, Series) else held if isinstance(held, Score) else None)
        head = f"{ast.unparse(loop.target)} {ast.unparse(loop.iter)}"
        # The mean loss of a loop that changes weights is progress, and no score of one model.
        batches = held == Tool("batches") and not any(
            isinstance(node, ast.Attribute) and node.attr in _TRAINING for node in ast.walk(loop)
        )
        self.loops.append((batches, bool(_INDEPENDENT.search(head))))
        body()
        self.loops.pop()

    def _branches(self, *ways: list[ast.stmt]) -> None:
        """Run the ways of a branch; what they leave different is unknown."""
        before, ends = self.names, []
        for way in ways:
            self.names = before.new_child()
            self.run(way)
            ends.append(self.names)
        self.names = before
        for name in sorted({name for end in ends for name in end.maps[0]}):
            before[name] = _agreed({end.get(name, _BY_NAME) for end in ends})

    def _bind(self, target: ast.expr, value: Value, written: ast.expr | None = None) -> None:
        if isinstance(target, ast.Tuple | ast.List):
            parts: list[ast.expr | None] = [None] * len(target.elts)
            if isinstance(written, ast.Tuple) and len(written.elts) == len(parts):
                parts = [*written.elts]
            for inner, part in zip(target.elts, parts, strict=True):
                self._bind(inner, self.value(part))
            return
        if isinstance(target, ast.Subscript):  # losses[k] = loss
            target, value = target.value, self._series(value)
            if value is None:
                return
        name = _dotted(target)
        if name:
            self.names[name] = _BY_NAME if value is None else value

    # Lists and sums of scores

    def _series(self, value: Value) -> Series | None:
        """Return what a list or sum of such scores, made in the loops around, is."""
        if not isinstance(value, Score) or (self.loops and self.loops[-1][1]):
            return None
        batches = bool(self.loops) and self.loops[-1][0]
        return Series(value, uneven=batches and value.shape == "mean")

    def _added(self, value: Value, op: ast.operator) -> Series | None:
        """Return the sum of `total += value` in a loop."""
        if not self.loops or not isinstance(value, Score) or not isinstance(op, ast.Add | ast.Sub):
            return None
        series = self._series(replace(value, negative=value.negative != isinstance(op, ast.Sub)))
        return None if series is None else replace(series, summed=True)

    # Expressions

    def value(self, node: ast.expr | None) -> Value:
        """Evaluate an expression."""
        if node is None:
            return None
        if handler := _EXPRESSIONS.get(type(node)):
            return handler(self, node)
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.expr):
                self.value(child)
        return None

    def named(self, node: ast.Name | ast.Attribute) -> Value:
        """Look a name or attribute up."""
        stored, last = self.names.get(_dotted(node), _BY_NAME), _last(node)
        if stored is not _BY_NAME:
            return stored
        held = self.value(node.value) if isinstance(node, ast.Attribute) else None
        if isinstance(held, Series) and last in ("avg", "mean"):
            return self._mean(node, held)
        if isinstance(held, Score | Series) and last == "data":
            return held
        # A model's output `.loss` is the mean over its batch, in transformers and elsewhere.
        return Score("nats", "mean" if isinstance(node, ast.Attribute) else "?") if _LOSS.search(last) else None

    def subscript(self, node: ast.Subscript) -> Value:
        """Take an item of a list of scores, or of a dict by a key that names a loss."""
        held = self.value(node.value)
        if isinstance(node.slice, ast.Constant) and isinstance(node.slice.value, str):
            return Score("nats") if _LOSS.search(node.slice.value) else None
        return held

    def signed(self, node: ast.UnaryOp) -> Value:
        """Turn the sign of a score."""
        held = self.value(node.operand)
        if not isinstance(node.op, ast.USub) or not isinstance(held, Score | Series):
            return None
        score = held.of if isinstance(held, Series) else held
        turned = replace(score, negative=not score.negative)
        return replace(held, of=turned) if isinstance(held, Series) else turned

    def comprehension(self, node: ast.ListComp | ast.GeneratorExp) -> Value:
        """Return the scores that a comprehension lists."""
        outer, found = self.names, list[Value]()
        self.names = outer.new_child()

        def level(depth: int) -> None:
            if depth < len(node.generators):
                self._loop(node.generators[depth], partial(level, depth + 1))
            else:
                found.append(self._series(self.value(node.elt)))

        level(0)
        self.names = outer
        return found[0]

    def binary(self, node: ast.BinOp) -> Value:
        """Compute: powers of two, means, and the rest."""
        left, right = self.value(node.left), self.value(node.right)
        if isinstance(node.op, ast.Pow):
            return self._power(node, right, "bits") if _is_number(node.left, 2) and isinstance(right, Score) else None
        if isinstance(node.op, ast.Div) and isinstance(left, Series) and left.summed and not isinstance(right, Tool):
            return self._mean(node, left)
        for held, other in ((left, node.right), (right, node.left)):
            if isinstance(held, Score) and held.shape == "each" and "mask" in ast.unparse(other):
                return held
        return self._computed(left, node.op, right)

    def _computed(self, left: Value, op: ast.operator, right: Value) -> Value:
        held: Value = None
        match op, left, right:
            case ast.Mult(), Tool() | None, Score() | Series():
                held = self._computed(right, op, left)
            case ast.Mult() | ast.Div(), Score() | Series(), Tool("ln2" | "log2e" as kind):
                held = self._converted(left, "bits" if (kind == "ln2") == isinstance(op, ast.Div) else "nats")
            case ast.Div(), None, Tool("ln2"):
                held = Tool("log2e")
            case ast.Div(), Score(shape="sum"), _:
                held = replace(left, shape="mean")
            case ast.Div(), Score(shape="row sums"), _:
                held = replace(left, shape="each")
            case ast.Mult(), Score(), _:
                held = replace(left, shape="sum")
            case ast.FloorDiv() | ast.Mod(), _, _:
                held = Tool("whole")
            case ast.Mult() | ast.Sub(), _, _ if Tool("whole") in (left, right):
                held = Tool("whole")
        return held

    def _converted(self, value: Score | Series, unit: str) -> Value:
        """Convert nats to bits or back."""
        if isinstance(value, Series):
            of = self._converted(value.of, unit)
            return replace(value, of=of) if isinstance(of, Score) else None
        if value.unit in (unit, "perplexity"):
            return None
        if value.mean_of_means is not None:
            self._note("mean-of-batch-means", value.mean_of_means, value)
        return replace(value, unit=unit)

    # Calls

    def call(self, node: ast.Call) -> Value:
        """Call a function, a method, or an object that makes or keeps scores."""
        name, last = _dotted(node.func), _last(node.func)
        owner = self.value(node.func.value) if isinstance(node.func, ast.Attribute) else None
        arguments = [self.value(argument) for argument in node.args]
        written = {item.arg: item.value for item in node.keywords if item.arg}
        for given in written.values():
            self.value(given)
        tool = self.names.get(name, owner)
        held: Value = None
        if name in self.functions:
            held = self.result(name)
        elif isinstance(tool, Tool) and tool.kind == "criterion":
            held = Score("nats", tool.shape, "function")
        elif last in ("append", "update", "update_state", "add") or tool == Tool("meter"):
            self._keep(node, tool, arguments[0] if arguments else None)
        elif last in ("evaluate", "test_on_batch", "train_on_batch"):
            held = Score("nats", "mean", "function" if self.keras_nats else "name")
        elif last == "compile":
            self._metrics(written.get("metrics"))
        elif last == "range":
            held = self._range(node)
        elif isinstance(owner, Series) and last in ("result", "compute"):
            held = self._mean(node, owner)
        elif not (last == "average" and "weights" in written):
            first = owner if owner is not None or not arguments else arguments[0]
            if last == "pow":
                first = arguments[1] if len(arguments) == 2 and _is_number(node.args[0], 2) else None
            held = _made(node, last, written) or self._function(node, last, first)
        return held

    def _function(self, node: ast.Call, last: str, first: Value) -> Value:
        """Return what a well-known function makes of a score."""
        held: Value = None
        if last in ("log", "log2", "log_softmax"):
            held = _logarithm(node, last, first)
        elif last in ("exp2", "pow"):
            held = self._power(node, first, "bits") if isinstance(first, Score) else None
        elif last in _SAME:
            held = first
        elif last == "exp":
            held = self._power(node, first, "nats") if isinstance(first, Score) else None
        elif not isinstance(first, Score | Series):
            held = None
        elif last in _MEANS | _SUMS and isinstance(first, Score) and any(item.arg in _AXES for item in node.keywords):
            held = replace(first, shape="each" if last in _MEANS else "row sums")
        elif last in _MEANS:
            held = self._mean(node, first)
        elif last in _SUMS:
            held = replace(first, summed=True) if isinstance(first, Series) else replace(first, shape="sum")
        return held

    def _power(self, node: ast.expr, value: Score, unit: str) -> Score | None:
        """Return the perplexity that a power of e (for nats) or of 2 (for bits) is."""
        if value.negative or value.shape.endswith(("sum", "sums")) or value.unit == "perplexity":
            return None
        certain = value.by == "function" and value.shape != "each"
        if value.unit != unit and (certain or (value.by != "name" and self._is_about(_SCORE_NAME))):
            self._note("log2-for-ln", node, value)
        if value.mean_of_means is not None:
            self._note("mean-of-batch-means", value.mean_of_means, value)
        return Score("perplexity", value.shape, value.by)

    def _mean(self, node: ast.expr, value: Score | Series) -> Value:
        score = value.of if isinstance(value, Series) else value
        if score.unit == "perplexity":
            if isinstance(value, Series) or value.shape != "mean":
                self._note_perplexities(node, score)
            return None
        uneven = isinstance(value, Series) and value.uneven
        return replace(score, shape="mean", mean_of_means=node if uneven else score.mean_of_means)

    def _keep(self, node: ast.Call, tool: Value, score: Value) -> None:
        """Put a score into a list or a metric object, which may be called like a function."""
        holder = node.func.value if isinstance(node.func, ast.Attribute) else node.func
        if _last(node.func) == "append":
            self._bind(holder, self._series(score))
        elif isinstance(score, Score) and (tool == Tool("meter") or isinstance(tool, Series)):
            if score.unit == "perplexity":
                self._note_perplexities(node, score)
            else:
                weighted = len(node.args) > 1 or bool(node.keywords)
                self._bind(holder, Series(score) if weighted else self._series(score))

    def _metrics(self, node: ast.expr | None) -> None:
        """Look at the functions that Keras averages over the batches."""
        for item in node.elts if isinstance(node, ast.List | ast.Tuple) else []:
            held = self.result(item.id) if isinstance(item, ast.Name) and item.id in self.functions else None
            if isinstance(held, Score) and held.unit == "perplexity":
                self._note_perplexities(item, held)

    def _range(self, node: ast.Call) -> Value:
        """Return batches for `range(0, len(rows), size)`: the last of them may be smaller."""
        if len(node.args) != 3 or _is_number(node.args[2], 1) or self.value(node.args[1]) == Tool("whole"):
            return None
        return Tool("batches") if re.search(r"\blen\(|\.size\(|\.shape\b", ast.unparse(node.args[1])) else None

    # Faults

    def _is_about(self, words: re.Pattern[str]) -> bool:
        """Return whether the statement or the function around it names such a score."""
        statement = "" if self.statement is None else ast.unparse(self.statement)
        return bool(words.search(f"{self.function} {statement}"))

    def _note_perplexities(self, node: ast.expr, score: Score) -> None:
        if score.by == "function" or self._is_about(_PERPLEXITY):
            self._note("mean-of-perplexities", node, score)

    def _note(self, kind: Kind, node: ast.expr, value: Score) -> None:
        text = ast.unparse(node)
        seen = text if len(text) <= 60 else f"{text[:59]}…"
        fault = Fault(kind=kind, node=node, seen=seen, unit=value.unit)
        self.found.setdefault((kind, node.lineno, node.col_offset), fault)


_EXPRESSIONS: dict[type[ast.expr], Callable[[_Reader, Any], Value]] = {
    ast.Name: _Reader.named,
    ast.Attribute: _Reader.named,
    ast.Constant: lambda _, node: _constant(node.value),
    ast.BinOp: _Reader.binary,
    ast.UnaryOp: _Reader.signed,
    ast.Call: _Reader.call,
    ast.ListComp: _Reader.comprehension,
    ast.GeneratorExp: _Reader.comprehension,
    ast.Subscript: _Reader.subscript,
    ast.Lambda: lambda _reader, _node: None,
}


def _made(node: ast.Call, last: str, written: dict[str, ast.expr]) -> Value:
    """Return the loss, criterion, metric object or batches that a call makes."""
    if last in _MEAN_LOSSES or last in _CRITERIA:
        shape = _reduction(written)
        return Tool("criterion", shape) if last in _CRITERIA else Score("nats", shape, "function")
    if last in _LOSSES_OF_EACH or last in _OTHER_LOSSES:
        return Score("nats", "each" if last in _LOSSES_OF_EACH else "?", "function")
    if (last == "Mean" and "metrics" in _dotted(node.func)) or re.fullmatch(r"(Average|Running)\w*|\w*Meter", last):
        return Tool("meter")
    if last == "DataLoader":
        return Tool("batches") if _has_rest(node, written, "drop_last", 1, 8) else Tool("even")
    if last in ("batch", "padded_batch") and isinstance(node.func, ast.Attribute) and node.args:
        return Tool("batches") if _has_rest(node, written, "drop_remainder", 0, 1) else Tool("even")
    return None


def _reduction(written: dict[str, ast.expr]) -> str:
    """Return the shape of a loss by its argument `reduction`."""
    given = written.get("reduction")
    if given is None and not {"reduce", "size_average"} & set(written):
        return "mean"
    word = (ast.unparse(given) if given is not None else "").lower().strip("'\"")
    return {"mean": "mean", "none": "each", "sum": "sum"}.get(word.rpartition(".")[2], "?")


def _has_rest(node: ast.Call, written: dict[str, ast.expr], keyword: str, size_at: int, drop_at: int) -> bool:
    """Return whether batches of more than one row are made, and the last smaller one is kept."""
    size = node.args[size_at] if len(node.args) > size_at else written.get("batch_size")
    drop = node.args[drop_at] if len(node.args) > drop_at else written.get(keyword)
    kept = drop is None or (isinstance(drop, ast.Constant) and not drop.value)
    every = all(item.arg for item in node.keywords)
    return size is not None and not _is_number(size, 1) and kept and every


def _logarithm(node: ast.Call, last: str, first: Value) -> Value:
    argument = node.args[0] if node.args else None
    if isinstance(first, Score) and first.unit == "perplexity":
        return replace(first, unit="bits" if last == "log2" else "nats", by="name")
    if last == "log" and len(node.args) == 1 and _is_number(argument, 2):
        return Tool("ln2")
    if last == "log2" and isinstance(argument, ast.Attribute) and argument.attr == "e":
        return Tool("log2e")
    if len(node.args) > 1 and last == "log":
        return None
    return Score("bits" if last == "log2" else "nats", "each", "logarithm", negative=True)


def _constant(value: object) -> Value:
    for kind, number in (("ln2", _LN2), ("log2e", _LOG2E)):
        if isinstance(value, float) and abs(value - number) < 1e-4:
            return Tool(kind)
    return None


def _agreed(ends: set[Value]) -> Value:
    """Return what a name holds where branches meet: a score that one of them leaves unknown is one by name only."""
    if len(ends) == 1:
        return ends.pop()
    known = [value for value in ends if value is not _BY_NAME]
    return replace(known[0], shape="?", by="name") if len(known) == 1 and isinstance(known[0], Score) else None


def _functions(body: Iterable[ast.stmt], prefix: str) -> dict[str, FunctionNode]:
    return {f"{prefix}{node.name}": node for node in body if isinstance(node, FunctionNode)}


def _is_number(node: ast.expr | None, number: int) -> bool:
    return isinstance(node, ast.Constant) and node.value == number


def _last(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _dotted(node: ast.expr) -> str:
    """Return a name with its attributes, such as `self.loss`; "" for other expressions."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else ""
