"""More right models of PyTorch: cells that read each other's states, clocks and queues, states handed on whole.

The truth of each is its docstring. It was written before the model was run.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from tests.wiring.corpus.case import E, U, right
from tests.wiring.torch.right_modules import Base, ByToken, Cell, opened, zeros

# Cells that read each other's states


class Hyper(ByToken):
    """A small LSTM cell reads the large one's h first, and makes the scale of what the large one reads."""

    def __init__(self):
        super().__init__()
        self.hyper, self.main, self.scale = nn.LSTMCell(E + U, 4), nn.LSTMCell(E, U), nn.Linear(4, E)

    def start(self, x):
        return {"hyper": (zeros(x, 4), zeros(x, 4)), "main": (zeros(x), zeros(x))}

    def token(self, x, state):
        hyper = self.hyper(torch.cat([x, state["main"][0]], dim=-1), state["hyper"])
        main = self.main(x * torch.sigmoid(self.scale(hyper[0])), state["main"])
        return main[0], {"hyper": hyper, "main": main}


@right()
def hyper_lstm():
    return opened(Hyper)


class Feedback(ByToken):
    """The lower GRU cell reads the state of the upper one from the token before, through a projection."""

    def __init__(self):
        super().__init__()
        self.low, self.high, self.back = nn.GRUCell(E, U), nn.GRUCell(U, U), nn.Linear(U, E)

    def start(self, x):
        return zeros(x), zeros(x)

    def token(self, x, state):
        low, high = state
        low = self.low(x + self.back(high), low)
        high = self.high(low, high)
        return high, (low, high)


@right()
def lower_cell_reads_the_upper_state():
    return opened(Feedback)


class Peephole(nn.Module):
    """A cell with a projection of c in its gates; it returns no output beside its state."""

    def __init__(self):
        super().__init__()
        self.peep, self.gates = nn.Linear(U, 3 * U, bias=False), nn.Linear(E + U, 4 * U)

    def forward(self, x, h, c):
        *gates, new = self.gates(torch.cat([x, h], dim=-1)).chunk(4, dim=-1)
        i, f, o = (torch.sigmoid(a + b) for a, b in zip(gates, self.peep(c).chunk(3, dim=-1), strict=True))
        c = f * c + i * torch.tanh(new)
        return o * torch.tanh(c), c


class Peeps(ByToken):
    """A peephole cell whose state is a dict."""

    def __init__(self):
        super().__init__()
        self.cell = Peephole()

    def start(self, x):
        return {"c": zeros(x), "h": zeros(x)}

    def token(self, x, state):
        h, c = self.cell(x, **state)
        return h, {"h": h, "c": c}


@right()
def peephole_cell_with_a_dict():
    return opened(Peeps)


class Remembers(ByToken):
    """A cell whose normed h attends to all outputs so far, which are kept."""

    def __init__(self):
        super().__init__()
        self.norm, self.cell = nn.LayerNorm(U), nn.LSTMCell(E + U, U)

    def start(self, x):
        return (zeros(x), zeros(x)), zeros(x, 1, U)

    def token(self, x, state):
        (h, c), memory = state
        scores = torch.einsum("bu,btu->bt", self.norm(h), memory)
        context = torch.einsum("bt,btu->bu", scores.softmax(dim=-1), memory)
        h, c = self.cell(torch.cat([x, context], dim=-1), (h, c))
        return h, ((h, c), torch.cat([memory, h[:, None]], dim=1))


@right()
def cell_that_attends_to_all_its_outputs():
    return opened(Remembers)


# Other clocks and queues


class Ring(Base):
    """A dilated cell whose queue is a ring: the place of the oldest state goes around."""

    def __init__(self):
        super().__init__()
        self.cell = nn.GRUCell(E, U)

    def run(self, x, state):
        ring, at = state or (zeros(x, 3, U), 0)
        outputs = []
        for token in x.unbind(1):
            h = self.cell(token, ring[:, at])
            ring = torch.cat([ring[:, :at], h[:, None], ring[:, at + 1 :]], dim=1)
            at = (at + 1) % 3
            outputs.append(h)
        return torch.stack(outputs, dim=1), (ring, at)


@right()
def dilated_with_a_ring():
    return opened(Ring)


class Jumps(ByToken):
    """A skip RNN: the state moves where a sum of update probabilities rounds to one."""

    def __init__(self):
        super().__init__()
        self.cell, self.update = nn.GRUCell(E, U), nn.Linear(U, 1)

    def start(self, x):
        return zeros(x), x.new_full((len(x), 1), 0.7)

    def token(self, x, state):
        h, chance = state
        moves = (chance > 0.5).to(x)
        h = moves * self.cell(x, h) + (1 - moves) * h
        more = torch.sigmoid(self.update(h)) * 0.6
        return h, (h, moves * more + (1 - moves) * (chance + more))


@right()
def skip_rnn():
    return opened(Jumps)


class Pairs(Base):
    """An upper GRU over pairs of tokens: the first of a pair waits in the state."""

    def __init__(self):
        super().__init__(2 * U)
        self.low, self.high = nn.GRU(E, U, batch_first=True), nn.GRUCell(2 * U, U)

    def run(self, x, state):
        low, high, waiting, full = state or (None, zeros(x), zeros(x), False)
        y, low = self.low(x, low)
        outputs = []
        for token in y.unbind(1):
            if full:
                high = self.high(torch.cat([waiting, token], dim=-1), high)
            waiting, full = token, not full
            outputs.append(torch.cat([token, high], dim=-1))
        return torch.stack(outputs, dim=1), (low, high, waiting, full)


@right()
def upper_gru_over_pairs():
    return opened(Pairs)


class Phased(ByToken):
    """Phased cells: each unit moves in its own part of a period; the time is a float in the state."""

    def __init__(self):
        super().__init__()
        self.cell, self.period = nn.LSTMCell(E, U), nn.Parameter(torch.arange(U) + 2.3719)

    def start(self, x):
        return zeros(x), zeros(x), zeros(x, 1)

    def token(self, x, state):
        h, c, time = state
        is_open = (time % self.period < 1.5).to(x)
        after = self.cell(x, (h, c))
        h, c = (is_open * new + (1 - is_open) * old for new, old in zip(after, (h, c), strict=True))
        return h, (h, c, time + 1)


@right()
def phased_lstm():
    return opened(Phased)


class Ended(Base):
    """Both states begin anew after id 2, which ends a text."""

    def __init__(self):
        super().__init__()
        self.low, self.high = nn.GRUCell(E, U), nn.GRUCell(U, U)

    def forward(self, ids, state=None):
        x, outputs = self.embedding(ids), []
        low, high = state or (zeros(x), zeros(x))
        for t in range(ids.shape[1]):
            low = self.low(x[:, t], low)
            high = self.high(low, high)
            outputs.append(high)
            goes_on = (ids[:, t] != 2).to(x)[:, None]
            low, high = goes_on * low, goes_on * high
        return self.head(torch.stack(outputs, dim=1)), (low, high)


@right()
def states_begin_anew_after_the_end_of_a_text():
    return opened(Ended)


class Sliced(Base):
    """The states of three GRUs are slices of one array, `(layers, batch, units)`."""

    def __init__(self):
        super().__init__(E)
        self.layers = nn.ModuleList(nn.GRU(E, E, batch_first=True) for _ in range(3))

    def run(self, x, state):
        after = []
        for number, layer in enumerate(self.layers):
            x, h = layer(x, None if state is None else state[number : number + 1])
            after.append(h)
        return x, torch.cat(after)


@right()
def slices_of_one_array():
    return opened(Sliced)


# States that are handed on whole, or as objects


class Block(nn.Module):
    """A layer that is given the states of all layers, and takes its own."""

    def __init__(self, number):
        super().__init__()
        self.number, self.norm = number, nn.LayerNorm(U)
        self.rnn = nn.LSTM(U, U, batch_first=True)

    def forward(self, x, states):
        y, state = self.rnn(self.norm(x), states[self.number])
        return x + y, state


class Blocks(Base):
    """Each of three blocks is given all states."""

    def __init__(self):
        super().__init__(embedding=U)
        self.blocks = nn.ModuleList(Block(number) for number in range(3))

    def run(self, x, state):
        state, after = state or [None] * 3, []
        for block in self.blocks:
            x, new = block(x, state)
            after.append(new)
        return x, after


@right()
def blocks_that_are_given_all_states():
    return opened(Blocks)


@dataclass
class CellState:
    """The state of one cell."""

    h: Any
    c: Any


class OfObject(Cell):
    """A cell that takes an object before its input, and returns another one alone."""

    def forward(self, state, x):
        _, (h, c) = super().forward(x, (state.h, state.c))
        return CellState(h, c)


class Objects(ByToken):
    """Two cells whose states are objects."""

    def __init__(self):
        super().__init__()
        self.low, self.high = OfObject(), OfObject(size=U)

    def start(self, x):
        return [CellState(zeros(x), zeros(x)) for _ in range(2)]

    def token(self, x, state):
        low = self.low(state[0], x)
        high = self.high(state[1], low.h)
        return high.h, [low, high]


@right()
def states_that_are_objects():
    return opened(Objects)


class Twice(Base):
    """The module keeps its state in an attribute, and returns the same tensor, which it does not read."""

    def __init__(self):
        super().__init__()
        self.gru, self.kept = nn.GRU(E, U, batch_first=True), None

    def forward(self, ids, state=None):
        y, self.kept = self.gru(self.embedding(ids), None if state is None else self.kept)
        return self.head(y), {"copy": self.kept, "same": self.kept}


@right()
def state_that_is_kept_and_returned():
    return opened(Twice)


class Begin(ByToken):
    """Two cells begin from one tensor of zeros."""

    def __init__(self):
        super().__init__()
        self.low, self.high = nn.GRUCell(E, U), nn.GRUCell(U, U)

    def start(self, x):
        return [zeros(x)] * 2

    def token(self, x, state):
        low = self.low(x, state[0])
        high = self.high(low, state[1])
        return low + high, [low, high]


@right()
def one_tensor_as_the_beginning_of_two_states():
    return opened(Begin)


class SameTensor(ByToken):
    """One state is returned under two names, and is read under both."""

    def __init__(self):
        super().__init__()
        self.cell, self.gate = nn.GRUCell(E, U), nn.Linear(U, E)

    def start(self, x):
        return {"hidden": zeros(x), "last_output": zeros(x)}

    def token(self, x, state):
        h = self.cell(x * torch.sigmoid(self.gate(state["last_output"])), state["hidden"])
        return h, {"hidden": h, "last_output": h}


@right()
def one_state_under_two_names():
    return opened(SameTensor)


# Recurrences of recent papers, without a cell of PyTorch


class Recent(Base):
    """A gated sum after a convolution over four tokens, whose last three inputs are carried."""

    kept = slice(-3, None)

    def __init__(self):
        super().__init__(E)
        self.conv, self.gate = nn.Conv1d(E, E, 4, groups=E), nn.Linear(E, E)

    def run(self, x, state):
        inputs, total = state or (x.new_zeros(len(x), 3, E), zeros(x, E))
        inputs = torch.cat([inputs, x], dim=1)
        y, outputs = functional.silu(self.conv(inputs.transpose(1, 2))).transpose(1, 2), []
        for token, keep in zip(y.unbind(1), torch.sigmoid(self.gate(y)).unbind(1), strict=True):
            total = keep * total + (1 - keep) * token
            outputs.append(total)
        return torch.stack(outputs, dim=1), (inputs[:, self.kept], total)


@right()
def convolution_and_gated_sum():
    return opened(Recent)


class InLogSpace(Base):
    """A gated sum in log space: a call of several tokens is one scan, whose sums round more the longer they are."""

    def __init__(self):
        super().__init__(E)
        self.gates = nn.Linear(E, 2 * E)

    def run(self, x, state):
        gate, value = self.gates(x).chunk(2, dim=-1)
        new = functional.softplus(value)
        if state is None:
            state = x.new_full((len(x), 1, E), 0.5)
        if x.shape[1] == 1:
            outputs = torch.sigmoid(-gate) * state + torch.sigmoid(gate) * new
        else:
            kept = functional.pad(functional.logsigmoid(-gate), (0, 0, 1, 0)).cumsum(dim=1)
            logs = torch.cat([state.log(), functional.logsigmoid(gate) + new.log()], dim=1)
            outputs = (kept + (logs - kept).logcumsumexp(dim=1)).exp()[:, 1:]
        return outputs, outputs[:, -1:]


@right()
def gated_sum_in_log_space():
    return opened(InLogSpace)


class Rotates(Base):
    """A diagonal recurrence of complex numbers, in which states turn and fade."""

    def __init__(self):
        super().__init__(2 * E)
        self.turns = nn.Parameter(torch.rand(E) * 3)

    def run(self, x, state):
        state, outputs = x.new_zeros(len(x), E, dtype=torch.complex64) if state is None else state, []
        for token in x.unbind(1):
            state = state * torch.polar(torch.full_like(self.turns, 0.9), self.turns) + token
            outputs.append(torch.view_as_real(state).flatten(1))
        return torch.stack(outputs, dim=1), state


@right()
def states_that_turn():
    return opened(Rotates)


class Exponential(Base):
    """Exponential gates: numerator and denominator are divided by the largest exponent so far, which is carried."""

    def __init__(self):
        super().__init__(E)
        self.gates = nn.Linear(E, 2 * E)

    def run(self, x, state):
        n, d, m = state or (zeros(x, E), zeros(x, E), zeros(x, E))
        outputs = []
        for token, gates in zip(x.unbind(1), self.gates(x).unbind(1), strict=True):
            enter, keep = gates.chunk(2, dim=-1)
            keep = functional.logsigmoid(keep) + m
            m = torch.maximum(keep, enter)
            n = torch.exp(keep - m) * n + torch.exp(enter - m) * torch.tanh(token)
            d = torch.exp(keep - m) * d + torch.exp(enter - m)
            outputs.append(n / d)
        return torch.stack(outputs, dim=1), (n, d, m)


@right()
def exponential_gates():
    return opened(Exponential)


class DeltaRule(Base):
    """A matrix of fast weights: each token takes out what its key recalls, and writes its value."""

    def __init__(self):
        super().__init__(E)
        self.parts = nn.Linear(E, 3 * E)

    def run(self, x, state):
        memory = x.new_zeros(len(x), E, E) if state is None else state
        outputs = []
        for query, key, value in zip(*(part.unbind(1) for part in self.parts(x).chunk(3, dim=-1)), strict=True):
            unit = functional.normalize(key, dim=-1)
            recalled = torch.einsum("bij,bj->bi", memory, unit)
            memory = memory + torch.einsum("bi,bj->bij", (value - recalled) / 2, unit)
            outputs.append(torch.einsum("bij,bj->bi", memory, query))
        return torch.stack(outputs, dim=1), memory


@right()
def delta_rule():
    return opened(DeltaRule)


class Decaying(Base):
    """Linear attention of two decays, computed for all tokens of a call at once."""

    def run(self, x, state):
        time, decay = torch.arange(x.shape[1]), torch.tensor([0.9, 0.6])[:, None, None]
        keys = functional.elu(x) + 1
        past = x.new_zeros(len(x), 2, E, E) if state is None else state
        back = time[:, None] - time
        within = (x @ keys.transpose(1, 2))[:, None] * torch.where(back >= 0, decay ** back.clamp(min=0), 0.0)
        y = within @ x[:, None] + (x[:, None] @ past) * decay ** (time + 1)[:, None]
        weighted = keys[:, None] * decay ** (x.shape[1] - 1 - time)[:, None]
        return y.sum(dim=1), past * decay ** x.shape[1] + weighted.transpose(2, 3) @ x[:, None]


@right()
def linear_attention_in_one_product():
    return opened(lambda: Decaying(E))


class Highway(ByToken):
    """A recurrent highway: the state goes through three gated layers for each token, the first of which reads it."""

    def __init__(self):
        super().__init__()
        self.input, self.steps = nn.Linear(E, 2 * U), nn.ModuleList(nn.Linear(U, 2 * U) for _ in range(3))

    def start(self, x):
        return zeros(x)

    def token(self, x, state):
        for number, step in enumerate(self.steps):
            new, gate = (step(state) + (self.input(x) if number == 0 else 0)).chunk(2, dim=-1)
            state = torch.sigmoid(gate) * torch.tanh(new) + (1 - torch.sigmoid(gate)) * state
        return state, state


@right()
def recurrent_highway():
    return opened(Highway)


class Window(Base):
    """A GRU, then attention over the last four tokens, whose keys are kept: three, or fewer at the beginning."""

    def __init__(self):
        super().__init__()
        self.gru, self.parts = nn.GRU(E, U, batch_first=True), nn.Linear(U, 3 * U)

    def run(self, x, state):
        hidden, keys, values = state or (None, x.new_zeros(len(x), 0, U), x.new_zeros(len(x), 0, U))
        y, hidden = self.gru(x, hidden)
        query, key, value = self.parts(y).chunk(3, dim=-1)
        keys, values = torch.cat([keys, key], dim=1), torch.cat([values, value], dim=1)
        back = torch.arange(keys.shape[1] - x.shape[1], keys.shape[1])[:, None] - torch.arange(keys.shape[1])
        seen = functional.scaled_dot_product_attention(query, keys, values, attn_mask=(back >= 0) & (back < 4))
        return y + seen, (hidden, keys[:, -3:], values[:, -3:])


@right()
def attention_to_a_window():
    return opened(Window)


class Learned(ByToken):
    """Two LSTM cells with dropout begin from weights; their states are two tensors `(layers, batch, U)`."""

    def __init__(self):
        super().__init__()
        self.cells, self.drop = nn.ModuleList([nn.LSTMCell(E, U), nn.LSTMCell(U, U)]), nn.Dropout(0.5)
        self.begin = nn.Parameter(torch.randn(2, 2, 1, U))

    def start(self, x):
        return tuple(self.begin.expand(2, 2, len(x), U))

    def token(self, x, state):
        after = []
        for cell, h, c in zip(self.cells, *state, strict=True):
            after.append(cell(self.drop(x), (h, c)))
            x = after[-1][0]
        return x, tuple(torch.stack(part) for part in zip(*after, strict=True))


@right()
def learned_beginning_and_dropout():
    return opened(Learned)


class Halting(ByToken):
    """A GRU cell reads each token up to three times; its state is the mean of the steps by their halting weights."""

    def __init__(self):
        super().__init__()
        self.cell, self.halt = nn.GRUCell(E, U), nn.Linear(U, 1)

    def start(self, x):
        return zeros(x)

    def token(self, x, state):
        left, mean = torch.ones(len(x), 1), torch.zeros_like(state)
        for number in range(3):
            state = self.cell(x, state)
            weight = left if number == 2 else torch.minimum(torch.sigmoid(self.halt(state)), left)
            mean, left = mean + weight * state, left - weight
        return mean, mean


@right()
def adaptive_number_of_steps():
    return opened(Halting)


class Coarse(ByToken):
    """The state is rounded to bfloat16 after every token."""

    def __init__(self):
        super().__init__()
        self.cell = nn.GRUCell(E, U)

    def start(self, x):
        return zeros(x).bfloat16()

    def token(self, x, state):
        state = self.cell(x, state.float()).bfloat16()
        return state.float(), state


@right()
def state_in_bfloat16():
    return opened(Coarse)
