"""States: nests of arrays, packed into vectors and made again; what cannot be carried is refused by its path."""

import collections
import dataclasses
from typing import NamedTuple

import numpy as np
import pytest

import rnneval
from rnneval.errors import CheckpointError, UsageError, VocabularyError
from rnneval.models.protocol import Shape
from rnneval.models.state import OpaqueState, form_of, numbers_of
from rnneval.models.step import from_step
from tests.models.step.models import SelectiveSSM, V, gru_stack, gru_weights
from tests.models.step.reading import read

IDS = np.random.default_rng(0).integers(0, V, (4, 21), dtype=np.int32)


class Pair(NamedTuple):
    h: object
    c: object


@dataclasses.dataclass(frozen=True)
class Cache:
    conv: np.ndarray
    layers: list
    name: str = "no array"


class Layer:
    """A cache as libraries have it: arrays among other attributes."""

    def __init__(self, h):
        self.h, self.kind, self.filled, self.model = h, "conv", True, np.cos


def running_mean(ids, state):
    """A model whose state is one number a row."""
    seen = []
    for column in ids.T:
        state = state / 2 + column
        seen.append(state)
    return np.cos(np.stack(seen, axis=1)[..., None] * np.arange(1, V + 1)), state


PLAIN = from_step(running_mean, np.zeros, vocab_size=V)


def in_nest(into, out):
    def step(ids, state):
        logits, after = running_mean(ids, out(state))
        return logits, into(after)

    return step, lambda batch: into(np.zeros(batch))


NESTS = {
    "array": (lambda h: h, lambda s: s),
    "list of dicts": (lambda h: [{"b": None, "a": h}], lambda s: s[0]["a"]),
    "queue": (lambda h: collections.deque([h, -h], maxlen=2), lambda s: s[0]),
    "named tuple": (lambda h: Pair(h=h, c=2 * h), lambda s: s.c / 2),
    "dataclass": (lambda h: Cache(conv=-h, layers=[h, ()]), lambda s: s.layers[0]),
    "ordered dict": (lambda h: collections.OrderedDict(z=h, y=h), lambda s: s["y"]),
    "array without numbers": (lambda h: [np.zeros((len(h), 0)), h], lambda s: s[1]),
    "object": (lambda h: {"layers": [Layer(h)]}, lambda s: s["layers"][0].h),
}


@pytest.mark.parametrize("name", NESTS)
def test_a_step_gets_the_containers_that_it_returned(name):
    into, out = NESTS[name]
    kinds = []

    def noting(state):
        kinds.append((type(state), form_of(state)))
        return out(state)

    lm = from_step(*in_nest(into, noting), vocab_size=V)
    assert lm.mixable
    nats, _, _ = read(lm, IDS, segment=4)
    assert np.array_equal(nats, read(PLAIN, IDS, segment=4)[0])
    assert set(kinds) == {(type(into(np.zeros(2))), form_of(into(np.zeros(2))))}


def test_batch_axes_are_found_wherever_they_are():
    def step(ids, state):
        logits, last = running_mean(ids, state[1][0, 0] if state else np.zeros(len(ids)))
        return logits, (np.repeat(last[:, None], 4, axis=1), np.broadcast_to(last, (2, 3, len(last))))

    lm = from_step(step, vocab_size=V)
    assert [(leaf.axis, leaf.shape) for leaf in lm.carrier.leaves] == [(0, (4,)), (2, (2, 3))]
    assert len(lm.start()) == 4 + 6 + 1  # the last column tells an initial state, which is None, from others
    nats, states, _ = read(lm, IDS, segment=4)
    assert np.array_equal(nats, read(PLAIN, IDS, segment=4)[0])
    again, _, _ = read(lm, IDS, segment=11, starts=np.stack([lm.start(), states[1], lm.start(), states[3]]))
    assert np.allclose(again[[0, 2]], nats[[0, 2]], rtol=1e-6)
    assert not np.allclose(again[1], nats[1], rtol=1e-3)


def counting(scalar, *, matters=False, by=None):
    """A model that also counts its tokens, or its calls; the count may matter."""

    def step(ids, state):
        logits, h = running_mean(ids, state["h"])
        count = np.broadcast_to(state["n"], len(ids))
        if matters:
            position = count[:, None] + np.arange(ids.shape[1])
            logits = logits + np.sin(position)[..., None] * np.arange(V)
        return logits, {"h": h, "n": state["n"] + (by or ids.shape[1])}

    return step, lambda batch: {"h": np.zeros(batch), "n": 0 if scalar else np.zeros(batch, np.int64)}


@pytest.mark.parametrize("scalar", [False, True])
def test_counters_are_carried_and_not_compared_unless_they_matter(scalar):
    lm = from_step(*counting(scalar), vocab_size=V)
    assert [leaf.kind for leaf in lm.carrier.leaves] == ["state", "counter"]
    assert lm.assumptions == ("state['n'] counts tokens or calls and changes no prediction: it is not compared",)
    state = {"h": np.zeros(2), "n": 7_654_321_000_001 if scalar else np.array([3, 7_654_321_000_001])}
    vectors = lm.carrier.pack(state, 2)
    restored = lm.carrier.unpack(vectors)
    assert np.array_equal(restored["n"], state["n"])
    assert type(restored["n"]) is type(state["n"])
    assert np.array_equal(numbers_of(vectors), numbers_of(lm.carrier.pack({**state, "n": state["n"] + 5}, 2)))
    of_calls = from_step(*counting(scalar, by=1), vocab_size=V)
    assert [leaf.kind for leaf in of_calls.carrier.leaves] == ["state", "counter"]
    matters = from_step(*counting(scalar, matters=True), vocab_size=V)
    assert [leaf.kind for leaf in matters.carrier.leaves] == ["state", "state"]


@pytest.mark.parametrize("matters", [False, True])
def test_rows_with_different_scalars_are_read_in_calls_of_their_own(matters):
    lm = from_step(*counting(scalar=True, matters=matters), vocab_size=V)
    whole, _, _ = read(lm, IDS, segment=20)
    _, early, _ = read(lm, IDS[:2, :6], segment=5)
    mixed = np.stack([early[0], lm.start(), early[1], lm.start()])
    rows = np.stack([IDS[0, 5:11], IDS[2, :6], IDS[1, 5:11], IDS[3, :6]])
    nats, states, _ = read(lm, rows, segment=5, starts=mixed)
    assert np.abs(nats - np.stack([whole[0, 5:10], whole[2, :5], whole[1, 5:10], whole[3, :5]])).max() < 1e-12
    assert [lm.carrier.unpack(states[row : row + 1])["n"] for row in range(4)] == [10, 5, 10, 5]


def test_one_row_at_a_time():
    def step(ids, h):
        (row,) = ids
        logits, after = running_mean(row[None], np.array([h[0]]))
        return logits, np.array([after[0], 0.0])

    lm = from_step(step, lambda _: np.zeros(2), vocab_size=V, batched=False)
    assert not lm.mixable
    assert np.array_equal(read(lm, IDS, segment=4)[0], read(PLAIN, IDS, segment=4)[0])
    with pytest.raises(CheckpointError, match=r"too many values to unpack.*give batched=False"):
        from_step(step, lambda _: np.zeros(2), vocab_size=V)


class Forgetful(OpaqueState):
    """A mutant: each call begins anew."""

    def unpack(self, vectors):
        return super().unpack(np.zeros_like(vectors))


class Shared(OpaqueState):
    """A mutant: all readings have one state."""

    def fresh(self):
        return self


@pytest.mark.parametrize(("carrier", "is_right"), [(OpaqueState, True), (Forgetful, False), (Shared, False)])
def test_each_reading_carries_its_own_opaque_state(carrier, is_right):
    """The state is a number as text; two documents are read in turns, a segment of each."""

    def step(ids, state):
        logits, h = running_mean(ids, np.array([float.fromhex(state)]))
        return logits, h[0].hex()

    lm = from_step(step, lambda _: (0.0).hex(), vocab_size=V)
    assert (type(lm.carrier), lm.mixable, lm.leaves) == (OpaqueState, False, ())
    lm = dataclasses.replace(lm, carrier=carrier(lm.function.begin))
    scorers = [lm.scorer(Shape(rows=1, segment=5)) for _ in range(2)]
    vectors, nats = [lm.start()[None]] * 2, np.empty((2, 20))
    for start in range(0, 20, 5):
        for document, scorer in enumerate(scorers):
            piece = IDS[document : document + 1, start : start + 6]
            step_result = scorer.score(piece[:, :-1], piece[:, 1:], vectors[document], 1)
            nats[document, start : start + 5], vectors[document] = step_result.predicted.nats[0], step_result.states
    assert np.array_equal(nats, read(PLAIN, IDS[:2], segment=5)[0]) == is_right


# Refusals


def attention(ids, state):
    """Attend to all tokens alike: the mean of what was read so far, from a memory of every token."""
    seen = np.cos(ids[..., None] * np.arange(1.0, V + 1))
    memory = seen if state is None else np.concatenate([state["memory"][0], seen], axis=1)
    means = np.cumsum(memory, axis=1) / np.arange(1, memory.shape[1] + 1)[:, None]
    return means[:, -ids.shape[1] :], {"memory": [memory]}


def test_a_memory_that_grows_is_kept_whole_in_one_row():
    lm = from_step(attention, vocabulary=list("abcdefghijk"))
    assert not lm.mixable
    assert "state['memory'][0] grows with the text, an attention memory of 88 bytes a token" in lm.assumptions[0]
    text = "abacadabeahakabeijkabc" * 20
    run = rnneval.evaluate(lm, string=text, segment=7)
    logits, _ = attention(np.array([[ord(letter) - ord("a") for letter in text]]), None)
    ids = np.array([ord(letter) - ord("a") for letter in text])
    scores = logits[0, :-1] - np.log(np.exp(logits[0, :-1]).sum(axis=-1, keepdims=True))
    assert run.total_nats == pytest.approx(-scores[np.arange(len(ids) - 1), ids[1:]].sum(), rel=1e-8)
    assert run.valid


def test_a_state_whose_containers_change_is_carried_as_it_is():
    def in_a_list(ids, state):
        logits, after = attention(ids, state and {"memory": [np.concatenate(state, axis=1)]})
        return logits, [*(state or []), after["memory"][0][:, -ids.shape[1] :]]

    text = "abacadabeahakabeijkabc" * 20
    lm = from_step(in_a_list, vocabulary=list("abcdefghijk"))
    assert not lm.mixable
    assert "its containers change from call to call" in lm.assumptions[0]
    whole = rnneval.evaluate(from_step(attention, vocabulary=list("abcdefghijk")), string=text, segment=7)
    run = rnneval.evaluate(lm, string=text, segment=7)
    assert run.total_nats == pytest.approx(whole.total_nats, rel=1e-12)
    assert run.valid
    assert rnneval.check(lm).verdict == "pass"

    def of_the_last_call(ids, state):
        logits, after = in_a_list(ids, state)
        return logits, after[-3:]

    assert rnneval.check(from_step(of_the_last_call, vocab_size=V)).verdict == "fail"


@pytest.mark.parametrize("axis", [1, 2])
def test_the_last_entry_and_the_size_of_a_memory_are_observed(axis):
    def step(ids, state):
        before = None if state is None else {"memory": [np.moveaxis(state["memory"][0], axis, 1)]}
        logits, after = attention(ids, before)
        return logits, {"memory": [np.moveaxis(after["memory"][0], 1, axis)]}

    text = "abacadabeahakabeijkabc" * 20
    run = rnneval.evaluate(from_step(step, vocabulary=list("abcdefghijk")), string=text, segment=7)
    ids = np.array([ord(letter) - ord("a") for letter in text])
    ends = np.arange(7, len(ids), 7)  # tokens read at the ends of whole calls
    entries = np.cos(ids[ends - 1][:, None] * np.arange(1.0, V + 1))
    memory = run.states["state.memory.0"]
    assert memory.norm_mean == pytest.approx(np.linalg.norm(entries, axis=1).mean(), rel=1e-6)
    assert memory.norm_max == pytest.approx(np.linalg.norm(entries, axis=1).max(), rel=1e-6)
    ends = ends[(ends - 1) % 16 < 7]  # samples: the calls that hold a multiple of 16
    part = (ends - 1) * 16 // (len(ids) - 1)
    assert memory.bytes == pytest.approx([(ends[part == k] * V * 8).mean() for k in range(16)])


def test_a_memory_that_grows_along_two_axes_is_not_observed():
    def step(ids, state):
        logits, after = attention(ids, state and {"memory": [state["memory"][0][:, :, 0]]})
        return logits, {"memory": [np.repeat(after["memory"][0][:, :, None], after["memory"][0].shape[1], axis=2)]}

    lm = from_step(step, vocabulary=list("abcdefghijk"))
    run = rnneval.evaluate(lm, string="abacadabea" * 4, segment=7, check=False)
    assert not run.states
    assert any("it grows with the text, and not along one axis" in warning.message for warning in run.warnings)


def test_a_memory_that_forgets_its_first_tokens_fails():
    def step(ids, state):
        logits, after = attention(ids, state)
        return logits, {"memory": [after["memory"][0][:, -20:]]}

    assert rnneval.check(from_step(attention, vocab_size=V)).verdict == "pass"
    wiring = rnneval.check(from_step(step, vocab_size=V))
    assert [finding.rule for finding in wiring.findings] == ["chunk-variance"]


def changed(after):
    """`running_mean` with something else returned; it takes any array as its state."""

    def step(ids, state):
        logits, h = running_mean(ids, np.resize(state, len(ids)))
        return after(logits, h)

    return step


def in_place(ids, state):
    logits, h = running_mean(ids, state)
    state[:] = h
    return logits, state


def appends(ids, state):
    logits, h = running_mean(ids, state[-1])
    state.append(h)
    return logits, state


def fails(ids, state):
    raise ValueError("no such\nlayer")


REFUSED = {
    "no pair": (lambda ids, state: running_mean(ids, state)[0], r"returned a ndarray: a pair is needed"),
    "width": (changed(lambda z, h: (z[..., :-1], h)), r"logits of shape \(2, 2, 10\) .* \(2, 2, 11\) are needed"),
    "in place": (in_place, "changes the state that it is given, at state:"),
    "no rows": (changed(lambda z, h: (z, np.array([h[0], h[1]]))), r"state has no batch axis: its shape is \(2,\)"),
    "raises": (fails, r"step raised ValueError: no such layer \(.*test_states.py:\d+\) on ids of shape \(2, 2\)"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_carried_is_refused_by_name(name):
    step, message = REFUSED[name]
    with pytest.raises(CheckpointError, match=message) as error:
        from_step(step, np.zeros, vocab_size=V)
    assert "\n" not in str(error.value)


def test_a_list_that_grows_in_place_is_refused():
    with pytest.raises(CheckpointError, match=r"changes the state that it is given, at state\[1\]"):
        from_step(appends, lambda batch: [np.zeros(batch)], vocab_size=V)


def test_arguments():
    with pytest.raises(UsageError, match="give vocab_size=V, or a vocabulary"):
        from_step(running_mean, np.zeros)
    with pytest.raises(CheckpointError, match=r"initial_state\(2\) raised TypeError: .*not callable"):
        from_step(running_mean, np.zeros(2), vocab_size=V)
    with pytest.raises(VocabularyError, match="11"):
        from_step(running_mean, np.zeros, vocab_size=V, vocabulary=["a", "b"])
    lm = from_step(running_mean, np.zeros, vocabulary=list("abcdefghijk"))
    assert (lm.width, lm.vocabulary.size, lm.why_no_vocabulary) == (V, V, "")
    assert "give --vocab FILE" in PLAIN.why_no_vocabulary


def test_the_record_of_a_checkpoint(tmp_path):
    weights = tmp_path / "model.pt"
    weights.write_bytes(b"weights")
    with_file = from_step(running_mean, np.zeros, vocab_size=V, checkpoint=weights).checkpoint
    # sha256sum of the seven bytes
    assert with_file.sha256 == "9a129038d9a00aed0cf6a7ea059ca50a813449061ab87848cf1a13eafdf33b2c"
    assert (with_file.path, with_file.format) == (str(weights), "step")
    one, two, again = (from_step(*gru_stack(gru_weights(seed)), vocab_size=V).checkpoint.sha256 for seed in (0, 1, 0))
    assert one == again != two
    with pytest.raises(CheckpointError, match="cannot be read"):
        from_step(running_mean, np.zeros, vocab_size=V, checkpoint=tmp_path / "none")


# Observation


def test_states_after_every_token_are_those_of_calls_of_one_token():
    model = SelectiveSSM(dtype=np.float64)
    lm = from_step(model.step, model.initial_state, vocab_size=V, every_token=True)
    ids = IDS[:2, :12]
    nats, _, steps = read(lm, ids, segment=11, sees="states")
    seen = steps[0].trajectories
    assert {key: state.units for key, state in seen.layout.states.items()} == {"state.conv": 12, "state.ssm": 12}
    state = model.initial_state(2)
    for t in range(11):
        _, state = model.step(ids[:, t : t + 1], state)
        assert np.array_equal(seen.states["state.conv"].states[:, t], state["conv"].reshape(2, -1))
        assert np.array_equal(seen.states["state.ssm"].states[:, t], state["ssm"].reshape(2, -1))
    assert not seen.states["state.ssm"].before.any()
    plain = from_step(model.step, model.initial_state, vocab_size=V)
    assert np.abs(read(plain, ids, segment=11)[0] - nats).max() < 1e-12
    unseen = read(plain, ids, segment=11, sees="gates")[2][0].trajectories
    assert (list(unseen.layout.missing), unseen.layout.call) == (["any gate"], 11)
    assert read(plain, ids, segment=11)[2][0].trajectories is None


def test_probabilities_are_refused():
    with pytest.raises(CheckpointError, match="step returned probabilities"):
        from_step(lambda ids, state: (np.full((*ids.shape, V), 1 / V), state), np.zeros, vocab_size=V)


def test_states_whose_squares_overflow_are_summarised():
    """RWKV begins its maximum at −1e30: the norm after a token is that of the numbers that take its place."""

    def step(ids, state):
        for token in ids.T:
            state = np.where(state < -1e29, token[:, None], state).astype(np.float32)
        return np.zeros((*ids.shape, V)), state

    lm = from_step(
        step, lambda rows: np.full((rows, 4), -1e30, np.float32), vocabulary=list("abcdefghijkl"[:V]), every_token=True
    )
    (state,) = rnneval.evaluate(lm, string="abcab" * 20, check=False).states.values()
    assert state.norm_max == 0.0
