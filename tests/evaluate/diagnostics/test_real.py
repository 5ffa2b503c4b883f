"""Small models trained on real text, against the float64 loop: `pytest -m real_data` with RNNEVAL_DATA set."""

import keras
import numpy as np
import pandas as pd
import pytest

import rnneval
from rnneval.callbacks import GradientNorms
from rnneval.evaluate.diagnostics.probes import Place
from rnneval.evaluate.diagnostics.trace import trace
from rnneval.models.keras.derivatives import through_time, variable_gradients
from rnneval.render.figures import figure_of
from rnneval.text import Vocabulary
from tests.evaluate.diagnostics.oracle import courses, summary_of
from tests.evaluate.diagnostics.test_trace import gates_of
from tests.evaluate.small import LAYERS, Small
from tests.oracles import stack_of

pytestmark = pytest.mark.real_data
LENGTH = 60


class Text:
    """The text as ids."""

    def __init__(self, path):
        self.path = path
        self.characters = path.read_text(encoding="utf-8")
        self.tokens = sorted(set(self.characters))
        place = {token: k for k, token in enumerate(self.tokens)}
        self.all = np.array([place[c] for c in self.characters], np.int32)

    def ids(self, start, stop):
        return self.all[start:stop]


@pytest.fixture(scope="module")
def text(data_folder):
    return Text(data_folder / "tinyshakespeare.txt")


def fitted(text, kind, optimizer, *, steps=200, callbacks=(), units=(24, 16), **options):
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Embedding(len(text.tokens), 12)]
    layers += [getattr(keras.layers, kind)(n, return_sequences=True, **options) for n in units]
    model = keras.Sequential([*layers, keras.layers.Dense(len(text.tokens))])
    model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True), optimizer=optimizer)
    at = np.random.default_rng(0).integers(0, int(0.9 * len(text.all)) - LENGTH - 1, 32 * steps)
    rows = text.all[at[:, None] + np.arange(LENGTH + 1)]
    model.fit(rows[:, :-1], rows[:, 1:], batch_size=32, shuffle=False, verbose=0, callbacks=list(callbacks))
    return model


@pytest.fixture(scope="module", params=["GRU", "LSTM", "SimpleRNN"])
def small(request, text):
    assert request.param in LAYERS
    model = fitted(text, request.param, keras.optimizers.Adam(5e-3, global_clipnorm=1.0))
    lm = rnneval.wrap(model, vocabulary=Vocabulary.from_tokens(text.tokens))
    return Small(lm=lm, oracle=stack_of(model.layers[0], model.layers[1:-1], model.layers[-1]))


def test_every_statistic_of_a_trained_model(small, text):
    start = len(text.all) - 5_000
    run = trace(small.lm, text.path, part=f"{start}:", check=False)
    ids = text.all[start:]
    for key, course in courses(small, ids).items():
        expected, found = summary_of(key, course, len(ids)), run.states[key]
        scale = expected["norm_max"]
        for name, value in expected.items():
            seen = getattr(found, name)
            if seen is None:  # the share of saturated numbers of what is not bounded
                assert name == "saturated"
                continue
            tolerance = 1e-4 * abs(value) if name == "participation_ratio" else 1e-5 * max(scale, 1.0)
            assert seen == pytest.approx(value, abs=tolerance + 1e-5), f"{key} {name}"
    if run.gates:
        for (layer, gate), values in gates_of(small, ids).items():
            at = values[:: run.gates[f"{layer}.{gate}"].every]
            assert run.gates[f"{layer}.{gate}"].mean == pytest.approx(at.mean(), abs=1e-5)


def test_gradients_of_a_trained_model(small, text):
    at, lags = 400, 8
    _, state = small.oracle.run(text.all[:at])
    packed = np.concatenate([part for parts in state for part in parts]).astype("f4")
    place = Place(at=at, state=packed)
    loss, variables, missing = variable_gradients(small.lm, text, [place], 40)
    assert not missing
    ids = text.all[at : at + 41]
    assert loss == pytest.approx(small.oracle.losses(ids, state).mean(), rel=1e-5)
    bias = small.oracle.bias.copy()
    norm = []
    for k in range(len(bias)):
        both = []
        for sign in (1, -1):
            small.oracle.bias[k] = bias[k] + sign * 1e-5
            both.append(small.oracle.losses(ids, state).mean())
        small.oracle.bias[k] = bias[k]
        norm.append((both[0] - both[1]) / 2e-5)
    (dense,) = [v for key, v in variables.items() if key.startswith("dense") and key.endswith("bias")]
    assert dense.norm_mean == pytest.approx(np.linalg.norm(norm), rel=1e-4)
    found, _ = through_time(small.lm, text, [place], lags)
    for layer, part in enumerate(small.oracle.layers):
        for slot in range(len(part.zeros())):
            course = list(found.values())[sum(len(below.zeros()) for below in small.oracle.layers[:layer]) + slot]
            norms = [
                np.linalg.norm(
                    [
                        central(small, text.all[at : at + lags + 2], state, (lags - k, layer, slot), unit)
                        for unit in units
                    ]
                )
                for k, units in enumerate([np.eye(part.units)] * (lags + 1))
            ]
            expected = np.array(norms) / norms[course.base]
            np.testing.assert_allclose(course.median[course.base :], expected[course.base :], rtol=1e-4, atol=1e-7)


def central(small, ids, state, where, unit):
    """The derivative of the last loss in one direction of the state of (step, layer, slot)."""
    moved = [nudged_loss(small, ids, state, where, sign * 1e-5 * unit) for sign in (1, -1)]
    return (moved[0] - moved[1]) / 2e-5


def nudged_loss(small, ids, state, where, nudge):
    oracle, state = small.oracle, [list(parts) for parts in state]
    logits = np.zeros(0)
    for t, token in enumerate(ids[:-1]):
        x = oracle.embedding[token]
        for k, part in enumerate(oracle.layers):
            x, new = part.step(x, state[k])
            state[k] = list(new)
            if (t, k) == where[:2]:
                state[k][where[2]] = state[k][where[2]] + nudge
                x = state[k][0]
        logits = x @ oracle.kernel + oracle.bias
    return np.log(np.exp(logits).sum()) - logits[ids[-1]]


def test_a_run_that_goes_wrong_shows_the_step(text, tmp_path):
    norms = GradientNorms(tmp_path / "h", steps_per_part=5)
    fitted(
        text, "SimpleRNN", keras.optimizers.SGD(1.0), steps=20, callbacks=[norms], units=(128, 128), activation="relu"
    )
    assert norms.first_not_finite is not None
    step = norms.first_not_finite[0]
    assert step <= 20
    whole = pd.read_parquet(tmp_path / "h").query("layer == '' and statistic == 'grad_norm'").set_index("step")["value"]
    before = whole[whole.index < step]
    assert before.max() > 10 * before.median()  # the jump comes before
    figure = figure_of(tmp_path / "h")
    assert figure.diverged
    assert f"at step {step}" in figure.title or f"from step {step} on" in figure.title
