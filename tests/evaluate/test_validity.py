"""A model that fails the wiring check has no valid run: its number depends on how the text is cut.

What it is for each cut says a loop over the model's own calls.
"""

from types import SimpleNamespace

import numpy as np
import pytest
from msgspec import structs

import rnneval
from rnneval.errors import CheckpointError, RecordError
from tests.evaluate.small import LETTERS, ids_of, letters

V, UNITS = len(LETTERS), 8
FAULTS = ("exchanged", "dropped")


def weights():
    rng = np.random.default_rng(0)
    table = rng.normal(size=(V, UNITS))
    layers = [(rng.normal(size=(UNITS, UNITS)) / 3, rng.normal(size=(UNITS, UNITS)) / 3) for _ in range(2)]
    return table, layers, rng.normal(size=(UNITS, V))


def step_function(fault):
    """Two tanh layers in NumPy, wired right or with a fault."""
    table, layers, out = weights()

    def layer(number, x, h):
        w, u = layers[number]
        outputs = []
        for at in range(x.shape[1]):
            h = np.tanh(x[:, at] @ w + h @ u)
            outputs.append(h)
        return np.stack(outputs, 1), h

    def step(ids, state):
        first = state["h1"]
        second = np.zeros_like(first) if fault == "dropped" else state["h2"]
        x, h1 = layer(0, table[ids], first)
        x, h2 = layer(1, x, h1 if fault == "shared" else second)
        if fault == "dropped":
            return x @ out, {"h1": h1}
        states = {"h1": h2, "h2": h1} if fault == "exchanged" else {"h1": h1, "h2": h2}
        return x @ out, states

    def begin(batch):
        zeros = np.zeros((batch, UNITS))
        return {"h1": zeros} | ({} if fault == "dropped" else {"h2": zeros})

    return step, begin


def nats_by_hand(step, begin, segment, *documents):
    """The total loss with the state handed on from each segment to the next."""
    total = 0.0
    for document in documents:
        state = begin(1)
        for at in range(0, len(document) - 1, segment):
            piece = document[at : min(at + segment, len(document) - 1)]
            logits, state = step(piece[None], state)
            log_p = logits[0] - np.log(np.exp(logits[0]).sum(-1, keepdims=True))
            total -= log_p[np.arange(len(piece)), document[at + 1 : at + 1 + len(piece)]].sum()
    return total


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    return letters(tmp_path_factory.mktemp("validity"), 3001)


@pytest.fixture(scope="module", params=FAULTS)
def wrong(request):
    """A wrong step function, as a model and as its parts, and its wiring."""
    step, begin = step_function(request.param)
    lm = rnneval.from_step(step, begin, vocabulary=list(LETTERS))
    return SimpleNamespace(fault=request.param, step=step, begin=begin, lm=lm, wiring=rnneval.check(lm))


@pytest.mark.parametrize("segment", [None, 1])
def test_no_run_of_a_wrong_step_function_is_valid_and_two_cuts_are_shown(wrong, text, segment):
    run = rnneval.evaluate(wrong.lm, text, segment=segment, streams=4)
    cut, other = (segment or 100), (100 if segment == 1 else 1)
    wanted = [nats_by_hand(wrong.step, wrong.begin, each, ids_of(text)) for each in (cut, other)]
    assert (run.valid, run.wiring.verdict, run.streams.segment) == (False, "fail", cut)
    assert run.streams.count > 1  # side by side, and still the number of one stream
    assert run.total_nats == pytest.approx(wanted[0], rel=1e-6)
    assert run.token_by_token.segment == other
    assert run.token_by_token.total_nats == pytest.approx(wanted[1], rel=1e-6)
    assert abs(wanted[1] - wanted[0]) > 10  # the fault matters
    (message,) = [warning.message for warning in run.warnings if warning.code == "wrong-wiring"]
    assert wrong.wiring.reason in message


def test_documents_that_end_in_the_middle_of_a_segment_are_not_filled_up(tmp_path):
    """Layer 2 starts from the last state of layer 1, which would be that of the tokens that fill a row up."""
    step, begin = step_function("shared")
    lm = rnneval.from_step(step, begin, vocabulary=list(LETTERS))
    rng = np.random.default_rng(2)
    pieces = ["".join(rng.choice(list("abcdefg "), n)) for n in (37, 150, 263, 90, 211)]
    paths = [tmp_path / f"{number}.txt" for number in range(len(pieces))]
    for path, piece in zip(paths, pieces, strict=True):
        path.write_text(piece)
    run = rnneval.evaluate(lm, paths, documents="file", streams=4)
    wanted = nats_by_hand(step, begin, 100, *map(ids_of, paths))
    assert (run.valid, run.streams.count) == (False, 4)
    assert run.total_nats == pytest.approx(wanted, rel=1e-7)


def test_a_right_model_has_one_number_and_its_signature_no_segment(text):
    step, begin = step_function("")
    lm = rnneval.from_step(step, begin, vocabulary=list(LETTERS))
    runs = [rnneval.evaluate(lm, text, segment=segment) for segment in (1, 10, 100)]
    assert [run.valid for run in runs] == [True] * 3
    assert [run.total_nats for run in runs] == pytest.approx([nats_by_hand(step, begin, 7, ids_of(text))] * 3, rel=1e-6)
    assert {run.signature.split("|")[6] for run in runs} == {"state:carry"}


def test_a_model_that_is_not_checked_did_not_pass(wrong, text):
    run = rnneval.evaluate(wrong.lm, text, check=False)
    assert (run.valid, run.wiring) == (True, None)


@pytest.fixture(scope="module")
def run(wrong, text):
    return rnneval.evaluate(wrong.lm, text)


def test_a_record_that_is_called_valid_all_the_same_is_refused(run, tmp_path):
    structs.replace(run, valid=True).save(tmp_path / "old.json")
    with pytest.raises(RecordError, match="it is marked valid and its model fails the wiring check"):
        rnneval.read(tmp_path / "old.json")


@pytest.fixture(scope="module")
def chained(tmp_path_factory):
    """A graph whose second layer starts from the first one's last state, saved as people save it."""
    import keras

    keras.utils.set_random_seed(0)
    ids = keras.Input((None,), dtype="int32")
    x = keras.layers.Embedding(V, UNITS)(ids)
    x, state = keras.layers.GRU(UNITS, return_sequences=True, return_state=True, name="below")(x)
    x = keras.layers.GRU(UNITS, return_sequences=True, name="above")(x, initial_state=state)
    path = tmp_path_factory.mktemp("graph") / "chained.keras"
    keras.Model(ids, keras.layers.Dense(V)(x)).save(path)
    return path


def chained_nats(path, ids, segment):
    """The total loss of the saved graph: each layer goes on from its own state, the upper begins with the lower's."""
    import keras

    model = keras.models.load_model(path)
    embedding, below, above, dense = model.layers[1:]
    above.return_state = True
    total, low, high = 0.0, None, None
    for at in range(0, len(ids) - 1, segment):
        piece = ids[at : min(at + segment, len(ids) - 1)]
        x, low = below(embedding(piece[None]), initial_state=low)
        x, high = above(x, initial_state=low if high is None else high)
        logits = dense(x).numpy()[0].astype(np.float64)
        log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
        total -= log_p[np.arange(len(piece)), ids[at + 1 : at + 1 + len(piece)]].sum()
    return total


def test_a_graph_that_hands_a_state_on_wrongly_is_measured_as_not_valid(chained, text):
    lm = rnneval.open(chained, vocabulary=list(LETTERS))
    begins, ids = text.read_text()[:121], ids_of(text)[:121]
    run = rnneval.evaluate(lm, string=begins, segment=50)
    assert (run.valid, run.wiring.verdict, run.wiring.reason) == (False, "fail", "shared-state, future-leak")
    assert run.total_nats == pytest.approx(chained_nats(chained, ids, 50), rel=1e-5)
    assert run.token_by_token.total_nats == pytest.approx(chained_nats(chained, ids, 1), rel=1e-5)
    with pytest.raises(CheckpointError, match="carrying the state of below, above over two segments does not give"):
        rnneval.evaluate(lm, string=begins, check=False)
