"""The losses of a model that was converted wrongly differ, as those of float64 loops over both models do."""

import keras
import numpy as np
import pandas as pd
import pytest

import rnneval
from tests.oracles import stack_of
from tests.shelf import LETTERS


@pytest.fixture(scope="module")
def losses_of(shelf, tmp_path_factory):
    """Write the losses of a checkpoint on the text of the shelf, and return them."""
    folder = tmp_path_factory.mktemp("losses")

    def of(path):
        out = folder / f"{path.name}.parquet"
        lm = rnneval.open(path, vocabulary=list(LETTERS))
        rnneval.evaluate(lm, shelf.text, losses=out, check=False, states=False)
        return pd.read_parquet(out)["nats"].to_numpy()

    return of


def exchanged(weights):
    """Exchange the update and the reset gate, the first and the second third of each array of the GRU."""
    changed = list(weights)
    for at in (1, 2, 3):
        z, r, h = np.split(weights[at], 3, axis=-1)
        changed[at] = np.concatenate([r, z, h], axis=-1)
    return changed


def moved(weights):
    """Move one weight of the kernel by 1e-3."""
    changed = [w.copy() for w in weights]
    changed[1][2, 13] += 1e-3
    return changed


@pytest.mark.grid
@pytest.mark.parametrize(("change", "within"), [(exchanged, 1e-4), (moved, 1e-5)])
def test_a_wrong_conversion_differs_as_the_float64_loops_of_both_models_do(shelf, losses_of, tmp_path, change, within):
    model = keras.models.load_model(shelf / "flat.keras")
    model.set_weights(change(model.get_weights()))
    model.save(tmp_path / "wrong.keras")
    found = losses_of(tmp_path / "wrong.keras") - losses_of(shelf / "flat.keras")
    ids = [LETTERS.index(letter) for letter in shelf.text.read_text()]
    embedding, gru, dense = model.layers
    expected = stack_of(embedding, [gru], dense).losses(ids) - shelf.oracle.losses(ids)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
    assert np.abs(found).max() > within
