"""Small models that speak every usual dialect of contract 1, with weights that are far from zero.

Each holds `embedding`, `recurrent` (a list) and `dense`, so that `oracle_of` finds its numbers whatever it is called
with; what a dialect changes is the signature of `call` and the container of the state alone.
"""

from collections import namedtuple
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tests.oracles import Stack, stack_of

WIDTH = 7

Flat = Sequence[Sequence[Any]]
"""One list of state tensors a layer."""


class Container(NamedTuple):
    """How a model packs its state, and unpacks it."""

    pack: Callable[[Flat], Any]
    unpack: Callable[[Any, Sequence[int]], Flat]
    """Given how many tensors each layer has."""


def dealt(flat: Sequence[Any], counts: Sequence[int]) -> Flat:
    """Deal tensors to layers, so many to each."""
    rest = iter(flat)
    return [[next(rest) for _ in range(count)] for count in counts]


def joined(state: Flat) -> list[Any]:
    return [part for parts in state for part in parts]


Pair = namedtuple("Pair", ["lower", "upper"])  # noqa: PYI024 - the plain one is what people write

CONTAINERS = {
    "tuple": Container(lambda s: tuple(joined(s)), dealt),
    "list": Container(joined, dealt),
    "dict": Container(
        lambda s: {f"part{k}": part for k, part in enumerate(joined(s))},
        lambda c, n: dealt([c[f"part{k}"] for k in range(len(c))], n),
    ),
    "dict of lists": Container(lambda s: {"b": s[0], "a": s[1]}, lambda c, _: [c["b"], c["a"]]),
    "named tuple": Container(
        lambda s: Pair(lower=tuple(s[0]), upper=tuple(s[1])), lambda c, _: [list(c.lower), list(c.upper)]
    ),
    "nested": Container(lambda s: [tuple(parts) for parts in s], lambda c, _: [list(parts) for parts in c]),
    "with None": Container(lambda s: {"cache": None, "states": tuple(joined(s))}, lambda c, n: dealt(c["states"], n)),
    "concatenated": Container(
        lambda s: tf.concat(joined(s), axis=-1), lambda c, n: dealt(tf.split(c, sum(n), axis=-1), n)
    ),
    "stacked": Container(lambda s: tf.stack(joined(s)), lambda c, n: dealt(tf.unstack(c), n)),
    "stacked, batch first": Container(
        lambda s: tf.stack(joined(s), axis=1), lambda c, n: dealt(tf.unstack(c, axis=1), n)
    ),
}  # the last three need layers of one width
SINGLE = Container(lambda s: s[0][0], lambda c, _: [[c]])
"""A tensor: one layer with one part."""


class Body(keras.Model):
    """Embedding, a stack of recurrent layers, dense; a dialect adds `call`."""

    def __init__(
        self,
        kind: str = "GRU",
        units: Sequence[int] = (4, 3),
        container: Container = CONTAINERS["tuple"],
        *,
        learned: bool = False,
        names: Sequence[str] = (),
        **options: Any,
    ) -> None:
        super().__init__()
        make = getattr(keras.layers, kind)
        named = [{"name": name} for name in names] or [{} for _ in units]
        self.embedding = keras.layers.Embedding(WIDTH, 5)
        self.recurrent = [
            make(u, return_sequences=True, return_state=True, **options, **name)
            for u, name in zip(units, named, strict=True)
        ]
        self.dense = keras.layers.Dense(WIDTH)
        self.container = container
        self.counts = [2 if kind == "LSTM" else 1] * len(units)
        self.learned = learned
        if learned:
            self.starts = [
                self.add_weight(shape=(u,), name=f"start{k}_{part}")
                for k, u in enumerate(units)
                for part in range(self.counts[k])
            ]

    def begin(self, ids: Any) -> Flat:
        rows = tf.shape(ids)[0]
        if self.learned:
            return dealt([tf.tile(start[None], [rows, 1]) for start in self.starts], self.counts)
        return [layer.get_initial_state(rows) for layer in self.recurrent]

    def body(self, ids: Any, state: Any) -> tuple[Any, Flat]:
        states = self.begin(ids) if state is None else self.container.unpack(state, self.counts)
        x, after = self.embedding(ids), []
        for layer, parts in zip(self.recurrent, states, strict=True):
            x, *new = layer(x, initial_state=list(parts))
            after.append(new)
        return self.dense(x), after

    def answer(self, ids: Any, state: Any, wanted: bool = True) -> Any:
        logits, after = self.body(ids, state)
        return (logits, self.container.pack(after)) if wanted else logits


def dialect(
    argument: str = "states", flag: str | None = "return_state", *, base: type = Body, training: bool = True
) -> type:
    """A class whose `call` has the signature asked for; without a flag the state is always returned."""
    names = argument.split(", ")
    options = [
        *(f"{name}=None" for name in names),
        *([f"{flag}=False"] if flag else []),
        *(["training=False"] * training),
    ]
    source = (
        f"def call(self, ids, {', '.join(options)}):\n"
        f"    return self.answer(ids, {names[0]}, {flag.split('=')[0] if flag else True})\n"
    )
    space: dict[str, Any] = {}
    exec(source, space)  # noqa: S102 - our own text: the names of arguments are what is tested
    return type("Spoken", (base,), {"call": space["call"]})


def settled(model: Any, seed: int = 0, scale: float = 0.6) -> Any:
    """Build a model, and give it weights (biases and learned starts too) like those of a trained one."""
    if not getattr(model, "built", False) or not model.weights:
        model(tf.ones((1, 1), tf.int32))
    rng = np.random.default_rng(seed)
    model.set_weights([rng.normal(0, scale, w.shape).astype("float32") for w in model.get_weights()])
    return model


def oracle_of(model: Any) -> Stack:
    return stack_of(model.embedding, model.recurrent, model.dense)


def start_of(model: Body) -> list[list[Any]]:
    """The start in float64, per layer: learned vectors, or zeros."""
    if model.learned:
        return [list(parts) for parts in dealt([s.numpy().astype(float) for s in model.starts], model.counts)]
    return oracle_of(model).start()


def sequential(kind: str = "GRU", units: Sequence[int] = (4, 3), *, head: Sequence[Any] = (), **options: Any) -> Any:
    """A Sequential of the same architecture: contract 4."""
    layers = [getattr(keras.layers, kind)(u, return_sequences=True, **options) for u in units]
    model = keras.Sequential([keras.layers.Embedding(WIDTH, 5), *layers, keras.layers.Dense(WIDTH), *head])
    model(tf.ones((1, 1), tf.int32))
    return settled(model)


def oracle_of_sequential(model: Any) -> Stack:
    recurrent = [layer for layer in model.layers if isinstance(layer, keras.layers.RNN)]
    embedding = next(layer for layer in model.layers if isinstance(layer, keras.layers.Embedding))
    dense = next(layer for layer in model.layers if isinstance(layer, keras.layers.Dense))
    return stack_of(embedding, recurrent, dense)
