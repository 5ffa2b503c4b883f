"""No hostile file has its way: its canary stays silent, one line names the rule, TensorFlow is not there yet."""

import json
import os
import subprocess
import sys

import pytest

from rnneval.errors import CheckpointError
from rnneval.pages import all_pages
from tests.hostile.corpus import ROOT, all_cases, build, rows

CASES = all_cases()
MOST_MB = 1000


def environment():
    return {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}


def worked(names, folder, **more):
    """Build the cases and open them in one process; give what came of each."""
    built, listeners = [], []
    for name in names:
        model, canary = build(name, folder / name)
        number = None
        if canary.listener is not None:
            number = canary.listener.fileno()
            listeners.append(canary.listener)
        built.append({"name": name, "folder": str(folder / name), "model": str(model), "listener": number})
    (folder / "list.json").write_text(json.dumps(built))
    done = subprocess.run(
        [sys.executable, "-m", "tests.hostile.worker", folder / "list.json"],
        capture_output=True, text=True, env=environment(), cwd=ROOT, timeout=580, check=False,
        pass_fds=[listener.fileno() for listener in listeners], **more,
    )  # fmt: skip
    for listener in listeners:
        listener.close()
    found = {result["name"]: result for result in map(json.loads, done.stdout.splitlines())}
    assert set(found) == set(names), done.stderr[-2000:]
    return found


def require_silent(name, result):
    rule = CASES[name].rule
    assert result["fired"] == "", result
    assert result["peak_mb"] < MOST_MB, result
    if not rule:
        assert result["code"] == 0, result
        return
    assert result["code"] == 2, result
    lines = result["said"].splitlines()
    assert len(lines) == 1, result
    assert f"refused by rule {rule}: " in lines[0], result
    assert lines[0].startswith("rnneval: error: ")
    if not CASES[name].late:
        assert not result["tensorflow"], result


@pytest.fixture(scope="session")
def early(tmp_path_factory):
    names = [name for name, case in CASES.items() if not case.late]
    return worked(names, tmp_path_factory.mktemp("early"))


@pytest.fixture(scope="session")
def late(tmp_path_factory):
    names = [name for name, case in CASES.items() if case.late]
    return worked(names, tmp_path_factory.mktemp("late"))


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if not case.late])
def test_refused_before_tensorflow_is_imported(early, name):
    require_silent(name, early[name])
    assert early[name]["seconds"] < 5  # the promise of two seconds is held to on a quiet machine, below


@pytest.mark.sampled(2)
@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.late])
def test_silent_where_tensorflow_is_needed(late, name):
    require_silent(name, late[name])


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.rule and not case.needs_tensorflow][::6])
def test_from_python_the_same_rule_is_one_line(name, tmp_path):
    import rnneval

    model, canary = build(name, tmp_path)
    canary.memory = 1 << 50  # this process may hold TensorFlow
    words = CASES[name].command(model)
    more = {"builder": words[words.index("--builder") + 1]} if "--builder" in words else {}
    with pytest.raises(CheckpointError, match=f"refused by rule {CASES[name].rule}: ") as caught:
        rnneval.open(model, **more)
    assert (caught.value.rule, "\n" in str(caught.value)) == (CASES[name].rule, False)
    assert canary.fired() == ""
    if canary.listener:
        canary.listener.close()


def test_there_are_enough_of_them_and_every_rule_has_one():
    assert len(CASES) >= 45
    told = {page.name for page in all_pages() if page.kind == "loading rule"}
    elsewhere = {  # by hand in tests/files, since they need no trap: what the bytes say, and what opening says
        "remote-path", "interrupted-save", "no-checkpoint", "unreadable-file", "locked-file", "damaged-file",
    }  # fmt: skip
    assert {case.rule for case in CASES.values()} - {""} == told - elsewhere


def test_the_table_of_the_docs_is_of_these_files_and_takes_the_routes_of_all_known_cves():
    told = rows()
    assert {name: row["rule"] for name, row in told.items()} == {name: case.rule for name, case in CASES.items()}
    wanted = "2024-3660 2025-1550 2025-8747 2025-9905 2025-9906 2025-12058 2026-0897 2026-1669 2026-12480 2026-12481"
    assert {f"CVE-{number}" for number in wanted.split()} <= {cve for row in told.values() for cve in row["routes"]}
