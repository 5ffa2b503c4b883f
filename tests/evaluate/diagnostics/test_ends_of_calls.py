"""States of step functions at the ends of their calls, against loops by hand that call the same functions."""

import numpy as np
import pandas as pd
import pytest

import rnneval
from tests.models.step.models import SelectiveSSM, V

LETTERS = "abcdefghijk"
IDS = np.random.default_rng(5).integers(0, V, 3_001)
TEXT = "".join(LETTERS[k] for k in IDS)


class Turning:
    """A diagonal complex recurrence beside a real one: s ← a s + u, r ← 0.9 r + v; the loss sees both."""

    a = 0.8 * np.exp(1j * np.array([0.1, 0.9, 2.0]))

    def __init__(self):
        rng = np.random.default_rng(2)
        self.u, self.v, self.out = rng.normal(size=(V, 3)) + 1j, rng.normal(size=(V, 2)), rng.normal(size=(5, V))

    def initial_state(self, batch):
        return {"inner": [np.zeros((batch, 3), np.complex128)], "real": np.zeros((batch, 2))}

    def step(self, ids, state):
        s, r, seen = state["inner"][0], state["real"], []
        for token in ids.T:
            s, r = self.a * s + self.u[token], 0.9 * r + self.v[token]
            seen.append(np.concatenate([s.real, r], axis=1))
        return np.stack(seen, axis=1) @ self.out, {"inner": [s], "real": r}


class Ssm(SelectiveSSM):
    def __init__(self):
        super().__init__(dtype=np.float64)


class WithMemory(Turning):
    """The same, which also keeps every token that it has read: rows of different lengths cannot be read together."""

    def initial_state(self, batch):
        return {**super().initial_state(batch), "read": np.zeros((batch, 0))}

    def step(self, ids, state):
        logits, after = super().step(ids, state)
        return logits, {**after, "read": np.concatenate([state["read"], 1.0 * ids], axis=1)}


LEAVES = {
    Ssm: {"state.conv": lambda s: s["conv"], "state.ssm": lambda s: s["ssm"]},
    Turning: {"state.inner.0": lambda s: s["inner"][0], "state.real": lambda s: s["real"]},
}
LEAVES[WithMemory] = {**LEAVES[Turning], "state.read": lambda s: np.append(0.0, s["read"])[-1:]}


def ends_by_hand(made, leaf, call=64, ids=IDS, starts=(0,)):
    """Return the state at the end of each whole call of a loop, by its position, and the one before the call."""
    found = {}
    for start, end in zip(starts, [*starts[1:], len(ids)], strict=True):
        state = made.initial_state(1)
        for at in range(start, end - 1 - (end - 1 - start) % call, call):
            before = np.abs(leaf(state)).ravel() if np.iscomplexobj(leaf(state)) else leaf(state).ravel()
            _, state = made.step(ids[None, at : at + call], state)
            after = leaf(state).ravel()
            found[at + call - 1] = (np.abs(after) if np.iscomplexobj(after) else after), before
    return found


@pytest.mark.parametrize("streams", [1, 5])
@pytest.mark.parametrize("kind", [Ssm, Turning, WithMemory])
def test_norms_at_the_ends_of_calls_are_those_of_a_loop(kind, streams):
    made = kind()
    lm = rnneval.from_step(made.step, made.initial_state, vocabulary=list(LETTERS))
    run = rnneval.evaluate(lm, string=TEXT, check=False, streams=streams)
    assert set(run.states) == set(LEAVES[kind])
    for key, leaf in LEAVES[kind].items():
        seen, ends = run.states[key], ends_by_hand(made, leaf)
        states, positions = np.array([after for after, _ in ends.values()]), np.array([*ends])
        norms = np.linalg.norm(states, axis=1)
        slope = np.polyfit(positions, norms, 1)[0]
        assert (seen.call, seen.every) == (64, None)
        assert seen.norm_mean == pytest.approx(norms.mean(), rel=1e-6)
        assert seen.norm_max == pytest.approx(norms.max(), rel=1e-6)
        assert seen.rms == pytest.approx(np.sqrt((states**2).mean()), rel=1e-6)
        assert seen.mean == pytest.approx(states.mean(), rel=1e-5, abs=1e-6)
        assert (seen.lowest, seen.highest) == pytest.approx((states.min(), states.max()), rel=1e-6)
        speeds = [np.linalg.norm(after - before) for after, before in ends.values()]
        assert seen.speed == pytest.approx(np.mean(speeds), rel=1e-5)
        assert seen.drift == pytest.approx(slope * (len(IDS) - 2) / norms.mean(), rel=1e-4, abs=1e-7)
    assert "no-states" not in {warning.code for warning in run.warnings}


def test_each_document_has_the_ends_of_its_own_calls():
    made = Turning()
    lm = rnneval.from_step(made.step, made.initial_state, vocabulary=[*LETTERS[:-1], "\n"])
    ids, starts = IDS.copy(), [0, 1_000, 1_300]
    ids[ids == V - 1] = 0
    for start in starts[1:]:
        ids[start - 2 : start] = V - 1
    text = "".join([*LETTERS[:-1], "\n"][k] for k in ids)
    run = rnneval.evaluate(lm, string=text, documents="blank-line", check=False, streams=3)
    ends = ends_by_hand(made, LEAVES[Turning]["state.real"], run.states["state.real"].call, ids, starts)
    norms = [np.linalg.norm(after) for after, _ in ends.values()]
    assert run.states["state.real"].norm_mean == pytest.approx(np.mean(norms), rel=1e-6)


def test_a_trace_holds_the_ends_of_calls_and_every_token_if_asked(tmp_path):
    made = Turning()
    lm = rnneval.from_step(made.step, made.initial_state, vocabulary=list(LETTERS))
    norm = {}
    for every_token in (False, True):
        out = tmp_path / f"{every_token}.parquet"
        run = rnneval.trace(lm, string=TEXT, out=out, stride=1, every_token=every_token, check=False, streams=3)
        assert run.states["state.real"].call == (None if every_token else 64)
        table = pd.read_parquet(out)
        table["slot"] = table.slot.fillna("")
        table = table[table.position.notna()].set_index(["slot", "statistic", "position"])["value"]
        norm[every_token] = table["real", "norm"].sort_index()
        nats = table["", "nats"].sort_index()
        logits, _ = made.step(IDS[None, :-1], made.initial_state(1))
        at = norm[every_token].index.to_numpy(int)
        wanted = np.logaddexp.reduce(logits[0], axis=1) - logits[0, np.arange(len(IDS) - 1), IDS[1:]]
        np.testing.assert_allclose(nats, wanted[at], atol=1e-6)
    ends = ends_by_hand(made, LEAVES[Turning]["state.real"])
    assert [*norm[False].index] == [*ends]
    assert len(norm[True]) == len(IDS) - 1
    np.testing.assert_allclose(norm[False], [np.linalg.norm(after) for after, _ in ends.values()], rtol=1e-6)
    np.testing.assert_allclose(norm[False], norm[True][norm[False].index], rtol=1e-6)
