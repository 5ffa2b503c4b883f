"""Results of the present code on a fixed corpus, and the difference between two such results.

    python benchmarks/same_results.py keep BEFORE.json
    … change the code …
    python benchmarks/same_results.py keep AFTER.json
    python benchmarks/same_results.py compare BEFORE.json AFTER.json --relative 1e-12

For changes that must not alter any result. Kept are the records of `evaluate` (every architecture and format that the
tests write with Keras 3), `trace` with its table, `gradients`, `check` on the wiring corpus, `lint` on the snippets,
and `gate` and `compare` on the runs. Left out are what differs from run to run (times, versions) and the wording of
messages. Weights, texts and seeds are fixed, and TensorFlow has one thread. Exit status 1 where something differs.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["TF_NUM_INTRAOP_THREADS"] = os.environ["TF_NUM_INTEROP_THREADS"] = "1"
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import keras
import msgspec
import numpy as np
import pandas as pd

import rnneval
from rnneval.errors import RnnevalError
from tests.checkpoints.architectures import V, make
from tests.checkpoints.writing import FILES, FORMATS, KERAS_3, settle
from tests.evaluate.small import WORDS, letters, sentences, stacked
from tests.lint.written import snippets
from tests.wiring.corpus.case import by_hand

LEFT_OUT = {"created", "rnneval", "timing", "message", "reason", "help", "explanation", "command", "warnings_text"}
LETTERS_OF_WIDTH = "abcdefghijklmnopqrstuvwxyz"
BUILDER = """from tests.checkpoints.architectures import make

def model():
    return make({name!r})
"""


def plain(record: Any) -> Any:
    """A record as JSON values, without what may differ."""
    return _without(json.loads(msgspec.json.encode(record)))


def _without(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without(part) for key, part in value.items() if key not in LEFT_OUT}
    if isinstance(value, list):
        return [_without(part) for part in value]
    return value


def _text(folder: Path, length: int, seed: int) -> Path:
    path = folder / f"text-{length}-{seed}.txt"
    path.write_text("".join(np.random.default_rng(seed).choice(list(LETTERS_OF_WIDTH[:V]), length)))
    return path


def _evaluated(folder: Path) -> Iterator[tuple[str, Any]]:
    """Runs of every architecture and format."""
    text, tokens = _text(folder, 1_200, 0), list(LETTERS_OF_WIDTH[:V])
    vocabulary = folder / "vocab.json"
    vocabulary.write_text(json.dumps(tokens))
    for k, (name, form) in enumerate(KERAS_3):
        keras.utils.set_random_seed(k)
        model, place = make(name), folder / f"{name}-{form}"
        place.mkdir()
        model(np.ones((1, 4), "int32")) if name == "tutorial" else None
        settle(model, k)
        FORMATS[form](model, place)
        (folder / f"{name}.py").write_text(BUILDER.format(name=name))
        builder = None if form in ("keras", "whole-h5") else f"{name}.py:model"
        try:
            lm = rnneval.open(place / FILES[form], vocabulary=vocabulary, builder=builder)
            yield f"evaluate {name} {form}", plain(rnneval.evaluate(lm, text, seed=0))
        except RnnevalError as error:  # a refusal is a result too
            yield f"evaluate {name} {form}", type(error).__name__


def _inside(folder: Path) -> Iterator[tuple[str, Any]]:
    """Traces, gradients and token losses of stacks that forget and of one that does not."""
    for kind, units, scale in (
        ("GRU", (6, 4), 1.0),
        ("LSTM", (7, 5), 1.0),
        ("SimpleRNN", (6,), 1.0),
        ("GRU", (6,), 8.0),
    ):
        small, name = stacked(kind, units, scale=scale), f"{kind} {units} {scale}"
        text, table = letters(folder, 3_000), folder / f"{kind}-{len(units)}-{scale}.parquet"
        run = rnneval.trace(small.lm, text, context=True, lyapunov=True, out=table)
        yield f"trace {name}", plain(run)
        yield f"trace table {name}", _table(table)
        yield f"gradients {name}", plain(rnneval.gradients(small.lm, text))
        losses = folder / f"{kind}-{len(units)}-{scale}-losses.parquet"
        yield f"evaluate {name}", plain(rnneval.evaluate(small.lm, text, losses=losses, streams=5, segment=16))
        yield f"losses {name}", _table(losses)


def _table(path: Path) -> Any:
    table = pd.read_parquet(path)
    return {name: table[name].astype(object).where(table[name].notna(), None).tolist() for name in table}


def _gates(folder: Path) -> Iterator[tuple[str, Any]]:
    """Comparisons of three models on one long text, each trained to a different degree by its weights' scale."""
    text = letters(folder, 40_000)
    models = [stacked("GRU", (6, 4), scale=scale).lm for scale in (1.0, 0.9, 0.5)]
    runs = [rnneval.evaluate(lm, text, check=False) for lm in models]
    yield "gate", plain(rnneval.gate(runs[2], baseline=runs[0], allow={"perplexity": "+1%", "accuracy": "-0.01"}))
    yield "gate of several", plain(rnneval.gate(runs[:2], baseline=runs[1:], allow={"bits_per_char": "+0.01"}))
    yield "compare", plain(rnneval.compare(runs))
    words = rnneval.evaluate(stacked("LSTM", (5,), WORDS).lm, sentences(folder, 400), check=False)
    yield "evaluate words", plain(words)


def _checked() -> Iterator[tuple[str, Any]]:
    for case in by_hand():
        keras.utils.set_random_seed(0)  # else the weights of a model would depend on those before it
        yield f"check {case.name}", plain(rnneval.check(case.build(), declare=case.declare, seed=0))


def _linted(folder: Path) -> Iterator[tuple[str, Any]]:
    for kind in ("right", "wrong"):
        for k, snippet in enumerate(snippets(kind)):
            path = folder / f"{kind}{k}.py"
            path.write_text(snippet.source)
            yield f"lint {snippet.name}", sorted([f.line, f.column, f.rule] for f in rnneval.lint([path]))


def keep(out: Path) -> None:
    """Write the results."""
    out, kept = out.absolute(), {}
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        here = Path()
        for part in (_linted(here), _inside(here), _evaluated(here), _gates(here), _checked()):
            for name, result in part:
                kept[name] = result
                sys.stderr.write(f"{name}\n")
        os.chdir(out.parent)
    text = json.dumps(kept, indent=1, sort_keys=True).replace(str(Path(folder).resolve()), "FOLDER")
    out.write_text(text, encoding="utf-8")


def differences(before: Any, after: Any, relative: float, at: str = "") -> Iterator[str]:
    """The places where two results differ."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in sorted(before.keys() | after.keys()):
            if key not in before or key not in after:
                yield f"{at}/{key}: {'new' if key in after else 'gone'}"
            else:
                yield from differences(before[key], after[key], relative, f"{at}/{key}")
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for k, pair in enumerate(zip(before, after, strict=True)):
            yield from differences(*pair, relative, f"{at}/{k}")
    elif isinstance(before, float) and isinstance(after, (int, float)):
        if not math.isclose(before, after, rel_tol=relative, abs_tol=0.0):
            yield f"{at}: {before!r} → {after!r}"
    elif before != after:
        yield f"{at}: {str(before)[:60]} → {str(after)[:60]}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("keep").add_argument("out", type=Path)
    comparing = commands.add_parser("compare")
    comparing.add_argument("files", type=Path, nargs=2)
    comparing.add_argument("--relative", type=float, default=0.0)
    asked = parser.parse_args()
    if asked.command == "keep":
        keep(asked.out)
        return 0
    before, after = (json.loads(path.read_text()) for path in asked.files)
    found = list(differences(before, after, asked.relative))
    print(*found[:100], f"{len(found)} differences in {len(before.keys() | after.keys())} results", sep="\n")
    return bool(found)


if __name__ == "__main__":
    raise SystemExit(main())
