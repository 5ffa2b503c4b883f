"""Held-out models of PyTorch, in pairs: a right one and the same one with a fault, as close as can be.

The truth of each was written before it was run, and without a look at the code of the check.
"""

import pytest

import rnneval
from tests.wiring.corpus.case import E, U, V, right, wrong

torch = pytest.importorskip("torch")
nn, functional = torch.nn, torch.nn.functional
torch.set_num_threads(1)  # small products are many times slower with threads that wait for each other


def language_model(make, **options):
    """Make a language model of a module whose `forward(ids, state=None)` returns logits and a state."""
    torch.manual_seed(0)
    module = make(**options).eval()

    @torch.no_grad()
    def step(ids, state):
        logits, state = module(torch.from_numpy(ids).long(), state)
        return logits.float(), state

    return rnneval.from_step(step, vocab_size=V)


# Stacks of nn.GRU and nn.LSTM


class GRUs(nn.Module):
    """One nn.GRU of two layers, whose state is `(layers, batch, units)`."""

    def __init__(self, fault="", mask=0.0):
        super().__init__()
        self.embedding, self.out = nn.Embedding(V, E), nn.Linear(U, V)
        self.gru = nn.GRU(E, U, num_layers=2, batch_first=True)
        self.fault = fault
        self.register_buffer("mask", torch.tensor([0.0] * 3 + [mask] + [0.0] * (V - 4)))

    def forward(self, ids, state=None):
        x = self.embedding(ids)
        if self.fault == "sees the next token":
            x = x + torch.cat([x[:, 1:], x[:, -1:]], dim=1)
        x, after = self.gru(x, None if self.fault == "ignores" else state)
        if self.fault == "exchanges":
            after = after.flip(0)
        if self.fault == "drops":
            after = torch.stack([after[0], torch.zeros_like(after[1])])
        if self.fault == "returns the incoming state" and state is not None:
            after = torch.stack([after[0], state[1]])
        if self.fault == "rolls the rows":
            after = after.roll(1, dims=1)
        return self.out(x) + self.mask, after


right(name="torch_grus")(lambda: language_model(GRUs))
wrong("chunk-variance", name="torch_grus_with_states_exchanged")(lambda: language_model(GRUs, fault="exchanges"))
wrong("unused-state", name="torch_grus_that_ignore_the_state")(lambda: language_model(GRUs, fault="ignores"))
wrong("chunk-variance", name="torch_grus_that_drop_a_state")(lambda: language_model(GRUs, fault="drops"))
wrong("chunk-variance", name="torch_grus_that_return_an_incoming_state")(
    lambda: language_model(GRUs, fault="returns the incoming state")
)
wrong("chunk-variance", name="torch_grus_with_rows_rolled")(lambda: language_model(GRUs, fault="rolls the rows"))
right(name="torch_grus_with_minus_1e9_at_one_id")(lambda: language_model(GRUs, mask=-1e9))
wrong("future-leak", name="torch_grus_with_minus_1e9_at_one_id_and_next_token_seen")(
    lambda: language_model(GRUs, fault="sees the next token", mask=-1e9)
)
wrong("chunk-variance", name="torch_grus_with_minus_100_at_one_id_and_states_exchanged")(
    lambda: language_model(GRUs, fault="exchanges", mask=-100.0)
)


class LSTMs(nn.Module):
    """Two nn.LSTMs, each with its own pair of states."""

    def __init__(self, fault="", dropout=0.3):
        super().__init__()
        self.embedding, self.out = nn.Embedding(V, E), nn.Linear(U, V)
        self.low, self.high = nn.LSTM(E, U, batch_first=True), nn.LSTM(U, U, batch_first=True)
        self.dropout, self.fault = dropout, fault

    def forward(self, ids, state=None):
        low, high = state or (None, None)
        x, low = self.low(self.embedding(ids), low)
        x = functional.dropout(x, self.dropout, training=self.training or self.fault == "dropout stays on")
        x, (h, c) = self.high(x, high)
        return self.out(x), (low, (c, h) if self.fault == "swaps h and c" else (h, c))


right(name="torch_lstms")(lambda: language_model(LSTMs))
wrong("chunk-variance", name="torch_lstms_with_h_and_c_swapped")(lambda: language_model(LSTMs, fault="swaps h and c"))
wrong("always-random", name="torch_lstms_with_dropout_on")(lambda: language_model(LSTMs, fault="dropout stays on"))


class Kept(LSTMs):
    """The module keeps its last state, and goes on from it where it is given none."""

    last = None

    def forward(self, ids, state=None):
        fits = self.last is not None and self.last[0][0].shape[1] == len(ids)
        logits, self.last = super().forward(ids, self.last if state is None and fits else state)
        return logits, self.last


wrong("leftover-state", name="torch_lstms_with_the_last_state_in_an_attribute")(lambda: language_model(Kept))


class Detached(LSTMs):
    """The module keeps its last state for its own use, and reads it nowhere."""

    def forward(self, ids, state=None):
        logits, self.last = super().forward(ids, state)
        return logits, self.last


right(name="torch_lstms_with_a_last_state_that_is_never_read")(lambda: language_model(Detached))


# minGRU


class MinGRU(nn.Module):
    """h ← (1 − z) h + z g(x), in parallel over a call of several tokens, and token by token otherwise."""

    def __init__(self, fault=""):
        super().__init__()
        self.embedding, self.out = nn.Embedding(V, E), nn.Linear(U, V)
        self.z, self.g = nn.Linear(E, U), nn.Linear(E, U)
        self.fault = fault

    def forward(self, ids, state=None):
        x = self.embedding(ids)
        z, g = torch.sigmoid(self.z(x)), torch.tanh(self.g(x))
        h = torch.zeros(len(ids), U) if state is None else state
        if ids.shape[1] == 1:
            h = (1 - z[:, 0]) * h + z[:, 0] * g[:, 0]
            return self.out(h)[:, None], h
        if self.fault == "ignores the state in parallel":
            h = torch.zeros_like(h)
        keep, add = 1 - z, z * g
        time = ids.shape[1]
        # The product of the keeps after s and up to t, for each pair s ≤ t.
        logs = torch.cumsum(torch.log(keep), dim=1)
        between = torch.exp((logs[:, :, None] - logs[:, None]).clamp(max=0))
        past = torch.ones(time, time).tril()[None, ..., None]
        all_h = (past * between * add[:, None]).sum(dim=2) + torch.exp(logs) * h[:, None]
        after = all_h[:, -1]
        if self.fault == "returns the last but one":
            after = all_h[:, -2]
        return self.out(all_h), after


right(name="torch_min_gru")(lambda: language_model(MinGRU))
wrong("chunk-variance", name="torch_min_gru_that_ignores_the_state_in_parallel")(
    lambda: language_model(MinGRU, fault="ignores the state in parallel")
)
wrong("chunk-variance", name="torch_min_gru_that_returns_the_state_before_the_last_token")(
    lambda: language_model(MinGRU, fault="returns the last but one")
)


# A selective scan with a short convolution


class Scan(nn.Module):
    """A convolution over four tokens, and a scan with a decay that depends on the token; the state has both parts."""

    def __init__(self, fault=""):
        super().__init__()
        self.embedding, self.out = nn.Embedding(V, U), nn.Linear(U, V)
        self.conv = nn.Conv1d(U, U, 4, groups=U)
        self.delta, self.b, self.c = nn.Linear(U, U), nn.Linear(U, 3), nn.Linear(U, 3)
        self.a = nn.Parameter(torch.rand(U, 3))
        self.fault = fault

    def forward(self, ids, state=None):
        batch, time = ids.shape
        conv, h = state or (torch.zeros(batch, 3, U), torch.zeros(batch, U, 3))
        x = self.embedding(ids)
        if self.fault == "starts the convolution anew in calls of several tokens" and time > 1:
            conv = torch.zeros_like(conv)
        if self.fault == "starts the scan anew in calls of several tokens" and time > 1:
            h = torch.zeros_like(h)
        padded = torch.cat([conv, x], dim=1)
        u = functional.silu(self.conv(padded.transpose(1, 2)).transpose(1, 2))
        delta = functional.softplus(self.delta(u))
        outputs = []
        for t in range(time):
            h = torch.exp(-delta[:, t, :, None] * self.a) * h + (delta * u)[:, t, :, None] * self.b(u[:, t])[:, None]
            outputs.append((h * self.c(u[:, t])[:, None]).sum(dim=-1) + u[:, t])
        if self.fault == "keeps a window that is one token old":
            padded = padded[:, :-1]
        return self.out(torch.stack(outputs, dim=1)), (padded[:, -3:], h)


right(name="torch_scan")(lambda: language_model(Scan))
wrong("chunk-variance", name="torch_scan_whose_convolution_starts_anew")(
    lambda: language_model(Scan, fault="starts the convolution anew in calls of several tokens")
)
wrong("chunk-variance", name="torch_scan_that_starts_anew")(
    lambda: language_model(Scan, fault="starts the scan anew in calls of several tokens")
)
wrong("chunk-variance", name="torch_scan_with_a_window_that_is_one_token_old")(
    lambda: language_model(Scan, fault="keeps a window that is one token old")
)


# Rows of different length


class Packed(nn.Module):
    """Rows are sorted by their number of tokens that are no padding (id 0)."""

    def __init__(self, *, state_put_back):
        super().__init__()
        self.embedding, self.out = nn.Embedding(V, E), nn.Linear(U, V)
        self.gru = nn.GRU(E, U, batch_first=True)
        self.state_put_back = state_put_back

    def forward(self, ids, state=None):
        order = torch.argsort((ids != 0).sum(dim=1), descending=True, stable=True)
        back = torch.argsort(order)
        x, state = self.gru(self.embedding(ids[order]), None if state is None else state[:, order])
        return self.out(x[back]), state[:, back] if self.state_put_back else state


right(name="torch_rows_sorted_and_put_back")(lambda: language_model(Packed, state_put_back=True))
wrong(name="torch_rows_sorted_and_the_state_not_put_back")(lambda: language_model(Packed, state_put_back=False))


# Half precision


class Bfloat16(nn.Module):
    """A GRU cell in bfloat16, in a loop, with a scalar in its state."""

    def __init__(self, *, drops=False):
        super().__init__()
        self.embedding, self.out, self.cell = nn.Embedding(V, E), nn.Linear(U, V), nn.GRUCell(E, U)
        self.drops = drops
        self.bfloat16()

    def forward(self, ids, state=None):
        h, scale = state or (torch.zeros(len(ids), U, dtype=torch.bfloat16), torch.tensor(2.0, dtype=torch.bfloat16))
        x, outputs = self.embedding(ids), []
        for t in range(ids.shape[1]):
            h = self.cell(x[:, t], h)
            outputs.append(h)
        if self.drops:
            h = torch.zeros_like(h)
        return self.out(torch.stack(outputs, dim=1)) * scale, (h, scale)


right(name="torch_bfloat16_with_a_scalar_in_the_state")(lambda: language_model(Bfloat16))
wrong("chunk-variance", name="torch_bfloat16_with_a_scalar_in_the_state_and_the_rest_dropped")(
    lambda: language_model(Bfloat16, drops=True)
)


class Bfloat16GRUs(nn.Module):
    """nn.GRU of two layers in bfloat16."""

    def __init__(self, *, exchanges=False):
        super().__init__()
        self.grus = GRUs("exchanges" if exchanges else "").bfloat16()

    def forward(self, ids, state=None):
        return self.grus(ids, state)


right(name="torch_bfloat16_grus")(lambda: language_model(Bfloat16GRUs))
wrong("chunk-variance", name="torch_bfloat16_grus_with_states_exchanged")(
    lambda: language_model(Bfloat16GRUs, exchanges=True)
)
