"""What all tests share: TensorFlow kept quiet, and a shelf of small models in every format, made once."""

import os
import signal
import sys
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import pytest

from rnneval.processes import THREADS

ROOT = Path(__file__).resolve().parent.parent
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["TF_ENABLE_ONEDNN_OPTS"] = "0"
os.environ.pop("COLUMNS", None)  # pytest-xdist sets it, and what is printed into a pipe follows it
# Workers of pytest-xdist share the cores: threads of linear algebra would wait for each other.
for _name in THREADS:
    os.environ.setdefault(_name, "1")


def pytest_configure(config: pytest.Config) -> None:
    """Keep what Python compiles, and let no drawn example fail by the time that it takes."""
    if sys.dont_write_bytecode and hasattr(config, "cache"):
        # TensorFlow and Keras are 3,000 files. Where Python keeps none of them compiled, each of a hundred processes
        # that the tests start would compile all: 17 s of CPU in place of 5.
        compiled = str(config.cache.mkdir("compiled"))
        sys.dont_write_bytecode, sys.pycache_prefix = False, compiled
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        os.environ["PYTHONPYCACHEPREFIX"] = compiled
    if not (find_spec("torch") and find_spec("transformers")):
        folders = ("rnneval/models/torch", "rnneval/wiring/torch", "tests/models/torch", "tests/wiring/torch")
        globs = [*(f"{ROOT}/{folder}/*" for folder in folders), f"{ROOT}/*/callbacks/*torch.py"]
        config.option.ignore_glob = [*(config.option.ignore_glob or ()), *globs]
    if config.pluginmanager.hasplugin("hypothesispytest"):  # the tests in a browser need no Hypothesis
        from hypothesis import settings

        # One tree has one result: new random cases would fail a change that has nothing to do with them.
        settings.register_profile("repeatable", deadline=None, derandomize=True, max_examples=50)
        settings.load_profile("repeatable")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave all but every n-th case of a test that is marked `sampled(n)` to the grid."""
    seen: Counter[str] = Counter()
    for item in items:
        mark = item.get_closest_marker("sampled")
        if mark is not None:
            test = item.nodeid.partition("[")[0]
            if seen[test] % mark.args[0]:
                item.add_marker(pytest.mark.grid)
            seen[test] += 1


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of real texts, for tests marked `real_data`."""
    folder = os.environ.get("RNNEVAL_DATA")
    if folder is None:
        pytest.skip("RNNEVAL_DATA names no folder of texts")
    return Path(folder)


@pytest.fixture
def interruptible():
    """A shell that starts tests in the background has them ignore SIGINT, and what they start would ignore it, too."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session")
def shelf(tmp_path_factory):
    """One model in every format, with its text, its vocabulary and the code that makes it; read only."""
    from tests.shelf import make_shelf

    return make_shelf(tmp_path_factory.mktemp("shelf"))


@pytest.fixture(scope="session")
def record(shelf, tmp_path_factory):
    """The run record of the model on the shelf, as a file; read only."""
    from rnneval.cli.main import run

    out = tmp_path_factory.mktemp("record") / "run.json"
    assert run(["evaluate", str(shelf / "flat.keras"), str(shelf.text), "--out", str(out), "--quiet"]) == 0
    return out


@pytest.fixture
def refused(capsys):
    """Run a command that must refuse its input: exit code 2, nothing on standard output, one line of error.

    Warnings about what was done before may stand above it.
    """
    from rnneval.cli.main import run

    def refused(*arguments: object) -> str:
        code = run([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        assert (code, captured.out) == (2, ""), captured
        *warnings, line = captured.err.removesuffix("\n").split("\n")
        assert all(each.startswith("rnneval: warning ") for each in warnings), warnings
        assert line.startswith("rnneval: error: ")
        assert line.isprintable(), line  # one line, no control characters
        assert "defect of rnneval" not in line, line
        return line.removeprefix("rnneval: error: ")

    return refused
