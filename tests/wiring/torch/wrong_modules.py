"""Wrong models of PyTorch, close to right ones, each with the module at fault where one can be named.

The truth of each is its docstring: it says what is wrong. It was written before the model was run.
"""

import torch
from torch import nn
from torch.nn import functional

from tests.wiring.corpus.case import E, U, wrong
from tests.wiring.torch.right_modules import (
    Base,
    ByToken,
    Clocked,
    Depth,
    Dilated,
    Mixed,
    Scan,
    TwoRates,
    Words,
    opened,
    zeros,
)
from tests.wiring.torch.right_stacks import (
    Blocks,
    CellState,
    Feedback,
    Hyper,
    Objects,
    Pairs,
    Ring,
    Sliced,
)

# Parts of a state exchanged


class Careless(Mixed):
    """The cell returns c before h, and the caller hands the state of a call on as it is."""

    def run(self, x, state):
        y, state = super().run(x, state)
        return y, state[::-1]


@wrong("swapped-slots", layer="cell")
def h_and_c_exchanged_between_calls():
    return opened(Careless, takes="h, c", gives="(h, c)")


@wrong("swapped-slots", layer="cell")
def h_and_c_exchanged_between_calls_of_a_cell_that_returns_c_first():
    return opened(Careless, takes="(h, c)", gives="c, h")


class AtEveryToken(ByToken):
    """The LSTM cell of PyTorch is given c as h and h as c, at every token."""

    def __init__(self):
        super().__init__()
        self.cell = nn.LSTMCell(E, U)

    def start(self, x):
        return zeros(x), zeros(x)

    def token(self, x, state):
        h, c = self.cell(x, state)
        return h, (c, h)


@wrong("swapped-slots", layer="cell")
def h_and_c_exchanged_at_every_token():
    return opened(AtEveryToken)


class Whole(Base):
    """A module over the whole text with a loop inside: it returns (c, h), and takes them for (h, c)."""

    def __init__(self):
        super().__init__()
        self.layer = _Loop()

    def run(self, x, state):
        return self.layer(x, state)


class _Loop(nn.Module):
    def __init__(self):
        super().__init__()
        self.weights = nn.Parameter(torch.randn(E + U, 4 * U) / 4)

    def forward(self, x, state=None):
        h, c = state or (zeros(x), zeros(x))
        outputs = []
        for token in x.unbind(1):
            i, f, g, o = (torch.cat([token, h], dim=-1) @ self.weights).chunk(4, dim=-1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
            outputs.append(h)
        return torch.stack(outputs, dim=1), (c, h)


@wrong(layer="layer")
def module_that_exchanges_its_own_parts():
    return opened(Whole)


class Inside(Base):
    """Two layers inside of one module by hand; their states come back in the other order."""

    def __init__(self):
        super().__init__(embedding=U)
        self.stack = _Stack()

    def run(self, x, state):
        return self.stack(x, state)


class _Stack(nn.Module):
    def __init__(self):
        super().__init__()
        self.weights = nn.Parameter(torch.randn(2, 2 * U, U) / 3)

    def forward(self, x, state=None):
        states = [zeros(x), zeros(x)] if state is None else list(state)
        outputs = []
        for token in x.unbind(1):
            for layer, below in ((0, token), (1, None)):
                given = states[0] if below is None else below
                states[layer] = torch.tanh(torch.cat([given, states[layer]], dim=-1) @ self.weights[layer])
            outputs.append(states[1])
        return torch.stack(outputs, dim=1), states[::-1]


@wrong(layer="stack")
def layers_exchanged_inside_one_module():
    return opened(Inside)


# Layers exchanged, with something that reads a state before its cell does


class Crossed(ByToken):
    """Two LSTM cells, each behind a norm of h; their states are exchanged after every call or token."""

    def __init__(self, when):
        super().__init__()
        self.low, self.high, self.when = nn.LSTMCell(E, U), nn.LSTMCell(U, U), when
        self.norms = nn.ModuleList(nn.LayerNorm(U) for _ in range(2))

    def start(self, x):
        return [(zeros(x), zeros(x)), (zeros(x), zeros(x))]

    def token(self, x, state):
        (h, c), (g, d) = state
        low = self.low(x, (self.norms[0](h), c))
        high = self.high(low[0], (self.norms[1](g), d))
        return high[0], [high, low] if self.when == "token" else [low, high]

    def run(self, x, state):
        y, state = super().run(x, state)
        return y, state[::-1] if self.when == "call" else state


@wrong("crossed-state")
def layers_exchanged_behind_norms():
    return opened(Crossed, when="call")


@wrong("crossed-state")
def layers_exchanged_behind_norms_at_every_token():
    return opened(Crossed, when="token")


class LastForAll(Base):
    """Each of three GRUs is given the state of the last one."""

    def __init__(self):
        super().__init__(E)
        self.layers = nn.ModuleList(nn.GRU(E, E, batch_first=True) for _ in range(3))

    def run(self, x, state):
        for number, layer in enumerate(self.layers):
            y, h = layer(x, None if state is None else state[number])
            x = x + y
        return x, [h] * 3


@wrong("crossed-state", layer="layers.0")
def last_state_for_all_layers():
    return opened(LastForAll)


# Slow layers


class Restarted(TwoRates):
    """The clock begins anew in every call."""

    def run(self, x, state):
        y, after = super().run(x, state and Clocked(state.fast, state.slow, torch.zeros_like(state.time)))
        return y, after


@wrong("chunk-variance")
def clock_that_begins_anew():
    return opened(Restarted)


class OfCalls(TwoRates):
    """The clock counts calls, and not tokens."""

    def run(self, x, state):
        y, after = super().run(x, state)
        before = torch.zeros_like(after.time) if state is None else state.time
        return y, Clocked(after.fast, after.slow, before + 1)


@wrong("chunk-variance")
def clock_that_counts_calls():
    return opened(OfCalls, how="if")


class SlowLost(TwoRates):
    """The slow cell begins anew in every call."""

    def run(self, x, state):
        y, after = super().run(x, state and Clocked(state.fast, torch.zeros_like(state.slow), state.time))
        return y, after


@wrong("ignored-state", layer="slow")
def slow_cell_that_begins_anew():
    return opened(SlowLost, how="mask", period=2)


class NeverMoves(ByToken):
    """The new state of the slow cell is forgotten: every token goes on from the first one."""

    def __init__(self):
        super().__init__(2 * U)
        self.fast, self.slow = nn.GRUCell(E, U), nn.GRUCell(U, U)

    def start(self, x):
        return zeros(x), zeros(x)

    def token(self, x, state):
        fast, slow = self.fast(x, state[0]), state[1]
        return torch.cat([fast, self.slow(fast, slow)], dim=-1), (fast, slow)


@wrong("stale-state", layer="slow")
def slow_cell_that_never_moves():
    return opened(NeverMoves)


class WordsCrossed(Words):
    """The states of letters and words are exchanged after every call."""

    def forward(self, ids, state=None):
        logits, state = super().forward(ids, state)
        return logits, state[::-1]


@wrong("crossed-state")
def words_and_letters_exchanged():
    return opened(WordsCrossed)


# Old states


class OneCallOld(Base):
    """The GRU goes on from the state before the last call."""

    def __init__(self):
        super().__init__()
        self.gru = nn.GRU(E, U, batch_first=True)

    def run(self, x, state):
        older, last = state or (torch.zeros(1, len(x), U), torch.zeros(1, len(x), U))
        y, new = self.gru(x, older)
        return y, (last, new)


@wrong("stale-state")
def gru_that_reads_the_state_before_the_last_one():
    return opened(OneCallOld)


class QueueByCall(Dilated):
    """The queue of a dilated cell moves back by one place at every call."""

    def run(self, x, state):
        y, queue = super().run(x, state)
        return y, [*queue[1:], queue[0]]


@wrong()
def queue_that_moves_at_every_call():
    return opened(QueueByCall)


# One module under several names


@wrong("shared-layer", layer="layers.0")
def one_gru_for_three_layers():
    return opened(Depth)


class OneCell(ByToken):
    """One LSTM cell stands for two layers, in a loop over the depth."""

    def __init__(self):
        super().__init__(E)
        self.cell = nn.LSTMCell(E, E)

    def start(self, x):
        return [(zeros(x, E), zeros(x, E)) for _ in range(2)]

    def token(self, x, states):
        after = []
        for state in states:
            after.append(self.cell(x, state))
            x = after[-1][0]
        return x, after


@wrong("shared-layer", layer="cell")
def one_cell_for_two_layers():
    return opened(OneCell)


class OneScan(Base):
    """One scan by hand stands for two layers, with a residual and a norm between them."""

    def __init__(self):
        super().__init__(embedding=U)
        self.blocks, self.norm = nn.ModuleList([Scan()] * 2), nn.LayerNorm(U)

    def run(self, x, state):
        after = []
        for block, before in zip(self.blocks, state or [None] * 2, strict=True):
            y, h = block(self.norm(x), before)
            x = x + y
            after.append(h)
        return x, after


@wrong("shared-layer", layer="blocks.0")
def one_scan_for_two_layers():
    return opened(OneScan)


# Places: a module of its own beside the recurrent layer


class Beside(Base):
    """A GRU, and before it a module that is at fault."""

    def __init__(self, part):
        super().__init__(embedding=U)
        self.part, self.gru = part(), nn.GRU(U, U, batch_first=True)

    def run(self, x, state):
        return self.gru(self.part(x), state)


class _BatchNorm(nn.Module):
    def forward(self, x):
        mean = x.mean(dim=0, keepdim=True)
        return x - mean


class _OverRows(nn.Module):
    """Attention along the rows: the axes are those of another layout."""

    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(U, 2)

    def forward(self, x):
        y, _ = self.attention(x, x, x, need_weights=False)
        return x + y


class _Centred(nn.Module):
    """A convolution that is padded on both sides."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(U, U, 3, padding=1)

    def forward(self, x):
        y = self.conv(x.transpose(1, 2)).transpose(1, 2)
        return functional.silu(y)


class _OverTime(nn.Module):
    """A norm over the whole call."""

    def forward(self, x):
        centred = x - x.mean(dim=1, keepdim=True)
        return centred / (centred.std(dim=(1, 2), keepdim=True) + 0.1)


class _Noisy(nn.Module):
    def forward(self, x):
        y = torch.tanh(x)
        return functional.dropout(y, 0.2, training=True)


@wrong("batch-leak", layer="part")
def norm_over_the_rows():
    return opened(Beside, part=_BatchNorm)


@wrong("batch-leak", layer="part.attention")
def attention_over_the_rows():
    return opened(Beside, part=_OverRows)


@wrong("future-leak", layer="part.conv")
def convolution_that_sees_the_next_token():
    return opened(Beside, part=_Centred)


@wrong("future-leak", layer="part")
def norm_over_the_call():
    return opened(Beside, part=_OverTime)


@wrong("always-random", layer="part")
def dropout_that_stays_on():
    return opened(Beside, part=_Noisy)


class Lengths(Base):
    """The upper GRU begins anew where a call is not as long as the one before."""

    def __init__(self):
        super().__init__()
        self.low, self.high = nn.GRU(E, U, batch_first=True), nn.GRU(U, U, batch_first=True)

    def run(self, x, state):
        low, high, length = state or (None, None, x.shape[1])
        y, low = self.low(x, low)
        y, high = self.high(y, high if length == x.shape[1] else None)
        return y, (low, high, x.shape[1])


@wrong("chunk-variance", layer="high")
def layer_that_begins_anew_where_lengths_change():
    return opened(Lengths)


class Counted(Base):
    """A GRU, and a clock that is added to what it reads; the count of tokens is lost between two calls."""

    def __init__(self):
        super().__init__(embedding=U)
        self.gru, self.places = nn.GRU(U, U, batch_first=True), nn.Embedding(256, U)

    def run(self, x, state):
        h, start = state or (None, torch.tensor([0]))
        x = x + self.places((start + torch.arange(x.shape[1])) % 256)
        y, h = self.gru(x, h)
        return y, (h, start)


@wrong("chunk-variance")
def count_of_tokens_that_is_lost():
    return opened(Counted)


# The same for cells that read each other's states


class HyperCrossed(Hyper):
    """The states of two cells of one size are exchanged after every call."""

    def __init__(self):
        super().__init__()
        self.hyper, self.scale = nn.LSTMCell(E + U, U), nn.Linear(U, E)

    def start(self, x):
        return {"hyper": (zeros(x), zeros(x)), "main": (zeros(x), zeros(x))}

    def run(self, x, state):
        y, state = super().run(x, state)
        return y, {"hyper": state["main"], "main": state["hyper"]}


@wrong("crossed-state")
def hyper_lstm_with_states_exchanged():
    return opened(HyperCrossed)


class FeedbackCrossed(Feedback):
    """The lower cell is given the upper state, and the upper cell the lower one, at every token."""

    def token(self, x, state):
        low, high = state
        low, high = self.low(x + self.back(high), high), self.high(x.new_zeros(len(x), U) + low, low)
        return high, (low, high)


@wrong("crossed-state")
def feedback_with_states_exchanged_at_every_token():
    return opened(FeedbackCrossed)


class OneForgotten(Hyper):
    """c of the large cell is made anew in every call."""

    def run(self, x, state):
        return super().run(x, state and {**state, "main": (state["main"][0], zeros(x))})


@wrong("ignored-state", layer="main")
def c_of_one_cell_forgotten():
    return opened(OneForgotten)


class FromTheFirst(Base):
    """Each token of a call starts from the state with which the call began."""

    def __init__(self):
        super().__init__()
        self.cell = nn.GRUCell(E, U)

    def run(self, x, state):
        h = zeros(x) if state is None else state
        outputs = [self.cell(token, h) for token in x.unbind(1)]
        return torch.stack(outputs, dim=1), outputs[-1]


@wrong("chunk-variance")
def every_token_starts_from_the_first_state():
    return opened(FromTheFirst)


# The same for clocks and queues


class RingLost(Ring):
    """The place in the ring is forgotten between two calls."""

    def run(self, x, state):
        y, (ring, _) = super().run(x, state)
        return y, (ring, 0)


@wrong("stale-state")
def place_in_a_ring_forgotten():
    return opened(RingLost)


class PairsCut(Pairs):
    """A pair of tokens is not finished in the next call."""

    def run(self, x, state):
        y, (low, high, waiting, _) = super().run(x, state)
        return y, (low, high, waiting, False)


@wrong("chunk-variance")
def pairs_that_end_with_a_call():
    return opened(PairsCut)


class SlicesTurned(Sliced):
    """The slices are joined in another order."""

    def run(self, x, state):
        y, state = super().run(x, state)
        return y, state.roll(1, dims=0)


@wrong("crossed-state")
def slices_in_another_order():
    return opened(SlicesTurned)


# More places


class _Plain(nn.Module):
    """A norm of PyTorch without running statistics."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(U, track_running_stats=False)

    def forward(self, x):
        return x + self.norm(x.transpose(1, 2)).transpose(1, 2)


class _Everywhere(nn.Module):
    """Attention without a mask."""

    def __init__(self):
        super().__init__()
        self.attention, self.norm = nn.MultiheadAttention(U, 2, batch_first=True), nn.LayerNorm(U)

    def forward(self, x):
        y = self.norm(x)
        y, _ = self.attention(y, y, y)
        return x + y


class _Softmax(nn.Module):
    """Weights of a mixture over the rows: dim=0 where -1 is meant."""

    def __init__(self):
        super().__init__()
        self.scores = nn.Linear(U, U)

    def forward(self, x):
        scores = self.scores(x)
        weights = scores.softmax(dim=0)
        return x * weights


class _Backwards(nn.Module):
    def __init__(self):
        super().__init__()
        self.both = nn.GRU(U, U // 2, batch_first=True, bidirectional=True)

    def forward(self, x):
        return self.both(x)[0]


class _Jitter(nn.Module):
    """Noise that does not ask whether the model trains."""

    def forward(self, x):
        return x + 0.05 * torch.randn_like(x)


@wrong("batch-leak", layer="part.norm")
def batch_norm_without_running_statistics():
    return opened(Beside, part=_Plain)


@wrong("future-leak", layer="part.attention")
def attention_without_a_mask():
    return opened(Beside, part=_Everywhere)


@wrong("batch-leak", layer="part")
def softmax_over_the_rows():
    return opened(Beside, part=_Softmax)


@wrong("future-leak", layer="part.both")
def gru_of_both_directions():
    return opened(Beside, part=_Backwards)


@wrong("always-random", layer="part")
def noise_that_stays_on():
    return opened(Beside, part=_Jitter)


# States that are handed on whole, or as objects


class BlocksMoved(Blocks):
    """Each block is given the state of the next one."""

    def run(self, x, state):
        y, state = super().run(x, state)
        return y, [*state[1:], state[0]]


@wrong("crossed-state", layer="blocks.0.rnn")
def blocks_that_are_given_all_states_in_another_order():
    return opened(BlocksMoved)


class ObjectsCrossed(Objects):
    """The objects of two cells are exchanged."""

    def run(self, x, state):
        y, state = super().run(x, state)
        return y, state[::-1]


@wrong("crossed-state", layer="low")
def states_that_are_objects_exchanged():
    return opened(ObjectsCrossed)


class ObjectsTurned(Objects):
    """h and c of the lower cell are exchanged in a new object."""

    def run(self, x, state):
        y, (low, high) = super().run(x, state)
        return y, [CellState(h=low.c, c=low.h), high]


@wrong("swapped-slots", layer="low")
def parts_of_an_object_exchanged():
    return opened(ObjectsTurned)
