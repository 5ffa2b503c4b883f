"""The pytest plugin: the fixture `rnneval_gate` compares a run with the baseline that is kept beside the tests.

Every pytest run imports this file, even in projects that never use the fixture. So it imports nothing but pytest, and
the rest when the fixture is called (a test limits it to 20 ms).
"""

import os
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, Literal

import pytest

if TYPE_CHECKING:
    from rnneval.records import Gate, Run

    AnyRun = Run | str | os.PathLike[str]

_FOLDER = "baselines"
_PROPERTY = "rnneval_baseline"
_written = pytest.StashKey[dict[Path, str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options that find, create and update baselines."""
    group = parser.getgroup("rnneval", "rnneval: gates on held-out perplexity")
    where = f"where baselines are kept (default: ini value rnneval_baseline, else {_FOLDER}/ beside each test file)"
    group.addoption("--rnneval-baseline", metavar="FOLDER", help=where)
    group.addoption("--rnneval-create", action="store_true", help="write the baselines that are missing")
    group.addoption("--rnneval-update", action="store_true", help="make every run the new baseline")
    parser.addini("rnneval_baseline", "folder of the baselines, from the root of the tests", default="")


@pytest.fixture
def rnneval_gate(request: pytest.FixtureRequest) -> "RnnevalGate":
    """Compare a run with its baseline: `rnneval_gate(run, name=…, allow={…}, require=[…])`."""
    return RnnevalGate(request)


class RnnevalGate:
    """Value of the fixture: call it with a run, once in a test, or several times with a name each."""

    def __init__(self, request: pytest.FixtureRequest) -> None:
        self._config = request.config
        self._node = request.node
        self._called: set[str] = set()

    def __call__(
        self,
        run: "AnyRun | Sequence[AnyRun]",
        *,
        name: str | None = None,
        allow: Mapping[str, str | float] | None = None,
        require: Sequence[str] = (),
        better_than_counting: bool = False,
        inconclusive: Literal["fail", "warn"] = "fail",
    ) -> "Gate | None":
        """Judge the run; several are runs of one recipe, each with a baseline of its own.

        Args:
            run: A run record, or the path of one.
            name: The baseline's name; by default the test's.
            allow: Most that a metric may get worse; by default perplexity by 1 %.
            require: Limits on values of the record.
            better_than_counting: Whether the run must be better than the best n-gram of its record.
            inconclusive: `warn` lets a test pass if the text is too short for a verdict.

        Returns:
            The verdict; None if the baseline was just written.

        Raises:
            AssertionError: the verdict is not pass.
        """
        __tracebackhide__ = True
        from msgspec.structs import replace

        from rnneval.errors import RnnevalError
        from rnneval.render.gate_document import gate_document
        from rnneval.render.phrasing import one_line
        from rnneval.render.terminal import as_text

        try:
            verdict = self._judged(run, name, allow, require=require, better_than_counting=better_than_counting)
        except RnnevalError as error:
            raise pytest.fail.Exception(one_line(f"rnneval: {error}"), pytrace=False) from None
        if verdict is None or verdict.verdict == "pass":
            return verdict
        if verdict.verdict == "inconclusive" and inconclusive == "warn":
            self._node.warn(pytest.PytestWarning(f"rnneval_gate: {verdict.reason}"))
            return verdict
        above = verdict.reason  # said once
        told = [replace(each, reason="as above") if each.reason in above else each for each in verdict.comparisons]
        shown = as_text(gate_document(replace(verdict, comparisons=tuple(told))), 110)
        raise AssertionError(f"{verdict.verdict}: {one_line(above)}\n\n{shown}")

    def _judged(
        self, run: "AnyRun | Sequence[AnyRun]", name: str | None, allow: Mapping[str, str | float] | None, **limits: Any
    ) -> "Gate | None":
        """Compare with the baselines; or write them, and return None, or the limit that does not hold."""
        from rnneval.gates.sides import NamedRecord
        from rnneval.gates.verdicts import gate
        from rnneval.records import Run, read_run

        given = [run] if isinstance(run, Run | str | os.PathLike) else list(run)
        runs = [each if isinstance(each, Run) else read_run(each) for each in given]
        names = ["this run"] if len(runs) == 1 else [f"this run {i}" for i in range(1, len(runs) + 1)]
        candidates = [NamedRecord(name=name, record=each) for name, each in zip(names, runs, strict=True)]
        paths = self._paths(name, len(runs))
        missing = [path for path in paths if not path.exists()]
        update, create = (self._config.getoption(f"--rnneval-{way}") for way in ("update", "create"))
        if update or (missing and create):
            if any(limits.values()) and (verdict := gate(candidates, **limits)).verdict != "pass":
                return verdict
            self._write({path: each for path, each in zip(paths, runs, strict=True) if update or path in missing})
            return None
        if missing:
            line = f"pytest {shlex.quote(self._node.nodeid)} --rnneval-create"
            pytest.fail(f"rnneval: {missing[0]}: no such baseline; to make it of this run: {line}", pytrace=False)
        baselines = [NamedRecord(name=self._relative(path), record=read_run(path)) for path in paths]
        return gate(candidates, baselines, allow=allow, **limits)

    def _paths(self, name: str | None, count: int) -> list[Path]:
        """Return the paths of the baselines of a gate, which has this name in its test."""
        from rnneval.errors import UsageError

        file, _, test = self._node.nodeid.partition("::")  # a parameter of the test may hold a slash
        chosen = _file_name(name or f"{PurePath(file).stem}.{test.replace('::', '.')}")
        if chosen in self._called:
            raise UsageError(f"two gates are called {chosen!r} in one test: give each its own name=")
        self._called.add(chosen)
        folder = self._config.getoption("--rnneval-baseline") or self._config.getini("rnneval_baseline")
        where = self._config.rootpath / folder if folder else self._node.path.parent / _FOLDER
        return [where / (f"{chosen}.json" if count == 1 else f"{chosen}-{i}.json") for i in range(1, count + 1)]

    def _write(self, runs: "dict[Path, Run]") -> None:
        """Write all of these baselines or none; a run with which nothing could be compared is refused."""
        from rnneval.errors import UsageError
        from rnneval.gates.sides import NamedRecord, write_baselines

        written = self._config.stash.setdefault(_written, {})
        named: dict[str | os.PathLike[str], NamedRecord] = {}
        for path, run in runs.items():
            if written.setdefault(path, self._node.nodeid) != self._node.nodeid:
                raise UsageError(f"{path}: also the baseline of {written[path]}; give each gate its own name=")
            named[path] = NamedRecord(name=f"the run for {self._relative(path)}", record=run)
        write_baselines(named)
        # User properties travel from xdist's workers to the terminal, and into pytest's own JUnit file.
        self._node.user_properties.extend((_PROPERTY, self._relative(path)) for path in runs)

    def _relative(self, path: Path) -> str:
        return os.path.relpath(path, self._config.rootpath)


def pytest_terminal_summary(terminalreporter: "pytest.TerminalReporter") -> None:
    """List the baselines that were written."""
    reports = [report for reports in terminalreporter.stats.values() for report in reports]
    properties = [pair for report in reports for pair in getattr(report, "user_properties", ())]
    if written := sorted({str(path) for name, path in properties if name == _PROPERTY}):
        terminalreporter.section("rnneval baselines written")
        for path in written:
            terminalreporter.line(path)


def _file_name(name: str) -> str:
    """Return the name with all characters replaced that some file system refuses.

    >>> _file_name("test_model.test_char[gru/2 layers]")
    'test_model.test_char-gru-2-layers'
    """
    return re.sub(r"[^\w.]+", "-", name).strip("-.") or "gate"
