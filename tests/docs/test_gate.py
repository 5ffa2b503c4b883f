"""The page on the gate: every command, file and snippet of it is run here, or linted, in a fresh git repository.

By default the workflow of a team and those of GitHub and GitLab; `-m grid` runs the other blocks and snippets.

The models give each character the same probability everywhere, so every loss is known in closed form.
"""

import json
import math
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import yaml

import rnneval
from tests.gates.synthetic import ar_losses, make_run

pytestmark = pytest.mark.skipif(not (shutil.which("git") and shutil.which("bash")), reason="wants git and bash")
DOCS = Path(__file__).resolve().parents[2] / "docs"
WHOLE = (DOCS / "gate.md").read_text(encoding="utf-8")
PAGE = re.sub(r"<!-- from code.*?<!-- end -->", "", WHOLE, flags=re.DOTALL)
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
SHELL = [body for kind, body in BLOCKS if kind == "sh"]
FILES = [body for kind, body in BLOCKS if kind == "yaml"]
GITHUB, GITLAB, HOOKS = (yaml.safe_load(body) for body in FILES)
STEPS = {step["name"]: step for step in GITHUB["jobs"]["gate"]["steps"] if "name" in step}
LETTERS = "\n ae"
SHARES = np.array([0.05, 0.2, 0.15, 0.6])
TEXT = "".join(np.random.default_rng(0).choice(list(LETTERS), 40_000, p=SHARES).tolist())


def mean_loss(probability) -> float:
    """Mean of −ln p over all characters but the first."""
    return sum(-math.log(probability[LETTERS.index(letter)]) for letter in TEXT[1:]) / (len(TEXT) - 1)


def blurred(share: float):
    """Mix with the uniform distribution: the larger the share, the worse the model."""
    return (1 - share) * SHARES + share / 4


def worse_by(nats: float):
    """Find the mixture whose loss is larger than that of the baseline by so many nats, by bisection."""
    low, high = 0.3, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if mean_loss(blurred(middle)) < mean_loss(blurred(0.3)) + nats else (low, middle)
    return blurred(low)


MODELS = {
    "nan": np.full(4, np.nan),
    "base": blurred(0.3),
    "better": blurred(0.1),
    "worse": blurred(0.8),
    "unsure": worse_by(math.log(1.01)),
}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A `.keras` file for each of `MODELS`."""
    folder = tmp_path_factory.mktemp("models")
    layers = [
        keras.layers.Embedding(4, 2),
        keras.layers.GRU(2, return_sequences=True, name="gru"),
        keras.layers.Dense(4),
    ]
    model = keras.Sequential([keras.Input((None,), dtype="int32"), *layers])
    for name, probability in MODELS.items():
        layers[-1].set_weights([np.zeros((2, 4)), np.log(probability)])
        model.save(folder / f"{name}.keras")
    return folder


class Repository:
    """A git repository with a model and a text, and the programs that the page calls."""

    def __init__(self, folder: Path, models: Path) -> None:
        self.folder, self.models = folder / "repository", models
        (folder / "bin").mkdir()
        self.folder.mkdir()
        python = shlex.quote(sys.executable)
        programs = {"rnneval": f'exec {python} -m rnneval "$@"', "pip": "exit 0", "gh": 'echo "$*" > "$GH_SAID"'}
        for name, line in programs.items():
            (folder / "bin" / name).write_text(f"#!/bin/sh\n{line}\n")
            (folder / "bin" / name).chmod(0o755)
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("GIT_", "GITHUB_"))},
            "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
            "PYTHONPATH": str(DOCS.parent),
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GITHUB_BASE_REF": "main",
            "GITHUB_STEP_SUMMARY": str(folder / "summary.md"),
            "GH_SAID": str(folder / "gh.txt"),
            "NUMBER": "7",
            **{f"GIT_{who}_{what}": "a@b.c" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
        }
        (self.folder / "held_out.txt").write_text(TEXT)
        (self.folder / "train.txt").write_text(TEXT[::-1])
        (self.folder / "vocab.json").write_text(json.dumps(list(LETTERS)))
        self.train("base")
        self.run("git init -q -b main && git add . && git commit -qm Model")

    def train(self, name: str) -> None:
        """Put one of the models in the place of the file."""
        shutil.copy(self.models / f"{name}.keras", self.folder / "model.keras")

    def run(self, lines: str) -> subprocess.CompletedProcess[str]:
        """Run lines of the page in bash, up to the first that fails."""
        words = ["bash", "-e", "-c", lines]
        return subprocess.run(words, capture_output=True, text=True, check=False, cwd=self.folder, env=self.environment)


@pytest.fixture(scope="module")
def committed(tmp_path_factory, models):
    """A repository with its first baseline."""
    made = Repository(tmp_path_factory.mktemp("committed"), models)
    assert made.run(block("Commit the first baseline")).returncode == 0
    return made


@pytest.fixture
def repository(tmp_path, models, committed):
    """A copy of it, for each test."""
    made = Repository(tmp_path, models)
    shutil.rmtree(made.folder)
    shutil.copytree(committed.folder, made.folder)
    return made


def history(folder: Path) -> None:
    """Write the history of a training of 100 steps."""
    layers = [
        keras.layers.Embedding(4, 2),
        keras.layers.GRU(2, return_sequences=True, name="gru_1"),
        keras.layers.Dense(4),
    ]
    model = keras.Sequential([keras.Input((None,), dtype="int32"), *layers])
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    ids = np.random.default_rng(0).integers(0, 4, (100, 6))
    callbacks = [rnneval.GradientNorms(folder, logs="none")]
    model.fit(ids[:, :-1], ids[:, 1:], batch_size=1, verbose=0, callbacks=callbacks)


def block(beginning: str) -> str:
    """Return the first block of the section with this heading."""
    section = PAGE.partition(f"## {beginning}\n")[2]
    return re.findall(r"^```sh\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)[0]


def test_the_workflow_of_a_team(repository):
    """A baseline was committed; a better, a worse and an undecided candidate are judged; the baseline is moved."""
    committed = repository.run("git show HEAD:baselines/char.json").stdout
    assert json.loads(committed)["total_nats"] == pytest.approx(mean_loss(MODELS["base"]) * 39_999, rel=1e-6)
    assert len(committed) <= 20_000
    codes, said = {}, {}
    for name in ("better", "worse", "unsure"):
        repository.train(name)
        judged = repository.run(block("Judge a change"))
        codes[name], said[name] = judged.returncode, " ".join(judged.stdout.split())
        verdict = json.loads(
            repository.run("rnneval gate run.json --baseline baselines/char.json --format json").stdout
        )
        difference = mean_loss(MODELS[name]) - mean_loss(MODELS["base"])
        assert verdict["comparisons"][0]["difference"] == pytest.approx(difference, abs=1e-6)
    assert codes == {"better": 0, "worse": 1, "unsure": 3}
    assert "kB of text" in said["unsure"] or "no text of a practical size" in said["unsure"]
    repository.train("better")
    moved = repository.run("git switch -qc larger\n" + block("Judge a change") + block("Move the baseline"))
    assert moved.returncode == 0
    assert "difference" in moved.stdout
    same = repository.run(block("Judge a change"))
    assert same.returncode == 0
    assert "no difference" in same.stdout
    against_main = repository.run(block("Compare with another branch or release"))
    assert against_main.returncode == 0
    assert "no difference" not in against_main.stdout
    assert repository.run("git status --porcelain baselines").stdout == ""


@pytest.mark.grid
def test_every_block_of_commands_runs(repository):
    """In their order; records that other commands write are those of the gallery, or are made of numbers."""
    for name in ("wiring.json", "gradients.json", "states.parquet", "base.json", "new.json"):
        place = DOCS / "records" / name
        (shutil.copytree if place.is_dir() else shutil.copy)(place, repository.folder / name)
    history(repository.folder / "grads.parquet")
    for side, shift in (("base", 0.0), ("new", 0.1)):
        for seed in range(3):
            losses = ar_losses(128) + shift + seed / 100
            make_run(losses, checkpoint=f"{side}{seed}").save(repository.folder / f"{side}-{seed}.json")
    make_run(ar_losses(128), checkpoint="chars").save(repository.folder / "chars.json")
    signature = make_run([1.0]).signature.replace("tok:char", "tok:word")
    make_run(ar_losses(128) + 0.1, checkpoint="words", signature=signature).save(repository.folder / "words.json")
    assert SHELL[0] == block("Commit the first baseline")  # `committed` ran it
    for lines in SHELL[1:]:
        if "FETCH_HEAD" in lines:
            repository.run("git clone -q --bare . ../origin.git && git remote add origin ../origin.git")
        if "other.json" in lines:
            repository.run("cp run.json other.json && cp run.json base.json")
            repository.train("worse")
            repository.run("rnneval evaluate model.keras held_out.txt --out new.json")
        for line in [lines] if "FETCH_HEAD" in lines else lines.splitlines():
            ran = repository.run(line)
            assert ran.returncode in ((0, 1, 3) if " gate " in line else (0,)), f"{line}: {ran.stderr}"
            assert ran.stdout or ran.returncode == 0, f"{line}: {ran.stderr}"


@pytest.mark.parametrize(("schema", "place"), [("github-workflows", 0), ("gitlab-ci", 1)])
def test_files_are_valid_by_the_schemas_of_github_and_gitlab(tmp_path, schema, place):
    (tmp_path / "file.yml").write_text(FILES[place])
    words = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", f"vendor.{schema}", "file.yml"]
    ran = subprocess.run(words, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert ran.returncode == 0, ran.stdout


@pytest.mark.sampled(3)
@pytest.mark.parametrize(
    ("name", "code", "level"), [("unsure", 0, "warning"), ("worse", 1, "error"), ("better", 0, "notice")]
)
def test_steps_of_the_workflow_of_github(repository, name, code, level):
    """Inconclusive is shown and does not stop; a fail stops; the comment and the artifact find their files."""
    repository.train(name)
    assert repository.run(STEPS["Evaluate"]["run"]).returncode == 0
    judged = repository.run(STEPS["Gate"]["run"])
    assert (judged.returncode, judged.stdout.partition(" ")[0]) == (code, f"::{level}")
    assert "rnneval gate" in Path(repository.environment["GITHUB_STEP_SUMMARY"]).read_text()
    assert repository.run(STEPS["Comment on the pull request"]["run"]).returncode == 0
    said = Path(repository.environment["GH_SAID"]).read_text().split()
    assert said[:5] == ["pr", "comment", "7", "--body-file", "gate.md"]
    assert (repository.folder / "gate.md").read_text().startswith("## ")
    kept = GITHUB["jobs"]["gate"]["steps"][-1]["with"]["path"].split()
    assert [path for path in kept if not (repository.folder / path).exists()] == []


@pytest.mark.grid
def test_the_job_of_gitlab_and_the_hook(repository):
    hook = HOOKS["repos"][0]["hooks"][0]
    assert repository.run(hook["entry"]).returncode == 0
    repository.train("better")  # and no new record of it
    assert re.match(hook["files"], "model.keras")
    assert repository.run(hook["entry"]).returncode == 1
    codes = {}
    for name in ("better", "worse", "unsure"):
        repository.train(name)
        codes[name] = repository.run("\n".join(GITLAB["gate"]["script"])).returncode
    assert codes == {"better": 0, "worse": 1, "unsure": GITLAB["gate"]["allow_failure"]["exit_codes"]}
    artifacts = GITLAB["gate"]["artifacts"]
    for path in (artifacts["reports"]["junit"], *artifacts["paths"]):
        assert (repository.folder / path).exists()


def test_files_of_an_older_run_decide_nothing(repository):
    """No record is written of weights that are not numbers; run.json of the last run may lie there, committed."""
    older = {name: json.dumps({"verdict": "inconclusive"}) for name in ("gate.json", "target-branch.json")}
    for name, content in older.items():
        (repository.folder / name).write_text(content)
    repository.train("nan")
    assert repository.run("\n".join(GITLAB["gate"]["script"])).returncode == 1
    repository.run("cp baselines/char.json run.json")
    assert repository.run(STEPS["Clean"]["run"]).returncode == 0
    assert repository.run(STEPS["Evaluate"]["run"]).returncode == 2
    assert not (repository.folder / "run.json").exists()
    (repository.folder / "gate.json").write_text(older["gate.json"])
    assert repository.run(STEPS["Gate"]["run"]).returncode == 1


def test_the_step_for_the_target_branch(repository):
    """A baseline that moved is compared in summary and comment, with a warning; one in its place is not."""
    step = next(lines for lines in SHELL if "FETCH_HEAD" in lines)
    repository.run("git clone -q --bare . ../origin.git && git remote add origin ../origin.git")
    repository.train("worse")
    repository.run("rnneval evaluate model.keras held_out.txt --out run.json")
    ran = repository.run(step)
    assert (ran.returncode, ran.stdout) == (0, "")  # the gate has judged it
    repository.run("rnneval gate run.json --baseline baselines/char.json --update")
    ran = repository.run(step)
    assert (ran.returncode, ran.stdout) == (0, "::warning::no pass against the baseline of main: see the summary\n")
    summary = Path(repository.environment["GITHUB_STEP_SUMMARY"]).read_text()
    assert "## ❌ rnneval gate: fail: run.json against target-branch.json" in summary
    comment = (repository.folder / "gate.md").read_text()
    assert comment == f"rnneval: **no verdict**: see the summary of the job\n{summary}"
    repository.run("git -C ../origin.git update-ref refs/heads/main main~1")
    ran = repository.run(step)
    assert (ran.returncode, ran.stdout) == (0, "::warning::main has no baseline\n")


def test_what_does_not_compare_stays_an_error(repository):
    """Another text: neither host turns it into a warning."""
    (repository.folder / "held_out.txt").write_text(TEXT[::-1])
    assert repository.run(STEPS["Evaluate"]["run"]).returncode == 0
    assert repository.run(STEPS["Gate"]["run"]).returncode == 1
    assert repository.run("\n".join(GITLAB["gate"]["script"])).returncode == 1


SUITES = """
import glob, shutil
import pytest

def suite(*options):
    code = pytest.main(["-q", "-p", "no:cacheprovider", "--rootdir=.", "test_model.py", *options])
    print(f"code {{code:d}}, baselines {{len(glob.glob('baselines/test_model*.json'))}}")

suite("--rnneval-create")
print("next")
suite()
print("next")
shutil.copy({worse!r}, "model.keras")
suite()
"""


@pytest.mark.grid
def test_snippets_of_python(repository):
    fixture, plain = (body for kind, body in BLOCKS if kind == "python")
    (repository.folder / "test_model.py").write_text(fixture)
    suites = SUITES.format(worse=str(repository.models / "worse.keras"))
    printed = repository.run(f"{shlex.quote(sys.executable)} -c {shlex.quote(suites)}").stdout
    created, same, worse = printed.split("next\n")
    assert created.endswith("code 0, baselines 1\n"), printed
    assert same.endswith("code 0, baselines 1\n"), printed
    assert worse.endswith("code 1, baselines 1\n"), printed
    assert "AssertionError: fail: perplexity: beyond the margin" in worse
    repository.run(
        "rnneval evaluate model.keras held_out.txt --fit-on train.txt --out run.json && cp run.json base.json"
    )
    (repository.folder / "plain.py").write_text(f"{plain}print(verdict.verdict)\n")
    assert repository.run(f"{shlex.quote(sys.executable)} plain.py").stdout == "pass\n"
