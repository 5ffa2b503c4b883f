"""Exact and fast at once? rnneval beside Keras, PyTorch and ONNX Runtime, on the same weights and text, in turn.

    python benchmarks/speed_models.py MODELS --data DATA
    python -m venv PEERS && PEERS/bin/pip install torch onnxruntime onnx numpy
    python benchmarks/speed_peers.py --models MODELS --data DATA --peers PEERS/bin/python --out speed_peers.json

Each contender is a process of its own, and only one works at a time. A round runs all, in an order that moves on by one
from round to round; the ratios are taken within a round, and what is shown is their median and spread. From each
time is taken what the same contender needs for the first 300 characters, which is start-up. rnneval reads the text
whole with either backend, repairs included, without the summary of states and without the wiring check. The time of the
others grows with the length alone, so they read a part of the text and are scaled: one row reads 20,000 characters
(100,000 of the smallest models, which are through with less in a second), many rows 200,000. PyTorch and ONNX Runtime
are run with one row (exact) and with 64 and 256 rows (not exact, like Keras with 64). A case that stands in the file is
not run again.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from speed_models import CASES

ONE_ROW, MANY_ROWS, START = 20_000, 200_000, 300
SMALL = 128  # units in all
LENGTHS = (100_000, 1_000_000)
OURS = ("rnneval-keras", "rnneval-numpy")  # by backend


@dataclass(frozen=True, kw_only=True)
class Contender:
    """Who runs, how, and on how much of the text."""

    rival: str
    characters: int
    rows: int = 0
    segment: int = 100

    @property
    def name(self) -> str:
        """For the file: `torch, 64 rows`, `rnneval-numpy, 1000000`."""
        return f"{self.rival}, {self.characters}" if self.rival in OURS else f"{self.rival}, {self.rows} rows"

    @property
    def exact(self) -> bool:
        """Whether its number is that of one carried stream."""
        return self.rival in OURS or self.rows == 1


def contenders(name: str, scale: float) -> list[Contender]:
    """All of them, for one case; a scale below one is for trying the script."""
    one_row = 5 * ONE_ROW if sum(CASES[name].units) <= SMALL else ONE_ROW
    ours = [Contender(rival=rival, characters=int(n * scale)) for rival in OURS for n in LENGTHS]
    theirs = [
        Contender(rival=rival, rows=rows, characters=int(scale * (one_row if rows == 1 else MANY_ROWS)))
        for rival, choices in (("keras", (1, 64)), ("torch", (1, 64, 256)), ("onnx", (1, 64, 256)))
        for rows in choices
    ]
    return [*ours, *theirs]


class Rival:
    """A contender's process, and its start-up."""

    def __init__(self, command: list[str]) -> None:
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, **job: Any) -> dict[str, Any]:
        """Run one job."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps(job), file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"a contender ended: {self._process.args}")
        return dict(json.loads(line))

    def end(self) -> None:
        """Let it go."""
        self._process.communicate()


class Arena:
    """The rivals of one case and the pieces of its text."""

    def __init__(self, name: str, given: argparse.Namespace, folder: Path) -> None:
        tokens = CASES[name].tokens
        self._text = (given.data / ("tinyshakespeare.txt" if tokens == "char" else "wikitext2.test.txt")).read_text()
        self._folder = folder
        here = Path(__file__).with_name("speed_rivals.py")
        arguments = [str(here), "", str(given.models / f"{name}.keras"), str(given.models / f"{tokens}.json")]
        self.rivals: dict[str, Rival] = {}
        for rival in (*OURS, "keras", "torch", "onnx"):
            own = rival in (*OURS, "keras")
            if not own and given.peers is None:
                continue
            arguments[1] = rival
            python = sys.executable if own else str(given.peers)
            self.rivals[rival] = Rival([python, *arguments, "--tokens", tokens])
            self.rivals[rival].ask(**self._job(Contender(rival=rival, rows=1, characters=START)))

    def _job(self, contender: Contender) -> dict[str, Any]:
        path = self._folder / f"{contender.characters}.txt"
        if not path.exists():
            cut = self._text[: contender.characters]
            path.write_text(cut[: cut.rfind(" ") + 1] or cut)  # no word is cut
        if contender.rival in OURS:
            return {"text": str(path)}
        return {"text": str(path), "rows": contender.rows, "segment": contender.segment}

    def measure(self, contender: Contender) -> dict[str, Any]:
        """Its seconds, and those of its start-up: 300 characters."""
        rival = self.rivals[contender.rival]
        start = rival.ask(**self._job(Contender(rival=contender.rival, rows=min(contender.rows, 1), characters=START)))
        return rival.ask(**self._job(contender)) | {"start": start["seconds"]}

    def gemm(self, name: str) -> dict[str, Any]:
        """The limit: the recurrent product of the last layer, with 256 rows."""
        units, gates = CASES[name].units[-1], 3 if CASES[name].kind == "GRU" else 4
        return self.rivals[OURS[0]].ask(gemm=[256, units, gates * units])

    def exactly(self) -> float:
        """How far rnneval's mean is from the one-row loop's, its losses added up in float64, on the same tokens.

        The loop drops the rest of a segment, so the text is cut to what it reads.
        """
        text = self._folder / "exactly.txt"
        words = self._text[:ONE_ROW]
        text.write_text(words[: words.rfind(" ") + 1])
        ours = self.rivals[OURS[0]].ask(text=str(text))
        loop = self.rivals["keras"].ask(text=str(text), rows=1, segment=ours["tokens"], exactly=True)
        assert loop["tokens"] == ours["tokens"]
        return abs(ours["mean"] - loop["mean"])

    def error(self, contender: Contender) -> float:
        """How far a contender that is not exact is from the one-row number, in nats a token, on the text it reads."""
        job = self._job(contender)
        return float(
            self.rivals[contender.rival].ask(**job)["mean"] - self.rivals[OURS[0]].ask(text=job["text"])["mean"]
        )

    def end(self) -> None:
        """Let all go."""
        for rival in self.rivals.values():
            rival.end()


def flops_a_token(name: str, width: int) -> float:
    """Products and sums that no kernel can do without: recurrent, between layers, and the output; lookups are free."""
    case = CASES[name]
    gates = 3 if case.kind == "GRU" else 4
    between = zip((0, *case.units), case.units, strict=False)  # behind the embedding, the input is looked up
    return 2.0 * (sum((below + units) * gates * units for below, units in between) + case.units[-1] * width)


def rounds_of(name: str, given: argparse.Namespace) -> dict[str, Any]:
    """Measure one case."""
    everyone = contenders(name, given.scale)
    with tempfile.TemporaryDirectory() as folder:
        arena = Arena(name, given, Path(folder))
        everyone = [one for one in everyone if one.rival in arena.rivals]
        apart = arena.exactly()
        errors = {one.name: arena.error(one) for one in everyone if not one.exact}
        found = []
        for turn in range(given.rounds):
            order = everyone[turn % len(everyone) :] + everyone[: turn % len(everyone)]
            one_round = {one.name: arena.measure(one) for one in order}
            found.append({"gemm": arena.gemm(name), **one_round})
            shown = {key: round(value["tokens"] / value["seconds"]) for key, value in one_round.items()}
            print(name, turn, shown, f"{found[-1]['gemm']['flops_a_second'] / 1e9:.0f} GF/s", flush=True)
        arena.end()
    vocabulary = json.loads((given.models / f"{CASES[name].tokens}.json").read_text(encoding="utf-8"))
    return {
        "difference_of_means": apart,
        "flops_a_token": flops_a_token(name, len(vocabulary)),
        "errors": errors,
        "scaled": {one.name: one.characters for one in everyone if one.rival not in OURS},
        "exact": [one.name for one in everyone if one.exact],
        "rounds": found,
    } | summary(found, everyone, flops_a_token(name, len(vocabulary)))


def summary(rounds: list[dict[str, Any]], everyone: list[Contender], flops: float) -> dict[str, Any]:
    """Ratios within rounds: median, least and most. Start-up is the median over rounds, since it hardly differs."""
    rates: dict[str, list[float]] = {}
    for one in everyone:
        start = statistics.median(r[one.name]["start"] for r in rounds)
        rates[one.name] = [r[one.name]["tokens"] / max(1e-9, r[one.name]["seconds"] - start) for r in rounds]
    ours = [one.name for one in everyone if one.rival in OURS]
    theirs = [one.name for one in everyone if one.rival not in OURS]
    limit = [r["gemm"]["flops_a_second"] / flops for r in rounds]

    def ratios(ours: list[float], others: list[float]) -> dict[str, float]:
        return spread([a / b for a, b in zip(ours, others, strict=True)])

    return {
        "rates": {name: spread(values) for name, values in rates.items()},
        "ratios": {our: {name: ratios(rates[our], rates[name]) for name in theirs} for our in ours},
        "of_the_limit": {our: ratios(rates[our], limit) for our in ours},
    }


def spread(values: list[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "least": min(values), "most": max(values)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAMES", help="cases; all that have a model by default")
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("RNNEVAL_DATA", ".")))
    parser.add_argument("--peers", type=Path, help="the python of an environment with torch, onnxruntime and onnx")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--scale", type=float, default=1.0, help="read less of the text: for trying the script")
    given = parser.parse_args()
    os.environ["PYTHONPATH"] = str(Path(__file__).parents[1])
    done = json.loads(given.out.read_text()) if given.out.exists() else {"machine": machine(), "cases": {}}
    for name in given.names or [name for name in CASES if (given.models / f"{name}.keras").exists()]:
        if name in done["cases"]:
            continue
        done["cases"][name] = rounds_of(name, given)
        given.out.write_text(json.dumps(done, indent=1) + "\n")


def machine() -> dict[str, Any]:
    """What it was measured on."""
    return {
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "python": sys.version.split()[0],
    }


if __name__ == "__main__":
    main()
