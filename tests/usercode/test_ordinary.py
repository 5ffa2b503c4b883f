"""Ordinary training scripts and notebooks, in short forms: they open as they are, or with the hint of the message."""

import pytest

from rnneval.checkpoints.usercode import Builder, parse_arguments, plan
from rnneval.errors import CheckpointError
from tests.usercode.scripts import NEIGHBOURS, SCRIPTS

# What the message asks for, and the value that the user gives.
HINTS = {
    "wandb_config.py": ("builder_globals={'config': VALUE}", "config={'vocab': 20, 'embed': 8, 'units': 16}"),
    "pickle_vocab.py": ("builder_globals={'vocab_size': VALUE}", "vocab_size=30"),
}


@pytest.mark.parametrize("file", SCRIPTS)
def test_ordinary_code_may_run_untouched_or_with_the_hint(user, monkeypatch, file):
    name, code = SCRIPTS[file]
    (user.folder / "lib").mkdir()
    for neighbour, text in NEIGHBOURS.items():
        (user.folder / "lib" / neighbour).write_text(text)
    cache = user.folder / "keras" / "datasets"
    cache.mkdir(parents=True)
    monkeypatch.setenv("KERAS_HOME", str(cache.parent))
    for text in ("nietzsche.txt", "shakespeare.txt"):
        (cache / text).write_text("to be")
    (user.folder / file).write_text(code, encoding="utf-8")
    given = {}
    if file in HINTS:
        hint, value = HINTS[file]
        with pytest.raises(CheckpointError) as caught:
            plan(f"{file}:{name}")
        assert hint in str(caught.value)
        given = parse_arguments([value], "--builder-global")
    lines = plan(f"{file}:{name}", given).shown_lines()
    assert lines
    assert "cache" not in {path.name for path in user.folder.iterdir()}


def test_a_script_with_settings_and_a_vocabulary_runs(user):
    """No framework is needed for this one: the value is compared with that of the whole script."""
    code = SCRIPTS["hydra_dict.py"][1].split("model = keras")[0].replace(", keras", "")
    (user.folder / "config.json").write_text('{"model": {"units": 16}}')
    (user.folder / "input.txt").write_text("to be or not")
    spec = user.spec(
        "made",
        code,
        "import os\nos.remove('input.txt')\ndef made(): return len(chars), cfg.model.units, cfg.model.layers\n",
    )
    assert Builder(spec=spec).run().made() == (7, 16, 2)
    assert (user.folder / "input.txt").exists()
