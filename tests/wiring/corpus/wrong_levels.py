"""Wrong: several levels, delays and stores of a state, with a fault between two calls."""

import tensorflow as tf

from tests.wiring.corpus.case import wrong
from tests.wiring.corpus.parts import zeros
from tests.wiring.corpus.right_levels import Delayed, InVariables, Levels, LongDelay, SlowScan, Stores
from tests.wiring.corpus.right_rates import Hierarchy, Ring


@wrong("crossed-state", name="levels_rotated")
class Rotated(Levels):
    def handed_on(self, states):
        names = ["level0", "level1", "level2"]
        return states | dict(zip(names, (states[name] for name in [*names[1:], names[0]]), strict=True))


@wrong("swapped-slots", layer="levels[1]", name="one_level_hands_on_c_before_h")
class OneSwapped(Levels):
    def handed_on(self, states):
        return states | {"level1": states["level1"][::-1]}


@wrong("chunk-variance", name="levels_count_from_each_call")
class CountLost(Levels):
    def handed_on(self, states):
        return states | {"read": tf.zeros_like(states["read"])}


@wrong("dropped-state", layer="slow", name="slow_state_of_a_scan_begins_anew")
class ScanAnew(SlowScan):
    def __call__(self, ids, states=None):
        if states is not None:
            states = states[0], zeros(ids), states[1]
        logits, (fast, _, read) = super().__call__(ids, states)
        return logits, (fast, read)


@wrong(name="queue_of_a_cell_turned_around")
class Turned(Delayed):
    def handed_on(self, states):
        return states[::-1]


@wrong(name="queue_of_a_cell_begins_with_its_newest")
class NewestFirst(Delayed):
    def handed_on(self, states):
        return [states[-1], *states[:-1]]


@wrong(name="ring_begins_at_its_first_place")
class RingAtFirst(Ring):
    """The place of the oldest state is not carried: each call begins with the first of the ring."""

    def call(self, inputs, states=None, return_state=False):
        if states is not None:
            states = states[0], tf.constant(0)
        return super().call(inputs, states, return_state)


@wrong("stale-state", layer="words", name="words_are_one_call_behind")
class WordsBehind(Hierarchy):
    def call(self, inputs, states=None, return_state=False):
        logits, (h, c, word) = super().call(inputs, states, True)
        old = word if states is None else states[2]
        return (logits, (h, c, old)) if return_state else logits


@wrong(name="long_delay_lost_between_calls")
class LongDelayLost(LongDelay):
    """Only the newest of the upper layer's states is handed on: the rest of its queue begins at zero."""

    def call(self, inputs, states=None, return_state=False):
        if states is not None:
            h, newest = states
            states = h, [*[tf.zeros_like(h)] * 11, newest]
        logits, (h, past) = super().call(inputs, states, True)
        return (logits, (h, past[-1])) if return_state else logits


@wrong("chunk-variance", name="number_of_tokens_not_kept_in_its_variable")
class ReadForgotten(InVariables):
    def call(self, inputs):
        self.read.assign(0.0)
        return super().call(inputs)


@wrong("chunk-variance", layer="gru")
def state_stored_in_half_precision():
    return Stores()
