"""Held-out step functions in NumPy, in pairs: a right one and the same one with a fault, as close as can be.

The truth of each was written before it was run, and without a look at the code of the check.
"""

import numpy as np

import rnneval
from tests.models.step.models import gru_stack, gru_weights
from tests.wiring.corpus.case import V, right, wrong

END, NEWLINE = V - 1, 4
VOCABULARY = list("abcd\nefghij")
GRUS, BEGIN = gru_stack(gru_weights(units=(6, 6)))
"""Two layers: the state is a tuple of two arrays `(batch, 6)`."""


def language_model(step, begin=BEGIN):
    return rnneval.from_step(step, begin, vocabulary=VOCABULARY)


# Output masks


# Updates under a condition


def clockwork(*, restarts):
    """The lower layer moves at every second token only."""

    def step(ids, state):
        states, tick = state["layers"], state["tick"]
        if restarts:
            tick = np.zeros_like(tick)
        logits = []
        for column in ids.T:
            out, moved = GRUS(column[:, None], states)
            states = (np.where((tick % 2 == 0)[:, None], moved[0], states[0]), moved[1])
            tick = tick + 1
            logits.append(out)
        return np.concatenate(logits, axis=1), {"layers": states, "tick": tick}

    return language_model(step, lambda batch: {"layers": BEGIN(batch), "tick": np.zeros(batch, np.int64)})


right(name="step_clockwork_with_its_tick_carried")(lambda: clockwork(restarts=False))
wrong("chunk-variance", name="step_clockwork_whose_tick_restarts")(lambda: clockwork(restarts=True))


# Faults that depend on the data


def cleared(rows):
    """Clear the states, before a call, of the rows that `rows` gives as a column of booleans."""

    def step(ids, state):
        return GRUS(ids, tuple(np.where(rows(ids), 0, h).astype(np.float32) for h in state))

    return language_model(step)


def cleared_after(rows):
    """Clear the states, after each token, of the rows that `rows` gives for the token's column."""

    def step(ids, state):
        logits = []
        for column in ids.T:
            out, state = GRUS(column[:, None], state)
            state = tuple(np.where(rows(column)[:, None], np.float32(0), h) for h in state)
            logits.append(out)
        return np.concatenate(logits, axis=1), state

    return language_model(step)


right(name="step_cleared_by_a_rows_own_end_of_text_from_there_on")(lambda: cleared_after(lambda ids: ids == END))
wrong("batch-leak", name="step_cleared_by_an_end_of_text_in_any_row")(
    lambda: cleared_after(lambda ids: np.full(ids.shape, (ids == END).any()))
)
wrong("future-leak", name="step_cleared_where_id_0_is_anywhere_in_the_call")(
    lambda: cleared(lambda ids: (ids == 0).any(axis=1, keepdims=True))
)
wrong("batch-leak", name="step_cleared_by_id_1_at_the_start_of_row_0")(lambda: cleared(lambda ids: ids[:1, :1] == 1))
right(name="step_cleared_by_a_rows_own_newline_from_there_on")(lambda: cleared_after(lambda ids: ids == NEWLINE))
wrong("batch-leak", name="step_cleared_by_a_newline_in_row_0")(
    lambda: cleared_after(lambda ids: np.full(ids.shape, ids[0] == NEWLINE))
)


def sorted_rows(*, state_put_back):
    """Rows are sorted by their number of tokens that are no padding (id 0)."""

    def step(ids, state):
        order = np.argsort(-(ids != 0).sum(axis=1), kind="stable")
        back = np.argsort(order)
        logits, after = GRUS(ids[order], tuple(h[order] for h in state))
        return logits[back], tuple(h[back] for h in after) if state_put_back else after

    return language_model(step)


right(name="step_with_rows_sorted_and_put_back")(lambda: sorted_rows(state_put_back=True))
wrong(name="step_with_rows_sorted_and_the_state_not_put_back")(lambda: sorted_rows(state_put_back=False))


# What lies beside the layers


def with_position(fault=""):
    """Add a wave of the position to the logits of each token."""

    def step(ids, state):
        logits, after = GRUS(ids, state["layers"])
        time = ids.shape[1]
        start = np.zeros_like(state["position"]) if fault == "lost" else state["position"]
        wave = np.sin((start[:, None] + np.arange(time))[..., None] * np.linspace(0.1, 1.7, V))
        position = state["position"] + (2 * time if fault == "doubled" else time)
        return logits + wave.astype(np.float32), {"layers": after, "position": position}

    return language_model(step, lambda batch: {"layers": BEGIN(batch), "position": np.zeros(batch, np.int64)})


right(name="step_with_its_position_carried")(with_position)
wrong("chunk-variance", name="step_with_its_position_lost")(lambda: with_position("lost"))
wrong("chunk-variance", name="step_with_its_position_counted_twice")(lambda: with_position("doubled"))


# A function that remembers


class Remembering:
    """A step function that goes on from its own last state where it is given none."""

    def __init__(self):
        self.last = None

    def __call__(self, ids, state):
        if state is None:
            fits = self.last is not None and len(self.last[0]) == len(ids)
            state = self.last if fits else BEGIN(len(ids))
        logits, self.last = GRUS(ids, state)
        return logits, self.last


right(name="step_that_begins_anew_without_a_state")(
    lambda: language_model(lambda ids, state: GRUS(ids, BEGIN(len(ids)) if state is None else state), None)
)
wrong("leftover-state", name="step_with_its_last_state_in_an_attribute")(lambda: language_model(Remembering(), None))


def in_a_default(*, filled):
    """Keep the lower state in a list that is the default of a parameter."""

    def step(ids, state, memory=[]):  # noqa: B006 - the fault
        lower = state[0]
        if filled and not lower.any() and memory and memory[0].shape == lower.shape:
            lower = memory[0]
        logits, after = GRUS(ids, (lower, state[1]))
        memory[:] = [after[0]]
        return logits, after

    return language_model(step)


right(name="step_with_a_default_list_that_is_never_read")(lambda: in_a_default(filled=False))
wrong("leftover-state", name="step_with_a_default_list_that_is_read_at_each_start")(lambda: in_a_default(filled=True))


# States exchanged, ignored, dropped, stale


def stacked(fault=""):
    """Two GRUs; `fault` says what is wrong."""

    def step(ids, state):
        begun = BEGIN(len(ids))
        logits, after = GRUS(ids, (state[0], begun[1]) if fault == "ignores" else state)
        after = {
            "exchanges": after[::-1],
            "drops": (after[0], begun[1]),
            "returns the incoming state": (after[0], state[1]),
        }.get(fault, after)
        return logits, after

    return language_model(step)


right(name="step_of_two_layers")(stacked)
wrong("chunk-variance", name="step_with_states_exchanged")(lambda: stacked("exchanges"))
wrong("chunk-variance", name="step_that_ignores_a_state")(lambda: stacked("ignores"))
wrong("chunk-variance", name="step_that_drops_a_state")(lambda: stacked("drops"))
wrong("chunk-variance", name="step_that_returns_an_incoming_state")(lambda: stacked("returns the incoming state"))


class Dilated:
    """A layer whose state at t comes from that at t − 2: it has two states, and takes them in turns."""

    def __init__(self, *, restarts):
        self.gru, self.begin = gru_stack(gru_weights(units=(6,)))
        self.restarts = restarts

    def initial_state(self, batch):
        return {"even": self.begin(batch), "odd": self.begin(batch)}

    def step(self, ids, state):
        even, odd = state["even"], state["odd"]
        logits = []
        for column in ids.T:
            out, even = self.gru(column[:, None], even)
            even, odd = odd, even
            logits.append(out)
        if self.restarts and ids.shape[1] % 2:  # "even" is that of the first token of a call, whatever its place
            even, odd = odd, even
        return np.concatenate(logits, axis=1), {"even": even, "odd": odd}


@right()
def step_of_a_dilated_layer():
    model = Dilated(restarts=False)
    return language_model(model.step, model.initial_state)


@wrong("chunk-variance")
def step_of_a_dilated_layer_whose_turns_restart():
    model = Dilated(restarts=True)
    return language_model(model.step, model.initial_state)
