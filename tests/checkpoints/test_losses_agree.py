"""The losses of one model out of every format are equal; those of a model that was converted wrongly are not."""

import pytest

import rnneval
from tests.shelf import LETTERS


@pytest.fixture(scope="module")
def losses_of(shelf, tmp_path_factory):
    """Write the losses of a checkpoint on the text of the shelf, and return the path of the table."""
    folder = tmp_path_factory.mktemp("losses")

    def of(path, builder=None, backend=None):
        out = folder / f"{path.name}-{builder}-{backend}.parquet"
        made = None if builder is None else f"{shelf / 'model.py'}:{builder}"
        lm = rnneval.open(path, vocabulary=list(LETTERS), builder=made, backend=backend)
        rnneval.evaluate(lm, shelf.text, losses=out, check=False, states=False)
        return out

    return of


@pytest.mark.sampled(3)
@pytest.mark.parametrize(
    ("name", "builder", "backend"),
    [
        ("flat.h5", None, "keras"),
        ("flat.h5", None, "numpy"),
        ("flat.keras", None, "numpy"),
        ("flat.weights.h5", "flat", None),
        ("flat_ckpt", "flat", None),
        ("my.weights.h5", "MyModel", None),
        ("ckpt_saved", "MyModel", None),
    ],
)
def test_every_format_has_the_same_losses(shelf, losses_of, name, builder, backend):
    one, other = losses_of(shelf / "flat.keras"), losses_of(shelf / name, builder, backend)
    found = rnneval.compare_losses(one, other, within=1e-5)
    assert (found.tokens, found.beyond, found.first) == (239, 0, None)
