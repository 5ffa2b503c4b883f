"""Files that this Keras writes: every architecture, and the commonest in every format; by default some of them."""

import keras
import pytest

from tests.checkpoints.comparing import assert_opens_with_the_writers_logits
from tests.checkpoints.writing import KERAS_3, write_all

DRAWN = {"gru", "tutorial", "states", "stateful", "cells", "one_hot", "window_scaled", "hard", "operations"}


def grid(name):
    return [] if name in DRAWN else [pytest.mark.grid]


@pytest.mark.sampled(5)
@pytest.mark.filterwarnings("ignore:.*HDF5 file:UserWarning", "ignore:You are saving your model:UserWarning")
@pytest.mark.parametrize(("name", "form"), [pytest.param(*case, marks=grid(case[0])) for case in KERAS_3])
def test_opens_with_the_writers_logits(tmp_path, name, form):
    write_all(keras, tmp_path, [(name, form)])
    assert_opens_with_the_writers_logits(tmp_path, name, form)
