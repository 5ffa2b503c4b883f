"""Making a model ready for the check: built, with its way of calling and its range of ids, and restorable."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from rnneval.errors import type_and_message
from rnneval.models.layers import is_recurrent, sublayers, walk_below
from rnneval.models.wiring.calling import Answer, TolerantAdapter, adapters_for, fixed_batch, recurrent_layers, reset_of
from rnneval.models.wiring.names import Names, names_below
from rnneval.models.wiring.oracles import Logits, Subject
from rnneval.models.wiring.snapshot import Snapshot

_HALF = {"float16": 2e-2, "bfloat16": 8e-2}
_SOURCE_TOKENS = 3  # a second text (an encoder's) has a length of its own, which tells the two apart


@dataclass(kw_only=True, eq=False)
class Ready:
    """A model that is built and can be called, and put back at any time."""

    model: Any
    call: TolerantAdapter
    snapshot: Snapshot
    names: Names
    cells: tuple[Any, ...]
    batch: int
    low: int
    high: int
    main: int
    """The index of the text that the model predicts, among the texts that it reads."""
    half: str = ""
    """The half precision in which the model computes, if it does."""
    trains: bool = False
    """Whether it can be called with training=True."""
    why_not_training: str = ""
    """The error that the model raises with training=True."""

    @property
    def text_names(self) -> list[str]:
        """The names of the texts: `ids` for the text that is predicted, `ids1` and so on for others."""
        others = iter(range(1, self.call.texts + 1))
        return ["ids" if at == self.main else f"ids{next(others)}" for at in range(self.call.texts)]

    def segment(self, ids: NDArray[np.int32]) -> list[NDArray[np.int32]]:
        """Return the texts of one call: the ids, and the same source for each of the others."""
        source = np.random.default_rng(7).integers(self.low, self.high, (self.batch, _SOURCE_TOKENS), dtype=np.int32)
        return [ids if at == self.main else source[: len(ids)] for at in range(self.call.texts)]

    def run(self, pieces: Sequence[NDArray[np.int32]], *, seeds: bool = False) -> Logits:
        """Read pieces one after the other from the model's own start, the state carried.

        With `seeds`, Keras' random generators are put back first: equal calls then draw the same numbers.
        """
        self.snapshot.restore(seeds=seeds)
        return self.read(pieces)

    def run_after(
        self, before: Sequence[NDArray[np.int32]], pieces: Sequence[NDArray[np.int32]], *, training: bool = False
    ) -> Logits:
        """Read one document, then another as the model's user would begin it; return the logits of the second."""
        self.leave_behind(before, training=training)
        return self.read(pieces)

    def leave_behind(self, document: Sequence[NDArray[np.int32]], *, training: bool = False) -> None:
        """Read a document, and begin a new one."""
        self.snapshot.restore(seeds=False)
        self._begin()
        (self.in_training if training else self).read(document)
        if training:
            self.snapshot.restore_variables(seeds=False)  # moving averages are learned, and no state of a document
        self._begin()

    def read(self, pieces: Sequence[NDArray[np.int32]]) -> Logits:
        """Read pieces one after the other, the state carried, from wherever the model is."""
        state, logits = None, []
        for ids in pieces:
            answer = self.call([tf.constant(text) for text in self.segment(ids)], state)
            state = answer.state
            logits.append(np.asarray(tf.cast(answer.logits, tf.float64)))
        return logits

    def _begin(self) -> None:
        """Begin a new document where that takes more than a call without a state."""
        reset = reset_of(self.model)
        if reset is not None:
            reset()
        elif any(layer.stateful for layer in recurrent_layers(self.model)):
            _reset(recurrent_layers(self.model))

    @property
    def begins_anew(self) -> bool:
        """True if a document can be begun: by a call without a state, by the model's own reset, or by Keras'."""
        stateful = any(layer.stateful for layer in recurrent_layers(self.model))
        return self.call.takes_states or stateful or reset_of(self.model) is not None

    @property
    def in_training(self) -> "Ready":
        """This model, called with training=True."""
        return replace(self, call=replace(self.call, training=True))

    @property
    def takes_one_row(self) -> bool:
        """True if it can be called with a batch of one row as well as with others."""
        return self.call.batch is None and fixed_batch(self.model) is None and self.batch > 1

    def subject(self, seed: int) -> Subject:
        """Return the model as the oracles see it."""
        return Subject(
            run=self.run,
            run_after=self.run_after if self.begins_anew else None,
            why_not_training=self.why_not_training,
            run_training=self.in_training.run if self.trains else None,
            batch=self.batch,
            single=self.takes_one_row,
            low=self.low,
            high=self.high,
            tolerance=_HALF.get(self.half, 1e-4),
            seed=seed,
        )


def make_ready(model: Any, vocab_size: int | None) -> Ready:
    """Find the way in which the model wants to be called, build it, and put it back.

    Raises:
        ValueError: no way of calling it works; the message is the first error.
    """
    before = Snapshot(model)
    fresh = [layer for _, layer in walk_below(model) if isinstance(layer, keras.layers.RNN) and not layer.built]
    errors: list[str] = []
    for call in adapters_for(model):
        try:
            ready = _warmed(model, call, vocab_size)
        except Exception as error:
            errors.append(type_and_message(error) + _symbols_left(model))
            before.restore()
            continue
        before.restore()
        _reset(fresh)
        ready.snapshot = Snapshot(model)
        _warm_training(ready)
        return ready
    raise ValueError(errors[0])


def _warm_training(ready: Ready) -> None:
    """Call it twice with training=True, which builds what only training uses, and put it back."""
    if not ready.call.takes_training:
        return
    ids = [np.ones((ready.batch, ready.call.time or _SOURCE_TOKENS), np.int32)] * 2
    try:
        ready.in_training.run(ids)
        ready.trains = True
    except Exception as error:  # the author's code may raise anything; the check says that it was not looked at
        ready.why_not_training = type_and_message(error)
    ready.snapshot.restore()
    ready.snapshot = Snapshot(ready.model)


def _warmed(model: Any, call: TolerantAdapter, vocab_size: int | None) -> Ready:
    """Call it twice without hooks: the first builds it, the second builds what only a given state needs."""
    batch = call.batch or 2
    known = vocab_size or _embedding_size(model)
    texts = [tf.ones((batch, _SOURCE_TOKENS - (at == 0)), tf.int32) for at in range(call.texts)]
    try:
        first = call(texts, None)
    except Exception:
        if call.texts == 1:
            raise
        texts.reverse()
        first = call(texts, None)
    second = call(texts, first.state)
    shape = tuple(second.logits.shape)
    size = known or (int(shape[-1]) if len(shape) > 1 else 3)
    names = names_below(model)
    low = 1 if size > 2 else 0
    return Ready(
        model=model,
        call=call,
        snapshot=Snapshot(model),
        names=names,
        cells=tuple(t for t in names.kept if is_recurrent(t) and not isinstance(t, keras.layers.RNN)),
        batch=fixed_batch(model) or batch,
        low=low,
        high=max(size, low + 1),
        main=_main_text(texts, second),
        half=_half(names, second),
    )


def _main_text(texts: Sequence[Any], answer: Answer) -> int:
    length = answer.logits.shape[1] if len(answer.logits.shape) == 3 else None
    return next((at for at, text in enumerate(texts) if text.shape[1] == length), 0)


def _half(names: Names, answer: Answer) -> str:
    types = {str(getattr(thing, "compute_dtype", "")) for thing in names.kept} | {answer.logits.dtype.name}
    return next((name for name in ("bfloat16", "float16") if name in types), "")


def _embedding_size(model: Any) -> int | None:
    layers = [layer for _, layer in walk_below(model)] + sublayers(model)
    sizes = [int(layer.input_dim) for layer in layers if isinstance(layer, keras.layers.Embedding)]
    return min(sizes, default=None)


def _reset(layers: Sequence[Any]) -> None:
    """Reset stateful layers, which hold the state of the call that built them."""
    for layer in layers:
        if layer.stateful and layer.states is not None:
            layer.reset_state()


def _symbols_left(model: Any) -> str:
    """Return an explanation if Keras' symbolic build left a tensor without a value in an attribute; else nothing."""
    for name, value in getattr(model, "__dict__", {}).items():
        leaves = keras.tree.flatten(value) if isinstance(value, (list, tuple, dict)) else [value]
        tensors = [leaf for leaf in leaves if isinstance(leaf, (keras.KerasTensor, tf.Tensor))]
        if any(isinstance(leaf, keras.KerasTensor) or tf.is_symbolic_tensor(leaf) for leaf in tensors):
            return (
                f" (attribute {name} holds a symbolic tensor: Keras runs call once without values to build the model, "
                "and call keeps its state there; keep it in a variable, or return it)"
            )
    return ""
