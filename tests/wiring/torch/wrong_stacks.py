"""More wrong models of PyTorch: states in one tensor, clocks, and faults between two layers or two calls.

The truth of each is its docstring. It was written before the model was run.
"""

import torch
from torch import nn

from tests.wiring.corpus.case import OUTSIDE, E, U, wrong
from tests.wiring.torch.right_modules import Base, ByToken, opened, zeros
from tests.wiring.torch.right_stacks import DeltaRule, Exponential, InLogSpace, Recent, Rotates

# One tensor for several layers, slow counters, and what is drawn in some calls alone


class OneOfTwo(ByToken):
    """Two cells write their states into one dict; at the end of a call that of the upper one stands under both keys."""

    def __init__(self):
        super().__init__()
        self.low, self.high = nn.GRUCell(E, U), nn.GRUCell(U, U)

    def start(self, x):
        return {"low": zeros(x), "high": zeros(x)}

    def token(self, x, state):
        low = self.low(x, state["low"])
        high = self.high(low, state["high"])
        return high, {"low": low, "high": high}

    def run(self, x, state):
        y, state = super().run(x, state)
        return y, {**state, "low": state["high"]}


@wrong("crossed-state", layer="low")
def one_state_under_both_keys():
    return opened(OneOfTwo)


class PerCall(Base):
    """The upper GRU moves at every third token, which a counter counts; it counts calls."""

    def __init__(self):
        super().__init__()
        self.low, self.high = nn.GRUCell(E, U), nn.GRUCell(U, U)

    def run(self, x, state):
        low, high, count = state or (zeros(x), zeros(x), torch.tensor(0))
        outputs = []
        for token in x.unbind(1):
            low = self.low(token, low)
            high = self.high(low, high) if count % 3 == 2 else high
            outputs.append(low + high)
        return torch.stack(outputs, dim=1), (low, high, count + 1)


@wrong("chunk-variance")
def clock_of_calls_above_a_cell():
    return opened(PerCall)


class Shuffled(Base):
    """The rows of the state change places at random between two calls: every other time they stay."""

    def __init__(self):
        super().__init__()
        self.gru = nn.GRU(E, U, batch_first=True)

    def run(self, x, state):
        y, state = self.gru(x, state)
        return y, state[:, torch.randperm(len(x))]


@wrong("always-random")
def rows_that_change_places_at_random():
    return opened(Shuffled)


# Two layers, with a fault between them or between calls


class TwoLayers(Base):
    """Two GRUs; `between(x)` changes what the upper one reads, `after(low, high)` the states that are returned."""

    def __init__(self):
        super().__init__()
        self.low, self.high = nn.GRU(E, U, batch_first=True), nn.GRU(U, U, batch_first=True)

    def between(self, x):
        return x

    def after(self, low, high):
        return low, high

    def run(self, x, state):
        low, high = state or (None, None)
        x, low = self.low(x, low)
        y, high = self.high(self.between(x), high)
        return y, self.after(low, high)


class Centred(TwoLayers):
    """A convolution between the layers reads the next token, too."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(U, U, 3, padding=1)

    def between(self, x):
        return x + self.conv(x.transpose(1, 2)).transpose(1, 2)


class NoMean(TwoLayers):
    """The mean over the rows is taken away between the layers."""

    def between(self, x):
        return x - x.mean(dim=0, keepdim=True) / 2


class Reversed(TwoLayers):
    """The upper layer reads the segment from its end."""

    def between(self, x):
        return x.flip(1)


class Shrunk(TwoLayers):
    """The lower layer's state is a little smaller after each call."""

    def after(self, low, high):
        return 0.99 * low, high


class Rolled(TwoLayers):
    """The rows of the lower layer's state are shifted by one."""

    def after(self, low, high):
        return low.roll(1, 1), high


class Turned(TwoLayers):
    """The lower layer's units are returned in reverse order."""

    def after(self, low, high):
        return low.flip(2), high


class Doubled(TwoLayers):
    """The upper layer is given the sum of both states."""

    def after(self, low, high):
        return low, low + high


class Noised(TwoLayers):
    """Noise is added to the lower layer's state."""

    def after(self, low, high):
        return low.detach() + 0.1 * torch.randn_like(low), high


@wrong("future-leak", layer="conv")
def centred_convolution_between_layers():
    return opened(Centred)


@wrong("batch-leak", layer=OUTSIDE)
def mean_over_rows_between_layers():
    return opened(NoMean)


@wrong("future-leak")
def upper_layer_from_the_end():
    return opened(Reversed)


@wrong("chunk-variance", layer="low")
def state_that_shrinks_between_calls():
    return opened(Shrunk)


@wrong("batch-leak")
def rows_of_a_state_shifted():
    return opened(Rolled)


@wrong("chunk-variance", layer="low")
def units_of_a_state_in_reverse_order():
    return opened(Turned)


@wrong("chunk-variance", layer="high")
def sum_of_two_states():
    return opened(Doubled)


@wrong("always-random")
def noise_on_a_state():
    return opened(Noised)


class ShortCut(Recent):
    """The first of the inputs that are kept for the convolution is the one before the last, and so on."""

    kept = slice(-4, -1)


@wrong("stale-state")
def inputs_of_a_convolution_off_by_one():
    return opened(ShortCut)


class NoStabilizer(Exponential):
    """The exponent that numerator and denominator are divided by is not carried."""

    def run(self, x, state):
        y, (numerator, denominator, exponent) = super().run(x, state)
        return y, (numerator, denominator, torch.zeros_like(exponent))


@wrong("stale-state")
def exponent_that_is_lost():
    return opened(NoStabilizer)


class OldFast(DeltaRule):
    """The memory that is returned is the one that was given."""

    def run(self, x, state):
        y, after = super().run(x, state)
        return y, after if state is None else state


@wrong("chunk-variance")
def memory_of_the_delta_rule_is_not_renewed():
    return opened(OldFast)


class AlmostAll(InLogSpace):
    """A state that loses a ten-thousandth between calls, about as much as a long scan rounds."""

    def run(self, x, state):
        outputs, state = super().run(x, state)
        return outputs, state * (1 - 1e-4)


@wrong("chunk-variance")
def state_that_shrinks_by_as_much_as_a_scan_rounds():
    return opened(AlmostAll)


class Conjugate(Rotates):
    """The state that is returned turns the other way."""

    def run(self, x, state):
        y, state = super().run(x, state)
        return y, state.conj()


@wrong("chunk-variance")
def conjugate_of_a_state():
    return opened(Conjugate)
