"""What a command imports, prints and refuses in a process of its own, where nothing is loaded yet."""

import json
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from rnneval import records
from rnneval.cli.main import rnneval_command

NAMES = set(rnneval_command.list_commands(click.Context(rnneval_command)))
REPORT = """
import json, sys
from rnneval.cli.main import run
codes = [run(arguments) for arguments in json.loads(sys.argv[1])]
print(json.dumps([codes, sorted(sys.modules)]), file=sys.stderr)
"""


def ran(commands, *, before="", **environment):
    """Run commands one after the other in one new process; give their codes and the modules that are then loaded."""
    arguments = json.dumps([[str(a) for a in command] for command in commands])
    done = subprocess.run(
        [sys.executable, "-c", before + REPORT, arguments],
        capture_output=True, text=True, env={**os.environ, **environment}, timeout=300, check=True,
    )  # fmt: skip
    *said, report = done.stderr.splitlines()
    codes, modules = json.loads(report)
    return codes, set(modules), said


def test_the_help_of_every_command_imports_no_tensorflow():
    codes, modules, _ = ran([[name, "--help"] for name in NAMES])
    assert set(codes) == {0}
    assert not modules & {"tensorflow", "keras"}


def test_commands_that_read_records_and_source_never_import_tensorflow(record, tmp_path):
    (tmp_path / "train.py").write_text("x = 1\n")
    (tmp_path / "t.txt").write_text("abc")
    (tmp_path / "l.csv").write_text("token,byte_start,byte_end,nats\n1,1,2,1.0\n2,2,3,1.0\n")
    calls = {
        "import": ["import", tmp_path / "l.csv", "--text", tmp_path / "t.txt"],
        "explain": ["explain", "perplexity"],
        "lint": ["lint", tmp_path / "train.py"],
        "gate": ["gate", record, "--baseline", record],
        "compare": ["compare", record, record],
        "plot": ["plot", record, "--out", tmp_path / "plot.svg"],
        "report": ["report", record, "--out", tmp_path / "report.html"],
    }
    codes, modules, said = ran([call for name, call in calls.items() if name in NAMES])
    assert set(codes) <= {0, 1, 3}, said  # they did their work, whatever they found
    assert not modules & {"tensorflow", "keras"}


def test_an_evaluation_reads_at_most_99_modules_of_ours(shelf):
    codes, modules, said = ran([["evaluate", shelf / "flat.keras", shelf.text, "--quiet", "--format", "json"]])
    assert codes == [0], said
    assert sum(name.partition(".")[0] == "rnneval" for name in modules) <= 99


@pytest.mark.parametrize(
    ("before", "environment", "said"),
    [
        (
            "import sys; sys.modules['tensorflow'] = None\n",
            {},
            "TensorFlow is not installed, and this command needs it: pip install 'rnneval[tensorflow]'",
        ),
        ("", {"KERAS_BACKEND": "jax"}, "KERAS_BACKEND is jax; rnneval drives Keras on TensorFlow: unset it"),
        ("", {"TF_USE_LEGACY_KERAS": "1"}, "TF_USE_LEGACY_KERAS asks for Keras 2"),
    ],
    ids=["no TensorFlow", "another backend", "legacy Keras"],
)
def test_where_keras_3_on_tensorflow_cannot_run_it_is_said_before_anything_is_loaded(shelf, before, environment, said):
    calls = [["evaluate", shelf / "flat.keras", shelf.text, "--backend", "keras"], ["open", shelf / "flat.keras"]]
    codes, modules, lines = ran(calls, before=before, **environment)
    assert codes == [2, 2]
    assert len(lines) == 2
    assert all(line.startswith(f"rnneval: error: {said}") for line in lines), lines
    assert "keras" not in modules


TRAPS = (
    "keras_hub", "keras_nlp", "keras_cv", "sitecustomize", "usercustomize", "jax", "torch", "optree", "h5py", "rich",
    "scipy", "ml_dtypes", "tensorflow_text", "IPython", "pydot",
)  # fmt: skip


def trapped(folder):
    """A folder in which every module that could be imported by chance leaves a mark when it is."""
    folder.mkdir()
    for name in TRAPS:
        (folder / f"{name}.py").write_text(
            f"open({str(folder / 'fired')!r}, 'a').write({name!r})\nraise SystemExit(99)\n"
        )
    return folder


def command(*arguments):
    return [sys.executable, "-m", "rnneval", *map(str, arguments)]


@pytest.fixture
def environment():
    """As a person has it: with TensorFlow's chatter, without coverage of tests; the package is found from here."""
    kept = {k: v for k, v in os.environ.items() if k not in {"TF_CPP_MIN_LOG_LEVEL", "TF_ENABLE_ONEDNN_OPTS"}}
    return {**kept, "PYTHONPATH": os.pathsep.join([str(Path.cwd()), kept.get("PYTHONPATH", "")]).rstrip(os.pathsep)}


def test_evaluate_prints_the_record_alone_and_imports_nothing_from_the_current_folder(shelf, tmp_path, environment):
    folder = trapped(tmp_path / "here")
    done = subprocess.run(
        command("evaluate", shelf / "flat.keras", shelf.text, "--format", "json"),
        capture_output=True, text=True, cwd=folder, env=environment, timeout=600, check=False,
    )  # fmt: skip
    assert not (folder / "fired").exists(), (folder / "fired").read_text()
    assert (done.returncode, {line.split(":")[0] for line in done.stderr.splitlines()}) == (0, {"rnneval"})
    found = records.decode(done.stdout)
    assert found.total_nats == pytest.approx(shelf.total_nats, rel=1e-6)
    assert found.command[:2] == ("rnneval", "evaluate")
