"""`rnneval gate RECORD… --baseline BASE…`."""

import os
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import click

from rnneval.cli.command import Command, from_function
from rnneval.cli.output import EXIT_CODES, VERDICT_FORMS, OutputOptions, require, require_places, say, verdict_texts
from rnneval.errors import RecordError, UsageError
from rnneval.option import Options, option

if TYPE_CHECKING:
    from rnneval.records import Gate


class GateOptions(Options):
    """Options of `rnneval gate`."""

    baseline: tuple[str, ...] = option((), metavar="BASE...", path=True, repeated=True)
    """Records to compare with; several are runs of one recipe."""
    allow: tuple[str, ...] = option((), metavar="METRIC=AMOUNT", repeated=True, unset="perplexity=+1%")
    """Most that a metric may get worse, such as +1% or +0.01."""
    require: tuple[str, ...] = option((), metavar="FIGURE<=VALUE", repeated=True)
    """Limit on any value of a record or history, such as 'perplexity<=5.3'."""
    better_than_counting: bool = option(False)
    """Require that each run is better than the best n-gram of its record (evaluate --fit-on)."""
    strict: bool = option(False)
    """Exit with 1 if the verdict is inconclusive, and on warnings."""
    update: bool = option(False)
    """Replace the baselines by slim copies of the records, all or none."""


class GateOutput(OutputOptions):
    """Output of `rnneval gate`."""

    form: str = option("table", flag="--format", choices=VERDICT_FORMS)
    """Format of what is printed; github also writes the summary of the job."""
    out: tuple[str, ...] = option((), metavar="FILE", repeated=True, endings=(".json", ".xml", ".md"))
    """File to write the verdict to as well: .json is the record, .xml JUnit, .md Markdown."""


class _Variadic(Command):
    """Command whose `--baseline A B C` takes all values up to the next option, as a shell expands `base/*.json`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, spread(args, "--baseline"))
        except click.MissingParameter as error:
            if "--baseline" not in args:
                raise
            said = "no RECORD was given: all that follows --baseline are baselines; put the records first"
            raise UsageError(said) from error


def spread(arguments: list[str], option: str) -> list[str]:
    """Repeat the option before each of the values that follow it.

    >>> spread(["run.json", "--baseline", "a.json", "b.json", "--strict"], "--baseline")
    ['run.json', '--baseline', 'a.json', '--baseline', 'b.json', '--strict']
    """
    result: list[str] = []
    after = False
    for argument in arguments:
        if argument.startswith("-") and argument != "-":
            after = argument == option
            result += [] if after else [argument]
        else:
            result += [option, argument] if after else [argument]
    return [*result, option] if after and arguments[-1] == option else result


@from_function("run.json --baseline base.json --allow perplexity=+1% --require 'accuracy>=0.5'", cls=_Variadic)
def command(*, records: Annotated[tuple[str, ...], "RECORD..."], options: GateOptions, output: GateOutput) -> int:
    """Judge RECORDs against a baseline or limits: pass or fail.

    Exit code: 0 pass, 1 fail, 3 inconclusive or not comparable. The verdict is fail only if the interval of the
    difference lies beyond what is allowed, pass only if it lies within. A RECORD that is not valid, not finite or
    diverged fails whatever is allowed.
    """
    from rnneval.gates.limits import parse_allow
    from rnneval.gates.verdicts import gate as judge
    from rnneval.gates.verdicts import without_baseline

    baseline, strict = options.baseline, options.strict
    if options.update:
        return _update(records, options, output)
    for path in baseline:
        if not os.path.lexists(path):
            pairs = f"{shlex.join(records)} --baseline {shlex.join(baseline)}"
            error = RecordError(f"{path}: no such baseline; to make it of this run: rnneval gate {pairs} --update")
            output.write(_texts(without_baseline(records[0], path, str(error)), strict=strict))  # CI collects them
            raise error
    allow, better = parse_allow(options.allow) if options.allow else None, options.better_than_counting
    gate = judge(records, baseline, allow=allow, require=options.require, better_than_counting=better)
    _deliver(gate, output, strict=strict)
    verdicts = {comparison.verdict for comparison in gate.comparisons}
    warned = "inconclusive" in verdicts or (gate.verdict == "pass" and gate.warnings)
    return EXIT_CODES["fail" if strict and warned else gate.verdict]


def _update(records: Sequence[str], options: GateOptions, output: GateOutput) -> int:
    """Judge against the old baselines if there are any, then put the records in their place.

    Limits still hold, and a run with which nothing can be compared never becomes a baseline.
    """
    from rnneval.gates.explanation import warnings_of_runs
    from rnneval.gates.limits import parse_allow
    from rnneval.gates.sides import named, write_baselines
    from rnneval.gates.verdicts import gate as judge
    from rnneval.paths import require_apart

    baselines, limits = options.baseline, options.require
    there = [path for path in baselines if Path(path).absolute().parent.exists()]
    require_places({"--baseline": there}, {"RECORD": records})
    require_apart({"--baseline": baselines}, {"RECORD": records})
    message = "--better-than-counting judges, and --update replaces: leave one of them out"
    require(not options.better_than_counting, message)
    pairs = f"{len(records)} records in the place of {len(baselines)} baselines"
    require(len(baselines) == len(records), f"--update puts {pairs}: give one for each")
    candidates = named(records, "candidate")
    old = named(baselines, "baseline") if all(os.path.lexists(path) for path in baselines) else ()
    allow = parse_allow(options.allow) if options.allow and old else None
    gate = judge(candidates, old, allow=allow, require=limits) if old or limits else None
    accepted = not limits or judge(candidates, require=limits).verdict == "pass"
    if accepted:
        write_baselines(dict(zip(baselines, candidates, strict=True)))
    if gate is not None:
        _deliver(gate, output, strict=False)
    done = f"{', '.join(baselines)}: now {', '.join(records)}" if accepted else "not updated: a limit does not hold"
    say(f"rnneval: {done}")
    if gate is None and accepted:  # else the warnings stand with the verdict
        for warning in warnings_of_runs(candidates):
            say(f"rnneval: warning: {warning}")
    return EXIT_CODES["pass" if accepted else "fail"]


def _deliver(gate: "Gate", output: GateOutput, *, strict: bool) -> None:
    from rnneval.render.gate_document import gate_document

    output.deliver(gate, gate_document, **_texts(gate, strict=strict))


def _texts(gate: "Gate", *, strict: bool) -> "dict[str, Callable[[], str]]":
    from rnneval.records import encode
    from rnneval.render.gate_document import gate_markdown

    own = {"json": lambda: encode(gate), "markdown": lambda: gate_markdown(gate)}
    return own | verdict_texts(gate, strict=strict)
