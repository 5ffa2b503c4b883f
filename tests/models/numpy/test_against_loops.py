"""The NumPy backend against a float64 loop, in files of Keras 2 that are made by hand: no TensorFlow is needed."""

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from rnneval.errors import CheckpointError, UsageError
from rnneval.models.protocol import Shape
from tests.checkpoints import by_hand
from tests.models.numpy.made import KINDS, WIDTH, ids_of, open_numpy, stack_file

SHAPE = Shape(rows=11, segment=64)


@pytest.fixture(params=KINDS)
def made(request, tmp_path):
    path, stack = stack_file(tmp_path / "model.h5", request.param)
    return open_numpy(path), stack


@pytest.fixture
def gru(tmp_path):
    path, stack = stack_file(tmp_path / "model.h5", "GRU")
    return open_numpy(path), stack


def scored(lm, ids, states=None, sees="losses"):
    states = np.tile(lm.start(), (len(ids), 1)) if states is None else states
    return lm.scorer(SHAPE, sees=sees).score(ids[:, :-1], ids[:, 1:], states, len(ids))


def test_logits_and_losses(made) -> None:
    lm, stack = made
    ids = ids_of(3, 60)
    logits, _ = lm.step(ids, lm.initial_state(3))
    np.testing.assert_allclose(logits, [stack.logits(row) for row in ids], atol=1e-5)
    np.testing.assert_allclose(scored(lm, ids).predicted.nats, [stack.losses(row) for row in ids], atol=2e-6)


def test_gates_in_another_place_are_seen(tmp_path) -> None:
    """A mutant: two gates' weights are exchanged in the file, and the loop keeps the right ones."""
    for name, (kind, _) in KINDS.items():
        if kind == "SimpleRNN":
            continue
        path, stack = stack_file(tmp_path / f"{kind}.h5", name)
        import h5py

        with h5py.File(path, "r+") as file:
            kernel = file["model_weights/upper/upper/recurrent_kernel:0"]
            values = kernel[()]
            kernel[:, :6], kernel[:, 6:12] = values[:, 6:12], values[:, :6]
        ids = ids_of(1, 20)
        assert np.abs(scored(open_numpy(path), ids).predicted.nats - stack.losses(ids[0])).max() > 1e-3


def test_a_row_does_not_depend_on_its_block(gru, monkeypatch) -> None:
    lm, stack = gru
    ids = ids_of(11, 30)
    monkeypatch.setattr(lm.network, "rows", 4)
    found = scored(lm, ids, sees="states")
    assert found.trajectories.states["lower.h"].states.shape[0] == 11
    np.testing.assert_allclose(found.predicted.nats, [stack.losses(row) for row in ids], atol=2e-6)


def test_trajectories(made) -> None:
    lm, stack = made
    ids = ids_of(2, 20)
    found = scored(lm, ids, sees="gates")
    seen = found.trajectories
    for row in range(2):
        states = [stack.run(ids[row, : t + 1])[1] for t in range(19)]
        for layer, name in enumerate(("lower", "upper")):
            for slot, part in enumerate(lm.layers[layer].slots):
                path = seen.states[f"{name}.{part}"]
                np.testing.assert_allclose(path.states[row], [s[layer][slot] for s in states], atol=1e-5)
                assert not path.before.any()
    for layer, values in seen.inputs.items():
        below = stack.embedding[ids[:, :-1]] if layer == "lower" else seen.states["lower.h"].states
        np.testing.assert_allclose(values, below, atol=1e-6)


def test_many_threads_are_put_back(gru) -> None:
    lm, _ = gru
    before = [(info["filepath"], info["num_threads"]) for info in threadpool_info()]
    scored(lm, ids_of(2, 10))
    assert [(info["filepath"], info["num_threads"]) for info in threadpool_info()] == before


def test_ids_that_it_does_not_have(gru) -> None:
    lm, _ = gru
    with pytest.raises(UsageError, match="1 ids that the model does not have, the first 7"):
        lm.step([[1, WIDTH]], lm.initial_state(1))


def test_an_embedding_that_is_too_small(tmp_path) -> None:
    config = by_hand.sequential(by_hand.embedding(input_dim=6), by_hand.recurrent("GRU", "gru", 4), by_hand.dense())
    lm = open_numpy(by_hand.write(tmp_path / "model.h5", config, by_hand.weights_of(config)))
    with pytest.raises(CheckpointError, match="the embedding has 6 rows, and the text has the id 6"):
        scored(lm, np.array([[1, 6, 2]], np.int32))


def test_weights_that_are_not_finite(tmp_path) -> None:
    import h5py

    path, _ = stack_file(tmp_path / "model.h5", "LSTM")
    with h5py.File(path, "r+") as file:
        file["model_weights/upper/upper/bias:0"][3] = np.nan
    with pytest.raises(CheckpointError, match="weight upper/bias has 1 NaN: the training diverged"):
        open_numpy(path)


def test_layout_of_cudnn(tmp_path) -> None:
    """cuDNN has one matrix a gate, with a row for each unit, and two biases."""
    config = by_hand.sequential(by_hand.embedding(), by_hand.recurrent("LSTM", "lower", 5), by_hand.dense())
    weights = by_hand.weights_of(config)
    name, arrays = weights[1]
    (k, kernel), (u, recurrent), (b, bias) = arrays
    into = np.hstack([gate.T.reshape(gate.shape) for gate in np.split(kernel, 4, axis=1)])
    back = np.hstack([gate.T for gate in np.split(recurrent, 4, axis=1)])
    halves = np.concatenate([0.25 * bias, 0.75 * bias])
    right = open_numpy(by_hand.write(tmp_path / "right.h5", config, weights))
    weights[1] = (name, [(k, into), (u, back), (b, halves)])
    turned = open_numpy(by_hand.write(tmp_path / "cudnn.h5", config, weights))
    ids = ids_of(2, 20)
    np.testing.assert_allclose(scored(turned, ids).predicted.nats, scored(right, ids).predicted.nats, atol=1e-6)
    assert "weights were in the layout of cuDNN's own layers, and were rearranged" in turned.assumptions
