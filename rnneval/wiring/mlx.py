"""Calls that mlx-lm makes of a model, each compared with the same prompt alone.

`batch_generate` and the server of mlx-lm merge the caches of several prompts, pad shorter ones on the right, and let
rows leave and join a running batch. In each test, rows are read in one of these ways, and every row must give the
logits that it gives alone, for three tokens after its prompt:

```text
prompts     20, 7 and 12 tokens          later tokens
alone       call(20)                     call(1)  call(1)  call(1)     of each row
ragged      prepare, call(3 × 20),       call(3 × 1)  …                logits (3, 3, V)
            finalize
```
"""

import copy
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from msgspec import structs
from numpy.typing import NDArray

from rnneval.errors import failure_of
from rnneval.models.mlx import MlxStep
from rnneval.models.step import StepLM
from rnneval.records.wiring import TestResult, Wiring
from rnneval.wiring.behaviour import ordinary_ids
from rnneval.wiring.difference import ASSUMED_NOISE, HALF_TYPES, Limits, Logits, context_spread, differences, result_of
from rnneval.wiring.evidence import Detection
from rnneval.wiring.facts import Spot
from rnneval.wiring.faults import CALL_TESTS
from rnneval.wiring.judging import errors_first, finding_of, verdict_of
from rnneval.wiring.step import check as check_step

_LENGTHS = (20, 7, 12)
_EQUAL = (9, 9, 9)
_LATER = 3  # tokens that are read after each prompt, one a call
_PIECE = 5  # tokens of a call that reads a part of each prompt
_TIMES = 20.0  # outputs of a module must differ by so many times as much as its inputs
_SMALLEST = 1e-5  # a smaller difference of inputs, relative to their size, is rounding
Caches = list[Any]
Prompts = Sequence[list[int]]


class RowsReader:
    """Reads several prompts and the tokens after them, as mlx-lm does."""

    def __init__(self, step: MlxStep, width: int, seed: int) -> None:
        self.step = step
        texts = ordinary_ids(width, (len(_LENGTHS), max(_LENGTHS) + _LATER), [seed, 5])
        self.texts: list[list[int]] = [[*map(int, row)] for row in texts]

    def prompts(self, lengths: Sequence[int]) -> Prompts:
        """Return the first tokens of each text."""
        return [text[:length] for text, length in zip(self.texts, lengths, strict=True)]

    def later(self, row: int) -> list[int]:
        """Return the tokens that are read after the prompt of a row."""
        return self.texts[row][-_LATER:]

    def alone(self, prompt: list[int]) -> Caches:
        """Return the caches after one prompt."""
        caches = self.step.caches()
        self.step.read([prompt], caches)
        return caches

    def batch(self, prompts: Prompts) -> Caches:
        """Return the caches after several prompts in one call."""
        caches = merged([self.step.caches() for _ in prompts])
        self.read_on(caches, prompts)
        return caches

    def read_on(self, caches: Caches, pieces: Prompts) -> None:
        """Read a piece of each row in one call, shorter ones padded on the right."""
        import mlx.core as mx

        lengths = [*map(len, pieces)]
        padding = [max(lengths) - length for length in lengths]
        if any(padding):
            for cache in caches:
                cache.prepare(lengths=lengths, right_padding=padding)
        self.step.read([[*piece, *[0] * pads] for piece, pads in zip(pieces, padding, strict=True)], caches)
        if any(padding):
            for cache in caches:
                cache.finalize()
            mx.eval([cache.state for cache in caches])

    def decoded(self, caches: Caches, rows: Sequence[int]) -> Logits:
        """Return the logits `(rows, tokens, V)` of the later tokens of these rows, one token a call."""
        pieces = [[[self.later(row)[at]] for row in rows] for at in range(_LATER)]
        return np.concatenate([self.step.read(ids, caches) for ids in pieces], axis=1).astype(np.float64)

    def apart(self, caches: Sequence[Caches], rows: Sequence[int]) -> Logits:
        """Return the same of rows with caches of their own."""
        return np.concatenate([self.decoded(each, [row]) for each, row in zip(caches, rows, strict=True)])

    @cached_property
    def spread(self) -> float:
        """How far logits move with the context."""
        return context_spread(self.step.read([self.texts[0]], self.step.caches()).astype(np.float64))


def merged(caches: Sequence[Caches]) -> Caches:
    """Return the caches of several rows as those of one batch."""
    return [layer[0].merge(list(layer)) for layer in zip(*caches, strict=True)]


class RowsTest(NamedTuple):
    """A way to read rows, and the lengths of their prompts."""

    read: Callable[[RowsReader, Prompts], Logits]
    words: str
    lengths: Sequence[int] = _LENGTHS
    rows: Sequence[int] = (0, 1, 2)  # those whose logits are given


def _ragged(reader: RowsReader, prompts: Prompts) -> Logits:
    return reader.decoded(reader.batch(prompts), range(len(prompts)))


def _in_pieces(reader: RowsReader, prompts: Prompts) -> Logits:
    """Read prompts in several calls; a row that has been read leaves the batch in a copy."""
    import mlx.core as mx

    caches, rows, read = merged([reader.step.caches() for _ in prompts]), [*range(len(prompts))], 0
    ends: dict[int, Caches] = {}
    while rows:
        reader.read_on(caches, [prompts[row][read : read + _PIECE] for row in rows])
        read += _PIECE
        for at, row in enumerate(rows):
            if len(prompts[row]) <= read:
                ends[row] = copy.deepcopy(caches)
                for cache in ends[row]:
                    cache.filter(mx.array([at]))
        staying = [at for at, row in enumerate(rows) if row not in ends]
        rows = [rows[at] for at in staying]
        if rows:
            for cache in caches:
                cache.filter(mx.array(staying))
    return reader.apart([ends[row] for row in range(len(prompts))], range(len(prompts)))


def _merge(reader: RowsReader, prompts: Prompts) -> Logits:
    return reader.decoded(merged([reader.alone(prompt) for prompt in prompts]), range(len(prompts)))


def _extract(reader: RowsReader, prompts: Prompts) -> Logits:
    batch = merged([reader.alone(prompt) for prompt in prompts])
    rows = range(len(prompts))
    return reader.apart([[cache.extract(row) for cache in batch] for row in rows], rows)


def _filter(reader: RowsReader, prompts: Prompts) -> Logits:
    import mlx.core as mx

    batch = merged([reader.alone(prompt) for prompt in prompts])
    for cache in batch:
        cache.filter(mx.array([0, 2]))
    return reader.decoded(batch, (0, 2))


def _extend(reader: RowsReader, prompts: Prompts) -> Logits:
    running, joining = (merged([reader.alone(each) for each in part]) for part in (prompts[:1], prompts[1:]))
    for cache, other in zip(running, joining, strict=True):
        cache.extend(other)
    return reader.decoded(running, range(len(prompts)))


def _save(reader: RowsReader, prompts: Prompts) -> Logits:
    from mlx_lm.models.cache import load_prompt_cache, save_prompt_cache

    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "cache.safetensors")
        save_prompt_cache(path, reader.alone(prompts[0]))
        return reader.apart([load_prompt_cache(path)], (0,))


def _trim(reader: RowsReader, prompts: Prompts) -> Logits:
    from mlx_lm.models.cache import can_trim_prompt_cache, trim_prompt_cache

    caches = reader.alone(prompts[0])
    if can_trim_prompt_cache(caches):  # where it cannot, mlx-lm reads the prompt anew
        reader.step.read([prompts[1]], caches)
        trim_prompt_cache(caches, len(prompts[1]))
    return reader.apart([caches], (0,))


TESTS = {
    "equal": RowsTest(_ragged, "rows of one length in one batch", _EQUAL),
    "ragged": RowsTest(_ragged, "shorter rows padded on the right beside a longer one"),
    "pieces": RowsTest(_in_pieces, f"rows in calls of {_PIECE} tokens, which each leaves at its end"),
    "merge": RowsTest(_merge, "rows that were read alone and merged"),
    "extract": RowsTest(_extract, "rows taken out of a batch by cache.extract()"),
    "filter": RowsTest(_filter, "rows that stay in a batch after cache.filter()", rows=(0, 2)),
    "extend": RowsTest(_extend, "rows that join a running batch by cache.extend()"),
    "save": RowsTest(_save, "a row whose cache was saved to a file and loaded", rows=(0,)),
    "trim": RowsTest(_trim, "a row after another text that cache.trim() took back", rows=(0,)),
}
"""The ways to read rows, by the keys of their results in a record."""


def check(lm: StepLM, *, declare: Iterable[str] = (), seed: int = 0) -> Wiring:
    """Test the behaviour of a model of mlx-lm, and the calls that its runtime makes."""
    wiring = check_step(lm, declare=declare, seed=seed)
    step: Any = lm.function.step
    reader = RowsReader(step, lm.width, seed)
    results, findings, doubts, script = {}, list(wiring.findings), [], None
    if wiring.verdict == "inconclusive":
        doubts.append(wiring.reason)
    for key, test in TESTS.items():
        result, row = _result(reader, test)
        results[key] = result
        if result.verdict == "inconclusive":
            doubts.append(f"{test.words}: {result.detail}")
        elif result.verdict == "fail" and not (key == "pieces" and results["ragged"].verdict == "fail"):
            module = _module(reader, test, row)
            where = f"; {module} is the first module whose inputs agree and whose outputs do not" if module else ""
            sentence = f"{test.words[0].upper()}{test.words[1:]}: {result.detail}{where}"
            findings.append(finding_of(CALL_TESTS[key], Detection(sentence=sentence, at=Spot(layer=module))))
            script = script or _script(lm, reader, test, row)
    agreeing = sum(result.verdict == "pass" for result in results.values())
    reason = f"{wiring.reason}; {agreeing} ways of mlx-lm to read several rows give what each row gives alone"
    verdict, reason = verdict_of(findings, doubts, reason)
    tests = {**wiring.oracles, **results}
    return structs.replace(
        wiring, verdict=verdict, reason=reason, findings=errors_first(findings), oracles=tests, script=script
    )


def _result(reader: RowsReader, test: RowsTest) -> tuple[TestResult, int]:
    """Return the result of a test, and the row that differs most."""
    half = reader.step.half
    limits = Limits.of_noise(5 * HALF_TYPES[half] if half else ASSUMED_NOISE, half=half)
    prompts = reader.prompts(test.lengths)
    try:
        wanted = reader.apart([reader.alone(prompts[row]) for row in test.rows], test.rows)
        seen = test.read(reader, prompts)
    except Exception as error:  # a cache without a method, or a model that fails in a batch
        detail = failure_of(error)
        return TestResult(verdict="inconclusive", tolerance=limits.tolerance, detail=detail), 0
    by_row = differences(seen, wanted, reader.spread).max(axis=1)
    worst = int(by_row.argmax())
    row, largest = test.rows[worst], float(by_row[worst])
    detail = f"row {row} ({len(prompts[row])} tokens): {largest:.2g} of the context spread"
    return result_of(detail, largest, limits, passed=largest <= limits.tolerance), row


# The module at fault


class _RowRun(NamedTuple):
    """A run of a module, over the watched row."""

    module: str
    inputs: list[NDArray[np.float32]]
    outputs: list[NDArray[np.float32]]


def _module(reader: RowsReader, test: RowsTest, row: int) -> str | None:
    """Return name and class of the first module whose inputs agree and whose outputs do not, in calls of one token.

    Rows that are read apart after all have no call in common, of which the last could be compared: None.
    """
    prompts = reader.prompts(test.lengths)
    with suppress(Exception):  # the test has told of a model that fails
        caches = reader.alone(prompts[row])
        with _runs(reader.step.model, 0) as alone:
            reader.decoded(caches, [row])
        with _runs(reader.step.model, test.rows.index(row)) as beside:
            test.read(reader, prompts)
        kinds = {name: type(module).__name__ for name, module in reader.step.model.named_modules()}
        for one, other in zip(alone, beside[-len(alone) :], strict=True):
            if one.module != other.module or not other.outputs:
                return None
            if _apart(one.outputs, other.outputs) > _TIMES * max(_apart(one.inputs, other.inputs), _SMALLEST):
                return f"{one.module} ({kinds.get(one.module, '')})" if one.module else kinds.get("", "")
    return None


@contextmanager
def _runs(model: Any, row: int) -> Iterator[list[_RowRun]]:
    """List the runs of all modules while the block runs, in the order of their ends; Python calls by the class."""
    import mlx.core as mx

    names = {id(module): name for name, module in model.named_modules()}
    runs: list[_RowRun] = []

    def row_of(values: Any) -> list[NDArray[np.float32]]:
        arrays = [
            each for each in (values if isinstance(values, tuple | list) else [values]) if hasattr(each, "astype")
        ]
        return [np.array(each[row].astype(mx.float32)) for each in arrays if each.ndim and each.shape[0] > row]

    def listening(original: Any) -> Any:
        def call(module: Any, *arguments: Any, **more: Any) -> Any:
            inputs = row_of(arguments)
            outputs = original(module, *arguments, **more)
            runs.append(_RowRun(names.get(id(module), ""), inputs, row_of(outputs)))
            return outputs

        return call

    kinds = {type(module) for _, module in model.named_modules()}
    originals = {kind: vars(kind)["__call__"] for kind in kinds if "__call__" in vars(kind)}
    for kind, original in originals.items():
        kind.__call__ = listening(original)
    try:
        yield runs
    finally:
        for kind, original in originals.items():
            kind.__call__ = original


def _apart(one: Sequence[NDArray[np.float32]], other: Sequence[NDArray[np.float32]]) -> float:
    """Return the largest difference of arrays relative to their size."""
    pairs = [(a, b) for a, b in zip(one, other, strict=False) if a.shape == b.shape and a.size]
    return max((float(np.abs(a - b).max() / max(np.abs(a).max(), 1e-30)) for a, b in pairs), default=0.0)


# The script

_LINES = '''"""A row of a batch by mlx-lm, and the same row alone: the logits of the token after its prompt."""

import mlx.core as mx
from mlx_lm.models.cache import make_prompt_cache
from mlx_lm.utils import load_model

PATH = {path!r}  # a folder of mlx-lm
PROMPTS = {prompts!r}
ROW, TOKENS = {row}, {tokens!r}

model, _ = load_model(__import__("pathlib").Path(PATH))
longest = max(map(len, PROMPTS))
lengths = [len(prompt) for prompt in PROMPTS]
padding = [longest - length for length in lengths]
batch = [layer[0].merge(list(layer)) for layer in zip(*[make_prompt_cache(model) for _ in PROMPTS])]
for cache in batch:
    cache.prepare(lengths=lengths, right_padding=padding)
model(mx.array([prompt + [0] * pads for prompt, pads in zip(PROMPTS, padding)]), cache=batch)
for cache in batch:
    cache.finalize()
seen = model(mx.array([[token] for token in TOKENS]), cache=batch)[ROW, -1]

alone = make_prompt_cache(model)
model(mx.array([PROMPTS[ROW]]), cache=alone)
expected = model(mx.array([[TOKENS[ROW]]]), cache=alone)[0, -1]
print("largest difference of log-probabilities:", end=" ")
print(mx.abs((seen - mx.logsumexp(seen)) - (expected - mx.logsumexp(expected))).max().item())
'''


def _script(lm: StepLM, reader: RowsReader, test: RowsTest, row: int) -> str | None:
    """Return code without rnneval that shows a fault of padded rows."""
    if test.read is not _ragged:
        return None
    prompts = reader.prompts(test.lengths)
    tokens = [reader.later(each)[0] for each in range(len(prompts))]
    return _LINES.format(path=lm.checkpoint.path or "FOLDER", prompts=prompts, row=row, tokens=tokens)
