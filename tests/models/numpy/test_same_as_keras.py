"""The NumPy backend against Keras itself: the same files, opened by both."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import rnneval
from rnneval.evaluate.check import check
from rnneval.models.numpy.chain import FUNCTIONS
from rnneval.models.protocol import Shape
from tests.models.numpy.made import KINDS, WIDTH, ids_of, open_numpy, stack_file
from tests.oracles import nats

FIELDS = (
    "width", "layers", "slots", "input_kind", "output_kind", "assumptions", "checkpoint", "vocabulary",
    "why_no_vocabulary", "mixable", "repeatable", "window",
)  # fmt: skip


def models() -> dict[str, Any]:
    """Functions that make a model of each kind, with Keras imported when they are called."""
    import keras
    from keras import layers as k

    ids, rows = keras.Input((None,), dtype="int32"), (None, WIDTH)

    def sequential(*layers: Any, start: Any = None) -> Any:
        return keras.Sequential([keras.Input((None,), dtype="int32") if start is None else start, *layers])

    def emb(**more: Any) -> Any:
        return k.Embedding(WIDTH, 5, **more)

    def functional() -> Any:
        x, *_ = k.LSTM(4, return_sequences=True, return_state=True, name="memory")(emb()(ids))
        return keras.Model(ids, k.Activation("softmax")(k.Dense(WIDTH)(k.Dropout(0.5)(x))))

    def nested() -> Any:
        inner = keras.Sequential([k.GRU(4, return_sequences=True, name="own"), k.SimpleRNN(3, return_sequences=True)])
        return sequential(emb(), inner, k.Dense(WIDTH))

    seq = {"return_sequences": True}
    return {
        "GRU": lambda: sequential(emb(), k.GRU(4, **seq), k.Dense(WIDTH)),
        "GRU, reset before": lambda: sequential(emb(), k.GRU(4, reset_after=False, **seq), k.Dense(WIDTH)),
        "LSTM": lambda: sequential(emb(), k.LSTM(4, **seq), k.Dense(WIDTH)),
        "SimpleRNN": lambda: sequential(emb(), k.SimpleRNN(4, **seq), k.Dense(WIDTH)),
        "no biases": lambda: sequential(
            emb(), k.GRU(4, use_bias=False, **seq), k.LSTM(4, use_bias=False, **seq), k.Dense(WIDTH, use_bias=False)
        ),
        "one-hot GRU": lambda: sequential(k.GRU(4, **seq), k.Dense(WIDTH), start=keras.Input(rows)),
        "one-hot, dense first": lambda: sequential(
            k.Dense(3, activation="tanh"), k.GRU(4, **seq), k.Dense(WIDTH), start=keras.Input(rows)
        ),
        "scaled": lambda: sequential(k.LSTM(4, **seq), k.Dense(WIDTH), start=keras.Input((None, 1))),
        "mixed stack": lambda: sequential(
            emb(), k.SpatialDropout1D(0.2), k.GRU(4, **seq), k.LayerNormalization(), k.LSTM(3, **seq),
            k.GaussianNoise(0.5), k.SimpleRNN(5, **seq), k.TimeDistributed(k.Dense(WIDTH, activation="softmax"))
        ),
        "stateful": lambda: sequential(
            emb(), k.GRU(4, stateful=True, **seq), k.Dense(WIDTH),
            start=keras.Input((None,), batch_size=2, dtype="int32"),
        ),
        "functional": functional,
        "nested": nested,
        "dressed": lambda: sequential(
            emb(), k.Dense(6), k.Activation("leaky_relu"),
            k.GRU(4, activation="relu", recurrent_activation="tanh", **seq),
            k.Activation("elu"), k.Dense(WIDTH), k.Softmax()
        ),
        "recurrence last": lambda: sequential(emb(), k.LSTM(WIDTH, **seq)),
        "hard sigmoid": lambda: sequential(
            emb(), k.GRU(4, recurrent_activation="hard_sigmoid", **seq), k.LSTM(4, recurrent_activation="hard_sigmoid",
            activation="softsign", **seq), k.Dense(WIDTH)
        ),
    }  # fmt: skip


@dataclass(frozen=True)
class Both:
    keras: Any
    numpy: Any


def both(path: Any, **options: Any) -> Both:
    return Both(rnneval.open(path, backend="keras", **options), open_numpy(path, **options))


CASES = [
    *KINDS, "no biases", "one-hot GRU", "one-hot, dense first", "scaled", "mixed stack", "stateful", "functional",
    "nested", "dressed", "recurrence last", "hard sigmoid",
]  # fmt: skip


@pytest.fixture(scope="module", params=CASES)
def pair(request, tmp_path_factory):
    """A model, saved in one of the formats, as both backends open it."""
    name = request.param
    form = "keras" if CASES.index(name) % 4 > 1 else "h5"
    model = models()[name]()
    rng = np.random.default_rng(CASES.index(name))
    model.set_weights([rng.normal(0, 0.6, w.shape).astype(w.dtype) for w in model.get_weights()])
    path = tmp_path_factory.mktemp("files") / f"model.{form}"
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.save(path)
        (path.parent / "vocab.txt").write_text("\n".join("abcdefg"), encoding="utf-8")
        return both(path)


def fields_of(lm: Any) -> dict[str, Any]:
    return {name: getattr(lm, name) for name in FIELDS}


def run(lm: Any, ids: Any, state: Any = None) -> tuple[Any, list[Any]]:
    logits, after = lm.step(ids, lm.initial_state(len(ids)) if state is None else state)
    return np.asarray(logits), [np.asarray(leaf) for leaf in after]


@pytest.mark.sampled(4)
def test_logits_states_and_losses(pair) -> None:
    ids = ids_of(2, 40)
    (theirs, their_state), (ours, our_state) = run(pair.keras, ids[:, :-1]), run(pair.numpy, ids[:, :-1])
    assert ours.dtype == theirs.dtype
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
    for a, b in zip(our_state, their_state, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
    scorer = pair.numpy.scorer(Shape(rows=2, segment=40))
    found = scorer.score(ids[:, :-1], ids[:, 1:], np.tile(pair.numpy.start(), (2, 1)), 2)
    wanted = [nats(np.asarray(rows, np.float64), targets) for rows, targets in zip(theirs, ids[:, 1:], strict=True)]
    assert abs(found.predicted.nats.mean() - np.mean(wanted)) < 1e-6
    np.testing.assert_allclose(found.predicted.nats, wanted, atol=1e-5)


@pytest.mark.sampled(4)
def test_a_state_of_keras_goes_on_in_numpy(pair) -> None:
    ids = ids_of(2, 21)
    whole, _ = run(pair.keras, ids)
    _, state = run(pair.keras, ids[:, :9])
    rest, _ = run(pair.numpy, ids[:, 9:], state)
    np.testing.assert_allclose(rest, whole[:, 9:], atol=1e-5)


@pytest.mark.sampled(4)
def test_every_field_is_equal(pair) -> None:
    assert fields_of(pair.numpy) == fields_of(pair.keras)


@pytest.mark.sampled(2)
@pytest.mark.parametrize(("name", "one_hot"), [("GRU, reset before", False), ("LSTM", True)])
def test_files_of_keras_2(tmp_path, name, one_hot) -> None:
    path, _ = stack_file(tmp_path / "model.h5", name, one_hot=one_hot, activation="softmax")
    pair = both(path)
    ids = ids_of(2, 30)
    np.testing.assert_allclose(run(pair.numpy, ids)[0], run(pair.keras, ids)[0], atol=1e-5)
    assert fields_of(pair.numpy) == fields_of(pair.keras)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_activations(name) -> None:
    import keras
    import tensorflow as tf

    from rnneval.models.keras import keras2_hard_sigmoid

    x = np.linspace(-7, 7, 113, dtype=np.float32).reshape(1, -1)
    x = np.concatenate([x, x[:, ::-1] * 1e-3])
    function = keras2_hard_sigmoid if name == "keras2_hard_sigmoid" else keras.activations.get(name)
    ours = FUNCTIONS[name](x.copy())
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, np.asarray(function(tf.constant(x))), rtol=2e-6, atol=1e-6)


def test_wiring_is_right_by_construction(tmp_path) -> None:
    """The check of the Keras model finds the same layers and the same verdict."""
    path = tmp_path / "functional.keras"
    models()["functional"]().save(path)
    theirs = rnneval.check(rnneval.open(path, backend="keras"))
    ours = check(open_numpy(path))
    assert (ours.verdict, ours.layers) == (theirs.verdict, theirs.layers)
    assert ours.verdict == "pass"
    assert ours.reason.startswith("right by construction: ")
    assert (ours.flow, ours.oracles, ours.calls) == ((), {}, 0)  # nothing was run
