"""Readings of a text by a model of transformers that changes its cache in place, as `generate` lets it do.

A reading is the text, its calls, and what is done with the cache before a call. One of `lengths` (3, 2, 1), with two
changes of the cache before the second call, which happen in the order in which they are listed:

```text
call 0            Change(call=1, command=KeepCopy.SAVE)           call 1     call 2
ids 0 1 2   →     Change(call=1, command=CacheMethod("reset"))  → ids 3 4  → ids 5
```

Its logits are those of all calls one after the other: `(rows, 6, V)`.
"""

import copy
import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rnneval.errors import failure_of
from rnneval.models.torch.causal import CachedStep
from rnneval.wiring.behaviour import COLUMNS
from rnneval.wiring.difference import Logits, as_logits
from rnneval.wiring.torch.fresh import awakened

Rows = tuple[tuple[int, ...], ...]


class KeepCopy(Enum):
    """Commands about a copy of the cache that the reading itself keeps."""

    SAVE = auto()  # keep a copy of the cache
    RESTORE = auto()  # go on with this copy


@dataclass(frozen=True)
class CacheMethod:
    """Command to call a method of the cache."""

    name: str
    argument: tuple[int, ...] | int | None = None  # rows or a number of tokens; None for a method that takes none


@dataclass(frozen=True, kw_only=True)
class Change:
    """Command that is carried out on the cache before a call."""

    call: int
    command: KeepCopy | CacheMethod


@dataclass(frozen=True, kw_only=True)
class Reading:
    """A text and how it is read: `(rows, tokens)`, cut into calls."""

    ids: Rows
    lengths: tuple[int, ...] = ()  # numbers of tokens of the calls; none for one call without a cache
    mask: Rows | None = None  # the attention mask; each call is given that of all tokens so far
    positions: Rows | None = None  # the position of each token, if it is not the number of unmasked tokens before it
    numbered: bool = True  # whether the model is given the positions, if it takes them
    packed: bool = False
    """Whether the model is told the documents of a row, which begin where the position is 0, in other ways too."""
    changes: tuple[Change, ...] = ()  # those before one call are made in this order

    @property
    def tokens(self) -> int:
        """The number of tokens of a row."""
        return len(self.ids[0])

    @property
    def calls(self) -> list[tuple[int, int]]:
        """The first token of each call and the one after its last."""
        return [*pairwise([0, *np.cumsum(self.lengths or (self.tokens,)).tolist()])]

    def commands(self, call: int) -> list[KeepCopy | CacheMethod]:
        """Return what is done with the cache before a call, in order."""
        return [change.command for change in self.changes if change.call == call]

    def numbers(self) -> NDArray[np.int64]:
        """Return the position of each token, `(rows, tokens)`, as `generate` numbers them."""
        if self.positions is not None:
            return np.array(self.positions)
        numbers: NDArray[np.int64] = np.array(self.mask or np.ones_like(self.ids)).cumsum(axis=1) - 1
        return np.maximum(numbers, 0)

    def __str__(self) -> str:
        masked = " with a mask" * (self.mask is not None)
        if not self.lengths:
            return f"{self.tokens} tokens without a cache{masked}"
        return f"calls of {', '.join(map(str, self.lengths))} tokens{' for two rows' * (len(self.ids) > 1)}{masked}"


class RefusedError(Exception):
    """A model raised an error in a reading, or its logits are of no use."""


class ShapeError(RefusedError):
    """A model returned logits of another shape than that of the ids."""


class CacheReader:
    """Reads texts with a copy of a model that has no parameter of zeros, in float64 where the model runs in it."""

    def __init__(self, step: CachedStep) -> None:
        """Copy the model of a step, and read a few tokens; a RefusedError if this fails in float32, too."""
        self._read: dict[Reading, Logits] = {}
        for dtype in (torch.float64, torch.float32):
            self.double = dtype == torch.float64
            self.step = CachedStep(awakened(step.module).to(dtype))
            try:
                self.step.find_held(np.ones((2, 3), np.int32))
                if np.isfinite(self.read(Reading(ids=((1, 1, 1),), lengths=(2, 1)))).all():
                    return
                refused = RefusedError("the logits are not finite")
            except RefusedError as error:
                refused = error
            except Exception as error:
                refused = RefusedError(failure_of(error))
        raise refused

    def takes(self, *names: str) -> bool:
        """Return whether the forward names one of these arguments."""
        return any(name in self.step.accepts for name in names)

    @property
    def swallows(self) -> bool:
        """True if the forward takes any keyword."""
        parameters = inspect.signature(self.step.module.forward).parameters.values()
        return any(parameter.kind == parameter.VAR_KEYWORD for parameter in parameters)

    def documents(self, reading: Reading) -> dict[str, Any]:
        """Return where the documents of a packed row begin, in all ways that the model takes: indices and bounds."""
        begins = torch.as_tensor(reading.numbers() == 0).int()
        bounds = torch.nn.functional.pad(begins[0].nonzero()[:, 0], (0, 1), value=reading.tokens).int()
        ways: dict[str, Any] = {"seq_idx": (begins.cumsum(1) - 1).int()}
        for side in "qk":
            ways |= {f"cu_seq_lens_{side}": bounds, f"max_length_{side}": int(bounds.diff().max())}
        return {name: value for name, value in ways.items() if self.swallows or self.takes(name)}

    def logits(self, reading: Reading) -> Logits:
        """Return the logits of a reading, `(rows, tokens, V)`; one that was made before is not made again."""
        if reading not in self._read:
            self._read[reading] = self.read(reading)
        return self._read[reading]

    def read(self, reading: Reading) -> Logits:
        """Read a text; a RefusedError if the model raises an error, a ShapeError for logits of another shape."""
        try:
            outputs = torch.cat([*self.calls(reading)], dim=1)
        except ShapeError:
            raise
        except Exception as error:
            raise RefusedError(failure_of(error)) from error
        (logits,) = as_logits([outputs.double().numpy(force=True)])
        return logits[..., :: -(-logits.shape[-1] // COLUMNS)]

    def calls(self, reading: Reading) -> Iterator[torch.Tensor]:
        """Make the calls of a reading, in which the model changes one cache in place; yield the logits of each."""
        cached = bool(reading.lengths)
        with self.step.evaluating(), self.step.holding():
            name = self.step.cache_name if cached else ""
            cache = self.step.first_cache(len(reading.ids)) if cached else None
            saved: Any = None
            for call, (first, end) in enumerate(reading.calls):
                for command in reading.commands(call):
                    match command:
                        case KeepCopy.SAVE:
                            saved = copy.deepcopy(cache)
                        case KeepCopy.RESTORE:
                            cache = saved
                        case CacheMethod(name=method, argument=argument):
                            rows = torch.tensor(argument) if isinstance(argument, tuple) else argument
                            getattr(cache, method)(*([] if argument is None else [rows]))
                arguments = self.arguments(reading, first, end)
                output = self.step.module(use_cache=cached, **({name: cache} if name else {}), **arguments)
                if name and (returned := getattr(output, name, None)) is not None:
                    cache = returned
                if output.logits.shape[:-1] != arguments["input_ids"].shape:
                    shape, wanted = tuple(output.logits.shape), tuple(arguments["input_ids"].shape)
                    raise ShapeError(f"logits of shape {shape} for ids of shape {wanted}")
                yield output.logits

    def arguments(self, reading: Reading, first: int, end: int) -> dict[str, Any]:
        """Return the arguments of a call over some tokens of a reading, other than its cache."""
        arrays = {"input_ids": np.array(reading.ids)[:, first:end]}
        if reading.mask is not None:
            arrays["attention_mask"] = np.array(reading.mask)[:, :end]
        numbers = reading.numbers()[:, first:end]
        if reading.numbered and (self.takes("position_ids") or reading.packed):
            arrays["position_ids"] = numbers
        # Older releases; models of the time of cache_params take positions in a first call for those of a later one.
        takes_places = reading.lengths and reading.numbered and self.takes("cache_position")
        if takes_places and (first or self.step.cache_name != "cache_params"):
            arrays["cache_position"] = numbers[0]
        tensors = {name: torch.as_tensor(array, device=self.step.device) for name, array in arrays.items()}
        return tensors | (self.documents(reading) if reading.packed else {})

    def moved(self, reading: Reading, draw: int) -> Logits:
        """Read with every weight moved by ± one unit in the last place of float32; put the weights back."""
        with self.step.weights_moved(draw, 2.0**-23):
            return self.read(reading)
