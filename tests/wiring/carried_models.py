"""Models of PyTorch and step functions in pairs: what they keep, half precision, memories, NaN, scales of a call."""

import numpy as np
import pytest

import rnneval
from tests.models.step.models import gru_stack, gru_weights
from tests.wiring.corpus.case import E, U, V, right, wrong

torch = pytest.importorskip("torch")
nn = torch.nn


def made(kind, *given, **options):
    torch.manual_seed(1)
    return rnneval.from_torch(kind(*given, **options).eval())


class Gru(nn.Module):
    def __init__(self, factor=1.0):
        super().__init__()
        self.embedding, self.out = nn.Embedding(V, E), nn.Linear(U, V)
        self.gru = nn.GRU(E, U, batch_first=True)
        self.factor = factor

    def forward(self, ids, state=None):
        outputs, state = self.gru(self.embedding(ids), state)
        return self.out(outputs), state * self.factor


# Attributes


def fits(state, ids):
    return state is not None and state.shape[1] == len(ids)


class Remembers(Gru):
    """The last state of a text is the first one of the next; if `logs`, it is noted and never read."""

    def __init__(self, logs):
        super().__init__()
        self.last, self.logs = None, logs

    def forward(self, ids, state=None):
        if state is None and not self.logs and fits(self.last, ids):
            state = self.last
        logits, self.last = super().forward(ids, state)
        return logits, self.last


right(name="a_last_state_that_is_noted")(lambda: made(Remembers, logs=True))
wrong("leftover-state", name="a_last_state_that_begins_the_next_text")(lambda: made(Remembers, logs=False))


class Averages(Gru):
    """A running mean of all inputs is taken out of them; `frozen` at its first value."""

    def __init__(self, frozen):
        super().__init__()
        self.register_buffer("mean", torch.zeros(E))
        self.frozen = frozen

    def forward(self, ids, state=None):
        x = self.embedding(ids)
        self.mean = self.mean * (0.9 if not self.frozen else 1) + (0 if self.frozen else 0.1) * x.mean(dim=(0, 1))
        outputs, h = self.gru(x - self.mean, state)
        return self.out(outputs), h


right(name="a_mean_that_stays")(lambda: made(Averages, frozen=True))
wrong("leftover-state", name="a_running_mean_that_goes_on_in_evaluation")(lambda: made(Averages, frozen=False))


class Tables(Gru):
    """A table of positions grows with the longest text, and is the same for each token that it has."""

    def __init__(self, wrong=False):
        super().__init__()
        self.table, self.wrong = None, wrong

    def forward(self, ids, state=None):
        h, at = state or (None, 0)
        end = at + ids.shape[1]
        if self.table is None or len(self.table) < end:
            self.table = torch.sin(torch.arange(end)[:, None] * torch.arange(1, E + 1))
        begins = len(self.table) - ids.shape[1] if self.wrong else at
        outputs, h = self.gru(self.embedding(ids) + self.table[begins : begins + ids.shape[1]], h)
        return self.out(outputs), (h, end)


right(name="a_table_that_grows")(lambda: made(Tables))
wrong("leftover-state", name="a_table_whose_end_depends_on_the_longest_text")(lambda: made(Tables, wrong=True))


# Mutable defaults


class Default(Gru):
    """The state is a dict that the signature makes once, and that is not written to."""

    def forward(self, ids, state={}):  # noqa: B006 - it is read alone
        h = state.get("h")
        outputs, h = self.gru(self.embedding(ids), h if fits(h, ids) else None)
        return self.out(outputs), {"h": h}


right(name="a_default_that_is_read")(lambda: made(Default))


@wrong("leftover-state")
def a_default_that_is_written_to():
    class Writes(Default):
        def forward(self, ids, state={}):  # noqa: B006 - the fault
            logits, after = super().forward(ids, state)
            state |= after
            return logits, dict(after)

    return made(Writes)


GRUS, BEGIN = gru_stack(gru_weights(units=(6, 6)))


def stepping(writes):
    """A step function whose state has a dict as its default; a wrong one writes the end of each first call there."""
    start = {}

    def step(ids, state=start):
        begun = state.get("layers", ())
        begun = begun if begun and len(begun[0]) == len(ids) else BEGIN(len(ids))
        logits, after = GRUS(ids, begun)
        if writes and state is start:
            state["layers"] = after
        return logits, {"layers": after}

    return rnneval.from_step(step, vocab_size=V)


right(name="a_step_with_a_default")(lambda: stepping(writes=False))
wrong("leftover-state", name="a_step_whose_default_is_written_to")(lambda: stepping(writes=True))


# Half precision


def halved(kind, dtype, *given):
    torch.manual_seed(1)
    return rnneval.from_torch(kind(*given).eval().to(dtype))


right(name="a_gru_in_bfloat16")(lambda: halved(Gru, torch.bfloat16))
wrong("chunk-variance", name="a_gru_in_bfloat16_that_fades_by_a_hundredth")(lambda: halved(Gru, torch.bfloat16, 0.99))
right(name="a_gru_in_float16")(lambda: halved(Gru, torch.float16))
wrong("chunk-variance", name="a_gru_in_float16_that_fades_by_a_hundredth")(lambda: halved(Gru, torch.float16, 0.99))


class Casts(Gru):
    """The weights are in bfloat16 and the state is handed on in float32: rounding is that of bfloat16."""

    def forward(self, ids, state=None):
        logits, h = super().forward(ids, None if state is None else state.bfloat16())
        return logits.float(), h.float()


right(name="a_gru_in_bfloat16_whose_state_is_float32")(lambda: halved(Casts, torch.bfloat16))
wrong(name="a_gru_in_bfloat16_whose_state_fades_by_half")(lambda: halved(Casts, torch.bfloat16, 0.5))


# Attention memories


class Attends(nn.Module):
    """Keys and values of all tokens, or of the last `window`; large weights, so that attention is sharp."""

    def __init__(self, window=None, factor=1.0, late=False):
        super().__init__()
        self.embedding, self.out = nn.Embedding(V, U), nn.Linear(U, V)
        self.q, self.k, self.v = (nn.Linear(U, U, bias=False) for _ in range(3))
        self.window, self.factor, self.late = window, factor, late
        with torch.no_grad():
            for part in (self.q, self.k):
                part.weight.mul_(3)

    def forward(self, ids, state=None):
        x = self.embedding(ids)
        k, v = self.k(x), self.v(x)
        time, past = ids.shape[1], 0
        if state is not None:
            past = state[0].shape[1]
            k, v = torch.cat([state[0] * self.factor, k], dim=1), torch.cat([state[1], v], dim=1)
        places = torch.arange(past + time)
        behind = (past + torch.arange(time))[:, None] - places
        seen = behind >= 0
        if self.window:
            seen &= behind < self.window
        if self.late and time > 1:
            seen &= (behind < time) | (behind > time + 1)
        scores = (self.q(x) @ k.transpose(1, 2) / U**0.5).masked_fill(~seen, -torch.inf)
        y = x + scores.softmax(dim=-1) @ v
        first = max(0, past + time - self.window + 1) if self.window else 0
        return self.out(y), (k[:, first:], v[:, first:])


right(name="a_memory_of_all_tokens")(lambda: made(Attends))
wrong("chunk-variance", name="a_memory_whose_keys_fade_at_every_call")(lambda: made(Attends, factor=0.9999))
right(name="a_memory_of_a_window")(lambda: made(Attends, window=7))
wrong("chunk-variance", name="a_memory_of_a_window_whose_keys_fade_at_every_call")(
    lambda: made(Attends, window=7, factor=0.999)
)
wrong("chunk-variance", name="a_memory_with_a_gap_in_long_calls")(lambda: made(Attends, late=True))


# Numbers that are not finite


class Normed(Gru):
    """Logits over the spread of some tokens: of the units of each token, or wrongly of all tokens of a call."""

    def __init__(self, axis):
        super().__init__()
        self.axis = axis

    def forward(self, ids, state=None):
        logits, h = super().forward(ids, state)
        return logits / logits.std(dim=self.axis, keepdim=True), h


right(name="a_spread_over_the_units")(lambda: made(Normed, 2))
wrong("chunk-variance", name="a_spread_over_the_tokens_of_a_call")(lambda: made(Normed, 1))


class Overflows(Gru):
    """A product over a call that overflows if the call is long, and does not if logarithms are added."""

    def __init__(self, logs):
        super().__init__()
        self.logs = logs

    def forward(self, ids, state=None):
        logits, h = super().forward(ids, state)
        t = torch.arange(ids.shape[1])[:, None]
        scale = torch.zeros(1) if self.logs else 40.0**t - 40.0**t
        return logits + scale, h


right(name="a_long_call_in_logarithms")(lambda: made(Overflows, logs=True))
wrong("chunk-variance", name="a_long_call_that_overflows")(lambda: made(Overflows, logs=False))


@right(expect="inconclusive")
def a_sum_that_overflows_by_every_cut():
    """Nothing can be said of what comes after 3.4e38, and nothing before it differs."""

    def step(ids, state):
        out = []
        with np.errstate(all="ignore"):
            for token in ids.T:
                state = (state * 1.6 + np.eye(V)[token]).astype(np.float32)
                out.append(np.where(np.isfinite(state), state, np.nan).astype(np.float32))
        return np.stack(out, axis=1), state

    return rnneval.from_step(step, lambda rows: np.zeros((rows, V), np.float32), vocab_size=V)


@wrong("chunk-variance")
def a_sum_that_overflows_and_is_halved_between_calls():
    lm = a_sum_that_overflows_by_every_cut()

    def step(ids, state):
        logits, after = lm.function.step(ids, state)
        return logits, after * np.float32(0.5)

    return rnneval.from_step(step, lambda rows: np.zeros((rows, V), np.float32), vocab_size=V)


# Scales of a call


class Scaled(Gru):
    """Logits rounded to 255 steps of the largest one: of each token, or as dynamic int8 does, of a call."""

    def __init__(self, axes):
        super().__init__()
        self.axes = axes

    def forward(self, ids, state=None):
        logits, h = super().forward(ids, state)
        scale = logits.abs().amax(dim=self.axes, keepdim=True) / 127
        return (logits / scale).round() * scale, h


right(name="a_scale_of_each_token")(lambda: made(Scaled, (2,)))
wrong("batch-leak", name="a_scale_of_each_call")(lambda: made(Scaled, (0, 1, 2)))
right(declare=("scaled=call",), name="a_scale_of_each_call_that_is_declared")(lambda: made(Scaled, (0, 1, 2)))


@wrong("unused-state", declare=("scaled=call",))
def a_scale_of_each_call_and_a_state_that_is_not_used():
    class Forgets(Scaled):
        def forward(self, ids, state=None):
            return super().forward(ids, None)

    return made(Forgets, (0, 1, 2))
