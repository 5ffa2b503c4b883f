"""A checkpoint that another process exchanges: the hash, the rules and the weights are of the same bytes."""

import shutil

import h5py
import numpy as np
import pytest

import rnneval
from rnneval.checkpoints import checked
from tests.files.identified import identify
from tests.hostile.plain import keras_file, weights


def other_weights(file):
    for name in ("layers/dense/vars/0", "layers/gru/cell/vars/0"):
        file[name][...] = file[name][...] + 1


def whole_h5(source, path):
    """The same model as one `.h5` file, written by Keras."""
    import keras

    keras.models.load_model(source, compile=False).save(path)
    return path


@pytest.fixture(scope="module")
def pairs(tmp_path_factory, shelf):
    """By format: a checkpoint A, another one B with other weights, and how to open them."""
    import tensorflow as tf

    folder = tmp_path_factory.mktemp("pairs")
    first, second = keras_file(folder / "a.keras"), keras_file(folder / "b.keras", stored=weights(other_weights))
    found = {"keras": (first, second, {})}
    found["h5"] = (whole_h5(first, folder / "a.h5"), whole_h5(second, folder / "b.h5"), {})
    builder = {"builder": f"{shelf / 'model.py'}:MyModel", "vocabulary": shelf / "vocab.json"}
    found["weights-h5"] = (
        shelf / "my.weights.h5",
        shutil.copy(shelf / "my.weights.h5", folder / "b.weights.h5"),
        builder,
    )
    with h5py.File(folder / "b.weights.h5", "r+") as file:
        file["gru/cell/vars/0"][...] = file["gru/cell/vars/0"][...] + 1
    model = rnneval.open(shelf / "my.weights.h5", **builder).model
    for name, kept in (("a", 0.0), ("b", 1.0)):
        model.set_weights([value + kept for value in model.get_weights()])
        tf.train.Checkpoint(model=model).write(str(folder / f"tf-{name}" / "c"))
        program = tf.Module()
        program.model = model
        tf.saved_model.save(program, str(folder / f"saved-{name}"))
    found["tf-checkpoint"] = (folder / "tf-a", folder / "tf-b", builder)
    found["saved-model"] = (folder / "saved-a", folder / "saved-b", builder)
    return found


def copy_to(source, place):
    (shutil.copytree if source.is_dir() else shutil.copyfile)(source, place)


def renamed(source, place):
    """Put the other checkpoint in the place by renaming."""
    fresh = place.with_name(f"fresh-{place.name}")
    copy_to(source, fresh)
    if place.is_dir():
        place.rename(place.with_name(f"old-{place.name}"))
    fresh.rename(place)


def overwritten(source, place):
    """Write the other checkpoint's bytes into the very same files."""
    for file in [path for path in source.rglob("*") if path.is_file()] if source.is_dir() else [source]:
        with (place / file.relative_to(source)).open("r+b") as target:
            target.write(file.read_bytes())
            target.truncate()


def numbers(lm):
    return np.concatenate([np.ravel(value) for value in lm.model.get_weights()])


@pytest.mark.sampled(10)
@pytest.mark.parametrize("exchange", [renamed, overwritten])
@pytest.mark.parametrize("name", ["keras", "h5", "weights-h5", "tf-checkpoint", "saved-model"])
def test_what_was_hashed_is_what_is_loaded(pairs, name, exchange, tmp_path, monkeypatch):
    """The exchange happens after the hash was compared and before anything is loaded."""
    first, second, options = pairs[name]
    place = tmp_path / (first.name if first.is_file() else "model")
    copy_to(first, place)
    sha256 = identify(first).sha256
    assert identify(place).sha256 == sha256 != identify(second).sha256
    compare = checked.require_sha256

    def then_exchanged(artefact, expected):
        found = compare(artefact, expected)
        exchange(second, place)
        return found

    monkeypatch.setattr(checked, "require_sha256", then_exchanged)
    lm = rnneval.open(place, expect_sha256=sha256, **options)
    monkeypatch.undo()
    assert identify(place).sha256 == identify(second).sha256  # the exchange took place
    assert lm.checkpoint.sha256 == sha256
    assert lm.checkpoint.path == str(identify(place).path)
    assert np.array_equal(numbers(lm), numbers(rnneval.open(first, **options)))
    assert not np.array_equal(numbers(lm), numbers(rnneval.open(second, **options)))
