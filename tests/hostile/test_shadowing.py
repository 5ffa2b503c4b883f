"""Modules that lie beside a checkpoint are imported neither by the installed command nor by a notebook's call."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.hostile.canary import Canary
from tests.hostile.plain import keras_file

ROOT = Path(__file__).resolve().parents[2]
SHADOWED = (
    "tensorflow", "keras", "keras_hub", "keras_nlp", "h5py", "numpy", "msgspec", "click", "google_crc32c", "json",
    "zipfile", "jax", "torch", "optree", "ml_dtypes", "scipy", "pandas", "PIL", "tokenizers", "sentencepiece",
)  # fmt: skip
TOKENIZER = '{"version": "1.0", "model": {"type": "BPE", "vocab": {}, "merges": []}}'
# What pip writes for the entry point of `[project.scripts]`, without its first line.
COMMAND = "import sys\nfrom rnneval.__main__ import main\nif __name__ == '__main__':\n    sys.exit(main())\n"
NOTEBOOK = "import sys; assert sys.path[0] == ''; import rnneval; rnneval.open('m.keras'); print('opened')"


@pytest.fixture
def folder(tmp_path):
    """A good model among files called like the packages that are needed to open it."""
    (tmp_path / "model").mkdir()
    canary = Canary(tmp_path)
    for name in SHADOWED:
        (tmp_path / "model" / f"{name}.py").write_text(f"{canary.code}\nraise SystemExit({name!r} + ' was imported')")
    (tmp_path / "model" / "tokenizer.json").write_text(TOKENIZER)
    (tmp_path / "model" / "tokenizer.model").write_bytes(b"\x0a\x0e\x0a\x05<unk>\x15\x00\x00\x00\x00\x18\x02")
    keras_file(tmp_path / "model" / "m.keras")
    return tmp_path / "model"


def ran(folder, *command, path=str(ROOT)):
    environment = {**os.environ, "PYTHONPATH": path, "TF_CPP_MIN_LOG_LEVEL": "3"}
    return subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, cwd=folder, env=environment, check=False
    )


@pytest.mark.slow
def test_the_installed_command(folder, tmp_path):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "rnneval").write_text(COMMAND)
    done = ran(folder, tmp_path / "bin" / "rnneval", "open", "m.keras")
    assert (done.returncode, Canary(tmp_path).file.exists()) == (0, False), done.stderr
    assert "m.keras" in done.stdout


@pytest.mark.slow
def test_a_call_from_a_notebook(folder, tmp_path):
    done = ran(folder, "-c", NOTEBOOK)
    assert (done.stdout, Canary(tmp_path).file.exists()) == ("opened\n", False), done.stderr
    assert ran(folder, "-c", "import keras_hub").stderr == "keras_hub was imported\n"  # the trap is one
    assert Canary(tmp_path).file.exists()
