"""Right models of PyTorch that a check of its modules may take for wrong ones.

The truth of each is its docstring: it says why the model is right. It was written before the model was run.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional

import rnneval
from tests.wiring.corpus.case import E, U, V, right


def opened(make, **options):
    """Make the language model of a module."""
    return rnneval.from_torch(make(**options).eval())


class Base(nn.Module):
    """An embedding and a head; `run(x, state)` returns what the head reads, and the new state."""

    def __init__(self, width=U, embedding=E):
        super().__init__()
        self.embedding, self.head = nn.Embedding(V, embedding), nn.Linear(width, V)

    def forward(self, ids, state=None):
        outputs, state = self.run(self.embedding(ids), state)
        return self.head(outputs), state


class ByToken(Base):
    """Reads one token after the other; `token(x, state)` returns what the head reads, and the new state."""

    def start(self, x):
        raise NotImplementedError

    def run(self, x, state):
        state = self.start(x) if state is None else state
        outputs = []
        for token in x.unbind(1):
            output, state = self.token(token, state)
            outputs.append(output)
        return torch.stack(outputs, dim=1), state


def zeros(x, *sizes):
    return x.new_zeros(len(x), *(sizes or (U,)))


# A state in one form as an argument, and in another one as a result


class Cell(nn.Module):
    """An LSTM cell by hand, whose arguments and results are as `takes` and `gives` say."""

    def __init__(self, takes="(h, c)", gives="(h, c)", size=E):
        super().__init__()
        self.gates = nn.Linear(size + U, 4 * U)
        self.takes, self.gives = takes, gives

    def forward(self, x, *state):
        h, c = state if self.takes == "h, c" else state[0]
        i, f, g, o = self.gates(torch.cat([x, h], dim=-1)).chunk(4, dim=-1)
        c = torch.sigmoid(f + 1) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
        return {"(h, c)": (h, (h, c)), "h, c": (h, h, c), "c, h": (h, c, h), "(c, h)": (h, (c, h))}[self.gives]


class Mixed(ByToken):
    """The caller hands on h and c, each as what it was."""

    def __init__(self, takes, gives):
        super().__init__()
        self.cell = Cell(takes, gives)

    def start(self, x):
        return zeros(x), zeros(x)

    def token(self, x, state):
        y, *after = self.cell(x, *state) if self.cell.takes == "h, c" else self.cell(x, state)
        after = after[0] if len(after) == 1 else after
        return y, tuple(after if self.cell.gives.strip("()") == "h, c" else after[::-1])


@right()
def takes_two_and_returns_a_pair():
    return opened(Mixed, takes="h, c", gives="(h, c)")


@right()
def takes_a_pair_and_returns_two():
    return opened(Mixed, takes="(h, c)", gives="h, c")


@right()
def returns_c_before_h_to_a_caller_who_knows():
    return opened(Mixed, takes="h, c", gives="c, h")


@right()
def returns_a_pair_of_c_and_h_to_a_caller_who_knows():
    return opened(Mixed, takes="(h, c)", gives="(c, h)")


class Ranks(ByToken):
    """A fast-weight cell: a vector and a matrix, taken in the other order than they are returned."""

    def __init__(self):
        super().__init__()
        self.cell = _Fast()

    def start(self, x):
        return zeros(x, U, U), zeros(x)

    def token(self, x, state):
        h, matrix = self.cell(x, *state)
        return h, (matrix, h)


class _Fast(nn.Module):
    def __init__(self):
        super().__init__()
        self.keys, self.values, self.mix = nn.Linear(E, U), nn.Linear(E, U), nn.Linear(U, U)

    def forward(self, x, matrix, h):
        matrix = 0.9 * matrix + torch.einsum("bi,bj->bij", self.values(x), self.keys(x) + self.mix(h))
        return torch.tanh(torch.einsum("bij,bj->bi", matrix, self.keys(x))), matrix


@right()
def arrays_of_other_ranks_in_another_order():
    return opened(Ranks)


# What reads a state before the cell does


class Before(ByToken):
    """Something reads h before the LSTM cell that keeps it."""

    def __init__(self, reader):
        super().__init__()
        self.reader, self.cell = reader, nn.LSTMCell(E, U)
        self.norm, self.query, self.gate = nn.LayerNorm(U), nn.Linear(U, E), nn.Linear(U + E, U)

    def start(self, x):
        return zeros(x), zeros(x)

    def token(self, x, state):
        h, c = state
        if self.reader == "norm":
            h = self.norm(h)
        elif self.reader == "query":
            x = x * torch.sigmoid(self.query(h))
        elif self.reader == "gate":
            h = h * torch.sigmoid(self.gate(torch.cat([h, x], dim=-1)))
        state = self.cell(x, (h, c))
        return state[0], state


@right()
def layer_norm_reads_h_first():
    return opened(Before, reader="norm")


@right()
def query_reads_h_first():
    return opened(Before, reader="query")


@right()
def gate_reads_h_first():
    return opened(Before, reader="gate")


class Attends(ByToken):
    """An LSTM cell whose h asks a memory of the last four embeddings, beside a second cell above it."""

    def __init__(self):
        super().__init__()
        self.query, self.low, self.high = nn.Linear(U, E), nn.LSTMCell(2 * E, U), nn.LSTMCell(U, U)

    def start(self, x):
        return {"low": (zeros(x), zeros(x)), "high": (zeros(x), zeros(x)), "memory": zeros(x, 4, E)}

    def token(self, x, state):
        memory = torch.cat([state["memory"][:, 1:], x[:, None]], dim=1)
        scores = torch.einsum("be,bte->bt", self.query(state["low"][0]), memory)
        context = torch.einsum("bt,bte->be", scores.softmax(dim=-1), memory)
        low = self.low(torch.cat([x, context], dim=-1), state["low"])
        high = self.high(low[0], state["high"])
        return high[0], {"low": low, "high": high, "memory": memory}


@right()
def attention_query_reads_h_of_the_lower_cell_first():
    return opened(Attends)


# Layers that move at some tokens only


@dataclass
class Clocked:
    """The states of a clockwork model."""

    fast: Any
    slow: Any
    time: Any


class TwoRates(Base):
    """A slow GRU cell above a fast one; it moves at every `period`-th token, `how` says in what code."""

    def __init__(self, how="where", period=4):
        super().__init__(2 * U)
        self.fast, self.slow = nn.GRUCell(E, U), nn.GRUCell(U, U)
        self.how, self.period = how, period

    def run(self, x, state):
        state = state or Clocked(zeros(x), zeros(x), torch.zeros(len(x), dtype=torch.long))
        fast, slow, time, outputs = state.fast, state.slow, state.time, []
        for token in x.unbind(1):
            fast = self.fast(token, fast)
            time = time + 1
            moves = time % self.period == 0
            if self.how == "where":
                slow = torch.where(moves[:, None], self.slow(fast, slow), slow)
            elif self.how == "mask":
                mask = moves[:, None].float()
                slow = mask * self.slow(fast, slow) + (1 - mask) * slow
            elif bool(moves[0]):
                slow = self.slow(fast, slow)
            outputs.append(torch.cat([fast, slow], dim=-1))
        return torch.stack(outputs, dim=1), Clocked(fast, slow, time)


@right()
def slow_cell_by_where():
    return opened(TwoRates)


@right()
def slow_cell_by_mask_at_every_second_token():
    return opened(TwoRates, how="mask", period=2)


@right()
def slow_cell_by_if():
    return opened(TwoRates, how="if")


class Words(nn.Module):
    """A cell for letters, and one for words that moves at the end of a word, which is one id of all."""

    def __init__(self, vocabulary=V, end=5):
        super().__init__()
        self.embedding, self.head = nn.Embedding(vocabulary, E), nn.Linear(2 * U, vocabulary)
        self.letters, self.words, self.end = nn.LSTMCell(E + U, U), nn.LSTMCell(U, U), end

    def forward(self, ids, state=None):
        x, outputs = self.embedding(ids), []
        blank = (zeros(x), zeros(x))
        letters, words = state or (blank, blank)
        for t in range(ids.shape[1]):
            ends = (ids[:, t] == self.end)[:, None]
            letters = self.letters(torch.cat([x[:, t], words[0]], dim=-1), letters)
            after = self.words(letters[0], words)
            words = tuple(torch.where(ends, new, old) for new, old in zip(after, words, strict=True))
            letters = tuple(torch.where(ends, torch.zeros_like(old), old) for old in letters)
            outputs.append(torch.cat([letters[0], words[0]], dim=-1))
        return self.head(torch.stack(outputs, dim=1)), (letters, words)


@right()
def words_and_letters():
    return opened(Words)


@right()
def words_that_end_with_one_id_of_sixty():
    return opened(Words, vocabulary=60, end=0)


class Skips(Base):
    """A slow cell that runs, and is read, at every third token alone: nothing reads its state in between."""

    def __init__(self):
        super().__init__()
        self.fast, self.slow, self.down = nn.GRUCell(E, U), nn.LSTMCell(U, U), nn.Linear(U, U)

    def run(self, x, state):
        fast, slow, time = state or (zeros(x), (zeros(x), zeros(x)), 0)
        outputs = []
        for token in x.unbind(1):
            fast = self.fast(token, fast)
            if time % 3 == 2:
                slow = self.slow(fast, slow)
                fast = fast + self.down(slow[0])
            time += 1
            outputs.append(fast)
        return torch.stack(outputs, dim=1), (fast, slow, time)


@right()
def slow_cell_that_is_read_only_when_it_runs():
    return opened(Skips)


# Dilated recurrence


class Dilated(Base):
    """Each step goes on from the state `dilation` tokens ago; the state is the queue of the last ones."""

    def __init__(self, dilation=3, stacked=False):
        super().__init__()
        self.cell, self.dilation, self.stacked = nn.GRUCell(E, U), dilation, stacked

    def run(self, x, state):
        queue = [zeros(x)] * self.dilation if state is None else list(state.unbind(1) if self.stacked else state)
        outputs = []
        for token in x.unbind(1):
            queue = [*queue[1:], self.cell(token, queue[0])]
            outputs.append(queue[-1])
        return torch.stack(outputs, dim=1), torch.stack(queue, dim=1) if self.stacked else queue


@right()
def dilated_with_a_list_of_states():
    return opened(Dilated)


@right()
def dilated_with_a_queue_in_one_array():
    return opened(Dilated, dilation=4, stacked=True)


class DilatedLSTM(Base):
    """A dilated LSTM over an ordinary one."""

    def __init__(self):
        super().__init__()
        self.low, self.high = nn.LSTMCell(E, U), nn.LSTMCell(U, U)

    def run(self, x, state):
        blank = (zeros(x), zeros(x))
        low, queue = state or (blank, (blank, blank))
        outputs = []
        for token in x.unbind(1):
            low = self.low(token, low)
            queue = (*queue[1:], self.high(low[0], queue[0]))
            outputs.append(queue[-1][0])
        return torch.stack(outputs, dim=1), (low, queue)


@right()
def dilated_lstm_above_another():
    return opened(DilatedLSTM)


# One module in several places


class Streams(Base):
    """One GRU reads two streams of the text side by side, each with its own state."""

    def __init__(self):
        super().__init__(2 * U)
        self.other, self.gru = nn.Linear(E, E), nn.GRU(E, U, batch_first=True)

    def run(self, x, state):
        a, b = state or (None, None)
        one, a = self.gru(x, a)
        two, b = self.gru(self.other(x), b)
        return torch.cat([one, two], dim=-1), (a, b)


@right()
def one_gru_reads_two_streams():
    return opened(Streams)


class Ponders(ByToken):
    """The cell runs three times for each token, its state handed on from one run to the next."""

    def __init__(self):
        super().__init__()
        self.cell = nn.GRUCell(E, U)

    def start(self, x):
        return zeros(x)

    def token(self, x, h):
        for _ in range(3):
            h = self.cell(x, h)
        return h, h


@right()
def cell_that_runs_three_times_for_each_token():
    return opened(Ponders)


class Depth(Base):
    """One GRU stands for three layers, which is meant: each layer has its own state."""

    def __init__(self):
        super().__init__(E)
        self.layers = nn.ModuleList([nn.GRU(E, E, batch_first=True)] * 3)

    def run(self, x, state):
        after = []
        for layer, before in zip(self.layers, state or [None] * 3, strict=True):
            y, h = layer(x, before)
            x = x + y
            after.append(h)
        return x, after


@right(declare=("shared=layers.1",))
def one_gru_for_three_layers_declared():
    return opened(Depth)


# What else people write


class Scan(nn.Module):
    """A linear recurrence by a parallel scan; its state is a dict."""

    def __init__(self):
        super().__init__()
        self.decay, self.into = nn.Linear(U, U), nn.Linear(U, U)

    def forward(self, x, state=None):
        keep, add = torch.sigmoid(self.decay(x) + 2), self.into(x)
        h = torch.zeros_like(x[:, 0]) if state is None else state["h"]
        logs = torch.log(keep).cumsum(dim=1)
        past = torch.exp((logs[:, :, None] - logs[:, None]).clamp(max=0))
        past = past * torch.ones(x.shape[1], x.shape[1]).tril()[None, :, :, None]
        every = torch.einsum("btsd,bsd->btd", past, (1 - keep) * add) + torch.exp(logs) * h[:, None]
        return every, {"h": every[:, -1]}


class Hybrid(Base):
    """Scans around a small attention with a growing cache, in blocks with norms."""

    def __init__(self):
        super().__init__(embedding=U)
        self.scans = nn.ModuleList(Scan() for _ in range(2))
        self.norms = nn.ModuleList(nn.LayerNorm(U) for _ in range(3))
        self.qkv = nn.Linear(U, 3 * U)

    def run(self, x, state):
        state = state or {"scans": [None, None], "keys": None, "values": None}
        y, low = self.scans[0](self.norms[0](x), state["scans"][0])
        x = x + y
        query, keys, values = self.qkv(self.norms[1](x)).chunk(3, dim=-1)
        if state["keys"] is not None:
            keys, values = torch.cat([state["keys"], keys], dim=1), torch.cat([state["values"], values], dim=1)
        mask = torch.ones(x.shape[1], keys.shape[1], dtype=torch.bool).tril(keys.shape[1] - x.shape[1])
        x = x + functional.scaled_dot_product_attention(query, keys, values, attn_mask=mask)
        y, high = self.scans[1](self.norms[2](x), state["scans"][1])
        return x + y, {"scans": [low, high], "keys": keys, "values": values}


@right()
def scans_around_attention():
    return opened(Hybrid)


class InModules(Base):
    """Each layer keeps its own state in a buffer, and begins with zeros where the batch has another size."""

    def __init__(self):
        super().__init__()
        self.low, self.high = _Keeps(E), _Keeps(U)

    def run(self, x, state):
        if state is None:
            self.low.h = self.high.h = None
        return self.high(self.low(x)), torch.ones(len(x), 1)


class _Keeps(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.gru, self.h = nn.GRU(size, U, batch_first=True), None

    def forward(self, x):
        y, self.h = self.gru(x, self.h)
        return y


@right()
def states_kept_in_modules():
    return opened(InModules)
