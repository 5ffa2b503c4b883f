"""Carries out readings with a model of transformers, as `generate` lets it change its cache."""

import copy
import inspect
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from rnneval.errors import failure_of
from rnneval.models.torch.causal import CachedStep
from rnneval.wiring.behaviour import COLUMNS
from rnneval.wiring.difference import Logits, as_logits
from rnneval.wiring.readings import CacheMethod, KeepCopy, Reading, TakeBack
from rnneval.wiring.torch.fresh import awakened


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
            cache: Any = self.step.first_cache(len(reading.ids)) if cached else None
            saved: Any = None
            for call, (first, end) in enumerate(reading.calls):
                for command in reading.commands(call):
                    match command:
                        case KeepCopy.SAVE:
                            saved = copy.deepcopy(cache)
                        case KeepCopy.RESTORE:
                            cache = saved
                        case TakeBack(tokens=tokens):
                            cache.crop(-tokens)
                        case CacheMethod(name=method, rows=rows):
                            getattr(cache, method)(*([] if rows is None else [torch.tensor(rows)]))
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
