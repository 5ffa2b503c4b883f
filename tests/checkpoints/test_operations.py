"""Operations of TensorFlow in a graph of Keras 2: each of ours against TensorFlow's, and what is not known."""

import numpy as np
import pytest
import tensorflow as tf

from rnneval.checkpoints.keras2 import ARGUMENTS, arguments_of, operation_of
from rnneval.errors import CheckpointError
from rnneval.models.keras.opening import Keras2Operation

X = np.random.default_rng(0).normal(size=(2, 3, 1)).astype("float32")
Y = np.random.default_rng(1).normal(size=(2, 3, 1)).astype("float32")
IDS = np.array([[0, 2], [1, 3]], "int32")
CASES = [
    ("one_hot", IDS, {"depth": 4}),
    ("one_hot", IDS, {"depth": 4, "on_value": 2.0, "off_value": -1.0}),
    ("cast", X * 3, {"dtype": "int32"}),
    *((name, X, {"y": Y}) for name in ("math.add", "math.subtract", "math.multiply", "math.truediv", "math.divide")),
    ("math.truediv", X, {"y": 0.7}),
    *((name, X, {}) for name in ("math.negative", "math.tanh", "math.sigmoid", "math.exp", "math.square", "nn.relu")),
    *((name, X, {"axis": 1}) for name in ("nn.softmax", "nn.log_softmax", "expand_dims")),
    ("nn.softmax", X.reshape(2, 3), {}),
    ("squeeze", X, {"axis": -1}),
    ("squeeze", X, {}),
    ("identity", X, {}),
]


@pytest.mark.parametrize(("name", "given", "named"), CASES)
def test_operations_of_tensorflow_that_are_known(name, given, named):
    *rooms, last = name.split(".")
    theirs = tf
    for room in rooms:
        theirs = getattr(theirs, room)
    wanted = getattr(theirs, last)(given, **named)
    found = Keras2Operation(name)(given, **named)
    assert found.dtype == wanted.dtype
    np.testing.assert_allclose(found, wanted, atol=1e-6, rtol=0)


def test_each_is_looked_at():
    looked_at = {name for name, _, _ in CASES} | {"__operators__.add"}
    assert looked_at == set(ARGUMENTS)
    np.testing.assert_array_equal(Keras2Operation("__operators__.add")(X, y=Y), X + Y)


def test_what_is_not_known_is_not_dropped():
    assert operation_of({"function": "cast"}, "m.h5") == "cast"
    with pytest.raises(CheckpointError, match=r"m\.h5: an operation of TensorFlow, tf\.scan, which is none"):
        operation_of({"function": "scan"}, "m.h5")
    assert arguments_of("cast", {"dtype": "float64", "name": "c", "x": None}, "m.h5") == {"dtype": "float32"}
    for odd in ({"scale": 2}, {"y": {"class_name": "Lambda"}}, {"y": [1, 2]}):
        with pytest.raises(CheckpointError, match="which is not known"):
            arguments_of("math.add", odd, "m.h5")
    for depth in (10**9, 0, 4.0, "4"):
        with pytest.raises(CheckpointError, match=r"tf\.one_hot is called with depth="):
            arguments_of("one_hot", {"depth": depth}, "m.h5")
