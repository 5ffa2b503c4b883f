"""Calls that mlx-lm makes of a model, each compared with the same text alone.

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
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from msgspec import structs
from numpy.typing import NDArray

from rnneval.errors import CheckpointError, failure_of
from rnneval.models.mlx import MlxStep
from rnneval.models.step import StepLM
from rnneval.records.wiring import TestResult, Wiring
from rnneval.wiring import cases
from rnneval.wiring.cases import Case
from rnneval.wiring.difference import ASSUMED_NOISE, HALF_TYPES, Limits, Logits, context_spread, differences, result_of
from rnneval.wiring.evidence import Detection
from rnneval.wiring.facts import Spot
from rnneval.wiring.faults import CALL_TESTS
from rnneval.wiring.judging import errors_first, finding_of, verdict_of
from rnneval.wiring.readings import CacheCommand, CacheMethod, Change, KeepCopy, Reading, TakeBack
from rnneval.wiring.step import check as check_step
from rnneval.wiring.subject import Ids, ordinary_ids

_PROMPTS = (20, 7, 12)
_LATER = (1, 1, 1)  # calls after each prompt
_PIECES = (5, 5, 5, 5)  # calls that read a part of each prompt
_TIMES = 20.0  # outputs of a module must differ by so many times as much as its inputs
_SMALLEST = 1e-5  # a smaller difference of inputs, relative to their size, is rounding
CachedRows = tuple[Sequence[int], list[Any]]
"""Rows that are read in one call, and their caches."""

TESTS = {
    "equal": "rows of one length in one batch",
    "ragged": "shorter rows padded on the right beside a longer one",
    "pieces": f"rows in calls of {_PIECES[0]} tokens, which each leaves at its end",
    "merge": "rows that were read alone and merged",
    "extract": "rows taken out of a batch by cache.extract()",
    "filter": "rows that stay in a batch after cache.filter()",
    "extend": "rows that join a running batch by cache.extend()",
    "save": "a row whose cache was saved to a file and loaded",
    "trim": "a row after another text that cache.trim() took back",
}
"""The ways to read rows, by the keys of their results in a record."""


def _cases(texts: Ids) -> Iterator[Case]:
    """Yield texts that are read in these ways, against each text alone."""
    own, (text, other) = partial(_batch_cases, texts), texts[:2]
    merge, extract, extend = (Change(call=1, command=CacheMethod(name)) for name in ("merge", "extract", "extend"))
    staying = (1, (0, 2)), (2, (0, 2)), (3, (0,))  # a call, and the rows that are not left alone before it
    leave = [Change(call=call, command=CacheMethod("filter", rows)) for call, rows in staying]
    padded = [case for case in cases.padding_cases(text, other, 0) if case.key == "right_padding"]
    yield from (replace(case, key="equal") for case in cases.row_cases(text, other))
    yield from own("ragged")
    yield from (replace(case, key="ragged") for case in padded)
    yield from own("pieces", *leave[1:], lengths=_PIECES)
    yield from own("merge", merge)
    yield from own("extract", merge, extract)
    yield from own("filter", merge, leave[0])
    yield from own("extend", extend)
    yield from (replace(case, key="save") for case in cases.kept_cases(text, other, rollback=False, keep=KeepCopy.SAVE))
    yield from (replace(case, key="trim") for case in cases.kept_cases(text, other, rollback=True, keep=KeepCopy.SAVE))


def _batch_cases(texts: Ids, key: str, *changes: Change, lengths: Sequence[int] = _PROMPTS[:1]) -> Iterator[Case]:
    """Yield prompts of unequal lengths in one batch, and the tokens after them."""
    longest, later = max(_PROMPTS), len(_LATER)
    mask = [[*[1] * count, *[0] * (longest - count), *_LATER] for count in _PROMPTS]
    beside = Reading(ids=cases.rows(*texts), mask=cases.rows(*mask), lengths=(*lengths, *_LATER), changes=changes)
    for row, count in enumerate(_PROMPTS):
        alone = Reading(ids=cases.rows([*texts[row, :count], *texts[row, -later:]]), lengths=(count, *_LATER))
        yield Case(key=key, pattern="", wanted=alone, reading=beside, row=row, begins=(count, longest))


class RowsReader:
    """Reads texts as mlx-lm reads several prompts."""

    def __init__(self, step: MlxStep, width: int, seed: int) -> None:
        self.step, self.width = step, width
        self.texts = ordinary_ids(width, (len(_PROMPTS), max(_PROMPTS) + len(_LATER)), [seed, 5])
        self.rows: Sequence[int] = ()  # those that the call at hand reads
        self.first = 0  # the first token of this call

    def read(self, reading: Reading) -> Logits:
        """Return the logits `(rows, tokens, V)` of a reading, zeros at pads.

        Rows are in one batch, but before a command to merge them or to let some join.
        """
        ids = np.array(reading.ids)
        mask = np.ones_like(ids) if reading.mask is None else np.array(reading.mask)
        logits, rows = np.zeros((*ids.shape, self.width)), range(len(ids))
        batches: list[CachedRows] = [([row], self.step.caches()) for row in rows]
        joining = [CacheMethod("merge"), CacheMethod("extend")]
        if len(rows) > 1 and not any(change.command in joining for change in reading.changes):
            batches = [([*rows], merged(batches))]
        with tempfile.TemporaryDirectory() as folder:
            for call, (self.first, end) in enumerate(reading.calls):
                for command in reading.commands(call):
                    batches = _changed(batches, command, str(Path(folder) / "cache.safetensors"))
                for self.rows, caches in batches:
                    lengths = mask[self.rows, self.first : end].sum(axis=1)
                    if time := lengths.max():
                        at = np.ix_(self.rows, range(self.first, self.first + time))
                        logits[at] = self._call(np.where(mask[at], ids[at], 0), lengths, caches)
        return logits

    def _call(self, ids: Ids, lengths: NDArray[np.int64], caches: list[Any]) -> NDArray[np.float32]:
        """Read a piece of each row in one call, shorter ones padded on the right."""
        import mlx.core as mx

        padding = ids.shape[1] - lengths
        for each in caches if padding.any() else ():
            each.prepare(lengths=lengths.tolist(), right_padding=padding.tolist())
        logits = self.step.read(ids, caches)
        for each in caches if padding.any() else ():
            each.finalize()
        mx.eval([each.state for each in caches])
        return logits


def merged(batches: Sequence[CachedRows]) -> list[Any]:
    """Return the caches of several rows as those of one batch."""
    for each in batches[0][1]:
        if not hasattr(each, "merge"):
            raise CheckpointError(f"mlx-lm cannot merge caches of {type(each).__name__}: the class has no method merge")
    return [layer[0].merge(list(layer)) for layer in zip(*[caches for _, caches in batches], strict=True)]


def _changed(batches: list[CachedRows], command: CacheCommand, path: str) -> list[CachedRows]:
    """Return the batches of rows after a command about their caches, which may save them to a file."""
    import mlx.core as mx
    from mlx_lm.models import cache as mlx_caches

    (rows, caches), *joining = batches
    match command:
        case KeepCopy.SAVE:
            mlx_caches.save_prompt_cache(path, caches)
        case TakeBack(tokens=tokens) if mlx_caches.can_trim_prompt_cache(caches):
            mlx_caches.trim_prompt_cache(caches, tokens)
        case KeepCopy.RESTORE | TakeBack():  # where mlx-lm cannot trim a cache, it goes on from an older one
            return [(rows, mlx_caches.load_prompt_cache(path))]
        case CacheMethod(name="merge" | "extend" as name):
            running = merged(batches if name == "merge" else batches[:1])
            for each, other in zip(running, merged(joining), strict=True) if name == "extend" else ():
                each.extend(other)
            return [([row for rows, _ in batches for row in rows], running)]
        case CacheMethod(name="extract"):
            return [([row], [each.extract(at) for each in caches]) for at, row in enumerate(rows)]
        case CacheMethod(name="filter", rows=tuple(staying)):
            parts = [[*staying], *([row] for row in rows if row not in staying)]
            copies = [copy.deepcopy(caches) for _ in parts]
            for part, kept in zip(parts, copies, strict=True):
                for each in kept:
                    each.filter(mx.array([rows.index(row) for row in part]))
            return [*zip(parts, copies, strict=True), *joining]
    return batches


def check(lm: StepLM, *, declare: Iterable[str] = (), seed: int = 0) -> Wiring:
    """Test the behaviour of a model of mlx-lm, and the calls that its runtime makes."""
    wiring = check_step(lm, declare=declare, seed=seed)
    step: Any = lm.function.step
    reader = RowsReader(step, lm.width, seed)
    every, logits = [*_cases(reader.texts)], cache(reader.read)
    results, findings, doubts, script = {}, list(wiring.findings), [], None
    if wiring.verdict == "inconclusive":
        doubts.append(wiring.reason)
    for key, words in TESTS.items():
        result, case = _result(reader, logits, [case for case in every if case.key == key])
        results[key] = result
        if result.verdict == "inconclusive":
            doubts.append(f"{words}: {result.detail}")
        elif result.verdict == "fail" and not (key == "pieces" and results["ragged"].verdict == "fail"):
            module = _module(reader, case)
            where = f"; {module} is the first module whose inputs agree and whose outputs do not" if module else ""
            sentence = f"{words[0].upper()}{words[1:]}: {result.detail}{where}"
            findings.append(finding_of(CALL_TESTS[key], Detection(sentence=sentence, at=Spot(layer=module))))
            if key in {"equal", "ragged"}:
                script = script or _script(lm, case)
    agreeing = sum(result.verdict == "pass" for result in results.values())
    reason = f"{wiring.reason}; {agreeing} ways of mlx-lm to read several rows give what each row gives alone"
    verdict, reason = verdict_of(findings, doubts, reason)
    tests = {**wiring.oracles, **results}
    return structs.replace(
        wiring, verdict=verdict, reason=reason, findings=errors_first(findings), oracles=tests, script=script
    )


def _result(
    reader: RowsReader, logits: Callable[[Reading], Logits], compared: Sequence[Case]
) -> tuple[TestResult, Case]:
    """Return the result of a test, and the case that differs most."""
    half = reader.step.half
    limits = Limits.of_noise(5 * HALF_TYPES[half] if half else ASSUMED_NOISE, half=half)
    sizes = []
    try:
        spread = context_spread(logits(Reading(ids=cases.rows(reader.texts[0]))))
        for case in compared:
            wanted, seen = case.aligned(logits(case.wanted), logits(case.reading))
            sizes.append(float(differences(seen, wanted, spread).max()))
    except Exception as error:  # a cache without a method, or a model that fails in a batch
        detail = failure_of(error)
        return TestResult(verdict="inconclusive", tolerance=limits.tolerance, detail=detail), compared[0]
    worst = int(np.argmax(sizes))
    case, largest = compared[worst], sizes[worst]
    detail = f"row {case.row}, {case.wanted}: {largest:.2g} of the context spread"
    return result_of(detail, largest, limits, passed=largest <= limits.tolerance), case


# The module at fault


class _RowRun(NamedTuple):
    """A run of a module, over the watched row."""

    module: str
    inputs: list[NDArray[np.float32]]
    outputs: list[NDArray[np.float32]]


def _module(reader: RowsReader, case: Case) -> str | None:
    """Return name and class of the first module whose inputs agree and whose outputs do not, in the compared calls."""
    with suppress(Exception):  # the test has told of a model that fails
        with _runs(reader, 0, case.begins[0]) as alone:
            reader.read(case.wanted)
        with _runs(reader, case.row, case.begins[1]) as beside:
            reader.read(case.reading)
        kinds = {name: type(module).__name__ for name, module in reader.step.model.named_modules()}
        for one, other in zip(alone, beside, strict=True):
            if one.module != other.module:
                return None
            if _apart(one.outputs, other.outputs) > _TIMES * max(_apart(one.inputs, other.inputs), _SMALLEST):
                return f"{one.module} ({kinds.get(one.module, '')})" if one.module else kinds.get("", "")
    return None


@contextmanager
def _runs(reader: RowsReader, row: int, begin: int) -> Iterator[list[_RowRun]]:
    """List the runs of all modules over a row from a token on, as they end; Python calls by the class."""
    import mlx.core as mx

    model = reader.step.model
    names = {id(module): name for name, module in model.named_modules()}
    runs: list[_RowRun] = []

    def row_of(values: Any) -> list[NDArray[np.float32]]:
        items, at = values if isinstance(values, tuple | list) else [values], reader.rows.index(row)
        arrays = [each for each in items if hasattr(each, "astype") and each.ndim and each.shape[0] > at]
        return [np.array(each[at].astype(mx.float32)) for each in arrays]

    def listening(original: Any) -> Any:
        def call(module: Any, *arguments: Any, **more: Any) -> Any:
            if row not in reader.rows or reader.first < begin:
                return original(module, *arguments, **more)
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


def _script(lm: StepLM, case: Case) -> str:
    """Return code without rnneval that shows a fault of padded rows."""
    ids, mask, (_, end) = case.reading.ids, case.reading.mask, case.reading.calls[0]
    lengths = [sum(row[:end]) for row in mask] if mask else [end] * len(ids)
    prompts = [[*row[:length]] for row, length in zip(ids, lengths, strict=True)]
    path = lm.checkpoint.path or "FOLDER"
    return _LINES.format(path=path, prompts=prompts, row=case.row, tokens=[row[end] for row in ids])
