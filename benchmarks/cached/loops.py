"""Loops that read the same ids in two ways, with PyTorch and transformers alone: what rnneval's check is compared with.

A loop returns two arrays of logits that should agree, and `distance` their largest difference. Nothing of rnneval is
imported here. The loops run in every release of transformers since 4.44: `Reader` knows how caches were passed.
"""

from __future__ import annotations

import copy
import inspect
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from cached.configurations import V

Pair = tuple[torch.Tensor, torch.Tensor]
NAMES = ("cache", "past_key_values", "cache_params", "state")
TOKENS, PADS = 24, 5
"""Tokens of a text, three chunks; and tokens of padding."""
LONG = (60, *[1] * 8, 6, 10)
"""Lengths of calls over more than the 64 tokens of a chunk that no configuration changes."""


class Reader:
    """Calls of one model, with a cache and without."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.accepts = inspect.signature(model.forward).parameters
        self.name = next((name for name in NAMES if name in self.accepts), "")  # RecurrentGemma until 5.3 had none

    def whole(self, ids: torch.Tensor, **given: Any) -> torch.Tensor:
        """Return the logits of one call without a cache."""
        with torch.no_grad():
            logits: torch.Tensor = self.model(ids, use_cache=False, **given).logits
        return logits

    def fresh(self, rows: int) -> Any:
        """Return an empty cache of the class that the model's own module defines; None where the model makes it."""
        module = sys.modules[type(self.model).__module__]
        own = [
            kind
            for name, kind in vars(module).items()
            if name.endswith("Cache") and inspect.isclass(kind) and kind.__module__ == module.__name__
        ]
        if own and self.name == "past_key_values":
            dtype = next(self.model.parameters()).dtype
            known = {"config": self.model.config, "dtype": dtype, "device": "cpu"}
            known |= {"batch_size": rows, "max_batch_size": rows}
            takes = inspect.signature(own[0].__init__).parameters
            return own[0](**{name: value for name, value in known.items() if name in takes})
        if type(self.model).__name__.startswith(("RecurrentGemma", "MiniMax")) and self.name:
            if own:
                return own[0]()
            if self._cache_is_object():
                return sys.modules["transformers"].DynamicCache(config=self.model.config)
        return None

    def _cache_is_object(self) -> bool:
        kinds = str(self.accepts[self.name].annotation)
        return "Cache" in kinds

    def call(self, ids: torch.Tensor, cache: Any, position: int, **given: Any) -> tuple[torch.Tensor, Any]:
        """Return the logits of one call with a cache, and the cache after it."""
        steps = torch.arange(position, position + ids.shape[1])
        if "cache_position" in self.accepts and (position or self.name != "cache_params"):
            given.setdefault("cache_position", steps)
        with torch.no_grad():
            output = self.model(ids, use_cache=True, **({self.name: cache} if self.name else {}), **given)
        returned = getattr(output, self.name or "cache", None)
        return output.logits, cache if returned is None else returned

    def read(
        self,
        ids: torch.Tensor,
        cuts: Sequence[int],
        *,
        cache: Any = None,
        start: int = 0,
        mask: torch.Tensor | None = None,
        positions: torch.Tensor | None = None,
        unplaced: bool = False,
    ) -> tuple[torch.Tensor, Any]:
        """Read ids `(rows, time)` in calls of these lengths; a mask grows with the text that it has seen.

        `mask` is `(rows, start + time)`, `positions` `(rows, time)`: both are cut as the ids are. Positions count from
        `start` where none are given and the model takes them, unless the ids are `unplaced`.
        """
        if cache is None:
            cache = self.fresh(len(ids))
        if positions is None and not unplaced and "position_ids" in self.accepts:
            positions = steps(ids, start)
        logits, done = [], 0
        for length in cuts:
            given: dict[str, Any] = {}
            if mask is not None:
                given["attention_mask"] = mask[:, : start + done + length]
            if positions is not None:
                given["position_ids"] = positions[:, done : done + length]
            out, cache = self.call(ids[:, done : done + length], cache, start + done, **given)
            logits.append(out)
            done += length
        return torch.cat(logits, dim=1), cache


def distance(pair: Pair) -> float:
    """Return the largest difference of log-probabilities, relative to the interquartile range of the second array."""
    a, b = (logits.double().log_softmax(-1) for logits in pair)
    if a.shape != b.shape:
        return math.inf
    low, high = torch.quantile(b.flatten(), torch.tensor([0.25, 0.75], dtype=b.dtype))
    largest = (a - b).abs().max() / (high - low)
    return math.inf if torch.isnan(largest) else float(largest)


def text(rows: int = 1, tokens: int = TOKENS, *, seed: int = 0, low: int = 3) -> torch.Tensor:
    """Return random ids; those below `low` (padding, begin and end) are left out."""
    generator = torch.Generator().manual_seed(1000 + seed)
    return torch.randint(low, V, (rows, tokens), generator=generator)


def ones(ids: torch.Tensor) -> torch.Tensor:
    """Return a mask that shows everything."""
    return torch.ones_like(ids)


def steps(ids: torch.Tensor, start: int = 0) -> torch.Tensor:
    """Return the position of each id."""
    return torch.arange(start, start + ids.shape[1]).expand(len(ids), -1)


# Calls


def by_calls(
    cuts: Sequence[int], *, positions: bool | None = False, masked: bool = False, rows: int = 1
) -> Callable[..., Pair]:
    """Compare a text in calls of these lengths with one call without a cache; positions None: where they are taken."""

    def loop(reader: Reader) -> Pair:
        ids = text(rows, sum(cuts))
        if masked:
            _needs_mask(reader)
        if positions and "position_ids" not in reader.accepts:
            raise NotImplementedError("takes no position_ids")
        read, _ = reader.read(ids, cuts, mask=ones(ids) if masked else None, unplaced=positions is False)
        return read, reader.whole(ids)

    return loop


def special_ids(reader: Reader) -> Pair:
    """Compare one token a call with one call, over ids that stand for padding, begin and end, and the last one."""
    ids = text(1, 24)
    ids[0, [3, 7, 8, 13, 17, 20]] = torch.tensor([0, 1, 2, 0, V - 1, 1])
    read, _ = reader.read(ids, [16] + [1] * 8)
    return read, reader.whole(ids)


def future(reader: Reader) -> Pair:
    """Compare the first half of a call with a fresh cache for two texts that differ after it."""
    ids, other = text(1, 32), text(1, 32, seed=1)
    other[:, :16] = ids[:, :16]
    a, _ = reader.read(ids, [32])
    b, _ = reader.read(other, [32])
    return a[:, :16], b[:, :16]


def unplaced_prefill(reader: Reader) -> Pair:
    """Compare a first call with an empty cache, and no positions of any kind, with one without a cache."""
    ids = text(1, 24)
    given = {"cache_position": None} if "cache_position" in reader.accepts else {}
    return reader.call(ids, reader.fresh(1), 0, **given)[0], reader.whole(ids)


def future_second(reader: Reader) -> Pair:
    """Compare the first half of a second call for two texts that differ after it."""
    ids, other = text(1, 32), text(1, 32, seed=1)
    other[:, :20] = ids[:, :20]
    a, _ = reader.read(ids, [8, 24])
    b, _ = reader.read(other, [8, 24])
    return a[:, :20], b[:, :20]


def future_whole(reader: Reader) -> Pair:
    """Compare the first half of a call without a cache for two texts that differ after it."""
    ids, other = text(1, 32), text(1, 32, seed=1)
    other[:, :16] = ids[:, :16]
    return reader.whole(ids)[:, :16], reader.whole(other)[:, :16]


def batch(reader: Reader) -> Pair:
    """Compare two rows in one call with each row alone."""
    ids = text(2, 24)
    read, _ = reader.read(ids, [16] + [1] * 8)
    alone = [reader.read(row[None], [16] + [1] * 8)[0] for row in ids]
    return read, torch.cat(alone)


# Padding


def _needs_mask(reader: Reader) -> None:
    """Skip a loop where a mask is refused; a model that swallows it is given one, as generate gives it."""
    if not any(name == "attention_mask" or it.kind == it.VAR_KEYWORD for name, it in reader.accepts.items()):
        raise NotImplementedError("takes no attention_mask")


def padded(ids: torch.Tensor, *, left: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Return two rows, the first of them padded, and their mask."""
    two = torch.cat([ids, text(1, ids.shape[1] + PADS, seed=2)[:, : ids.shape[1]]])
    wide = torch.zeros(2, ids.shape[1] + PADS, dtype=torch.long)
    mask = torch.ones_like(wide)
    place = slice(PADS, None) if left else slice(0, -PADS)
    wide[0, place] = two[0]
    wide[1] = text(1, ids.shape[1] + PADS, seed=2)[0]
    mask[0] = 0
    mask[0, place] = 1
    return wide, mask


def of_mask(mask: torch.Tensor) -> torch.Tensor:
    """Return positions that count the tokens that a mask shows, as generate() makes them."""
    return (mask.cumsum(-1) - 1).clamp(min=0)


def left_padding(*, cached: bool = False, positions: bool = True) -> Callable[[Reader], Pair]:
    """Compare a row padded left, beside a longer one, with the row alone."""

    def loop(reader: Reader) -> Pair:
        _needs_mask(reader)
        ids = text(1, 24)
        wide, mask = padded(ids, left=True)
        given = of_mask(mask) if positions and "position_ids" in reader.accepts else None
        if cached:
            read, _ = reader.read(wide, [16] + [1] * (wide.shape[1] - 16), mask=mask, positions=given)
        else:
            read = reader.whole(wide, attention_mask=mask, **({} if given is None else {"position_ids": given}))
        return read[:1, PADS:], reader.whole(ids)

    return loop


def right_padding_then_on(reader: Reader) -> Pair:
    """Compare a row that was padded right in its first call, and then read on, with the row alone."""
    _needs_mask(reader)
    ids = text(1, 24)
    wide, mask = padded(ids[:, :12], left=False)
    rest = torch.cat([ids[:, 12:], text(1, 12, seed=3)])
    mask = torch.cat([mask, ones(rest)], dim=1)
    given = of_mask(mask) if "position_ids" in reader.accepts else None
    _, cache = reader.read(wide, [wide.shape[1]], mask=mask, positions=given)
    at = None if given is None else given[:, wide.shape[1] :]
    read, _ = reader.read(rest, [1] * 12, cache=cache, start=wide.shape[1], mask=mask, positions=at)
    return read[:1], reader.whole(ids)[:, 12:]


def right_padding(reader: Reader) -> Pair:
    """Compare the tokens of a row that is padded right with the row alone; its pads come after them."""
    _needs_mask(reader)
    ids = text(1, 24)
    wide, mask = padded(ids, left=False)
    return reader.whole(wide, attention_mask=mask)[:1, :-PADS], reader.whole(ids)


def pads_in_second(reader: Reader) -> Pair:
    """Compare a row whose pads on the left go on in its second call with the row alone."""
    _needs_mask(reader)
    ids = text(1, 24)
    wide, mask = padded(ids, left=True)
    given = of_mask(mask) if "position_ids" in reader.accepts else None
    read, _ = reader.read(wide, [3, 10, 8, 8], mask=mask, positions=given)
    return read[:1, PADS:], reader.whole(ids)


# Caches


def _decode(reader: Reader, ids: torch.Tensor, cache: Any, start: int) -> torch.Tensor:
    return reader.read(ids, [1] * ids.shape[1], cache=cache, start=start)[0]


def restore(reader: Reader) -> Pair:
    """Compare a text read on from a copy of a cache with the same after other text was read in between."""
    ids, other = text(1, 24), text(1, 8, seed=5)
    _, cache = reader.read(ids[:, :12], [12])
    kept = copy.deepcopy(cache)
    _decode(reader, other, cache, 12)
    return _decode(reader, ids[:, 12:], kept, 12), reader.whole(ids)[:, 12:]


def reset(reader: Reader) -> Pair:
    """Compare a text read from a cache that was reset with one read from a fresh cache, one token a call."""
    ids, other = text(1, 24), text(1, 16, seed=6)
    _, cache = reader.read(other, [16])
    if not hasattr(cache, "reset"):
        raise NotImplementedError("its cache has no reset()")
    cache.reset()
    return reader.read(ids, [16] + [1] * 8, cache=cache)[0], reader.read(ids, [16] + [1] * 8)[0]


def reorder(reader: Reader) -> Pair:
    """Compare two rows of a reordered cache, read on, with the rows exchanged from the start."""
    ids = text(2, 24)
    _, cache = reader.read(ids[:, :12], [12])
    if not hasattr(cache, "reorder_cache"):
        raise NotImplementedError("its cache has no reorder_cache()")
    cache.reorder_cache(torch.tensor([1, 0]))
    order = ids[[1, 0]]
    _, straight = reader.read(order[:, :12], [12])
    return _decode(reader, order[:, 12:], cache, 12), _decode(reader, order[:, 12:], straight, 12)


def crop(*, recorded: bool) -> Callable[[Reader], Pair]:
    """Compare a text read on from a cropped cache with one that never read them."""

    def loop(reader: Reader) -> Pair:
        ids, other = text(1, 24), text(1, 4, seed=7)
        _, cache = reader.read(ids[:, :12], [12])
        if not hasattr(cache, "activate_past_recording" if recorded else "crop"):
            raise NotImplementedError("its cache has no such method")
        if recorded:
            cache.activate_past_recording()
        _, cache = reader.read(other, [1] * 4, cache=cache, start=12)
        cache.crop(-4)
        _, straight = reader.read(ids[:, :12], [12])
        return _decode(reader, ids[:, 12:], cache, 12), _decode(reader, ids[:, 12:], straight, 12)

    return loop


def packed(**extra: bool) -> Callable[[Reader], Pair]:
    """Compare two texts in one row, told apart by position_ids (and seq_idx, or cu_seq_lens), with each alone."""

    def loop(reader: Reader) -> Pair:
        if "position_ids" not in reader.accepts:
            raise NotImplementedError("takes no position_ids")
        one, two = text(1, 12), text(1, 15, seed=8)
        given: dict[str, Any] = {"position_ids": torch.cat([steps(one), steps(two)], dim=1)}
        if "seq_idx" in extra:
            given["seq_idx"] = torch.tensor([[0] * 12 + [1] * 15], dtype=torch.int32)
        if "cu_seq_lens" in extra:
            ends = torch.tensor([0, 12, 27], dtype=torch.int32)
            given.update(cu_seq_lens_q=ends, cu_seq_lens_k=ends, max_length_q=15, max_length_k=15)
        read = reader.whole(torch.cat([one, two], dim=1), **given)
        return read[:, 12:], reader.whole(two)

    return loop


def generate(reader: Reader) -> Pair:
    """Compare twelve generated tokens with the likeliest ones of calls without a cache."""
    ids, new = text(1, 9), 12
    with torch.no_grad():
        made = reader.model.generate(
            ids,
            attention_mask=ones(ids),
            max_new_tokens=new,
            min_new_tokens=new,
            do_sample=False,
            pad_token_id=0,
            eos_token_id=None,
        )
    straight = ids
    for _ in range(new):
        straight = torch.cat([straight, reader.whole(straight)[:, -1:].argmax(-1)], dim=1)
    near = [-(torch.arange(V) - chosen[:, -new:, None]).abs().float() for chosen in (made, straight)]
    return near[0], near[1]


SINGLE, SEVERAL = (9, *[1] * 9), (7, 5, 6, 2)
LOOPS: Mapping[str, Callable[[Reader], Pair]] = {
    "train": by_calls([84]),
    "single": by_calls(SINGLE),
    "single-from-start": by_calls([1] * 12),
    "prompt-of-one": by_calls([1, 9, *[1] * 4]),
    "several": by_calls(SEVERAL),
    "several-short": by_calls([2, 3, 3], positions=None),
    "several-chunks": by_calls([9, 20, 17]),
    "several-at-chunk": by_calls([8, 8, 8]),
    "long": by_calls(LONG),
    "single-positions": by_calls(SINGLE, positions=True),
    "several-positions": by_calls(SEVERAL, positions=True),
    "single-mask": by_calls(SINGLE, masked=True),
    "several-mask": by_calls(SEVERAL, masked=True),
    "single-two-rows": by_calls(SINGLE, rows=2),
    "special-ids": special_ids,
    "prefill-unplaced": unplaced_prefill,
    "causal": future,
    "causal-second": future_second,
    "causal-whole": future_whole,
    "batch": batch,
    "left-padding": left_padding(),
    "left-padding-cached": left_padding(cached=True),
    "left-padding-no-positions": left_padding(positions=False),
    "right-padding": right_padding,
    "right-padding-then-on": right_padding_then_on,
    "pads-in-second": pads_in_second,
    "restore": restore,
    "reset": reset,
    "reorder": reorder,
    "crop": crop(recorded=False),
    "crop-recorded": crop(recorded=True),
    "packed-positions": packed(),
    "packed-seq-idx": packed(seq_idx=True),
    "packed-cu-seq-lens": packed(cu_seq_lens=True),
    "generate": generate,
}


def measure(model: Any, names: Sequence[str] = tuple(LOOPS)) -> dict[str, float | str]:
    """Return the size of each loop's difference, or why it did not run."""
    sizes: dict[str, float | str] = {}
    for name in names:
        try:
            sizes[name] = distance(LOOPS[name](Reader(model)))
        except NotImplementedError as reason:
            sizes[name] = f"not taken: {' '.join(str(reason).split())[:200]}"
        except Exception as error:
            sizes[name] = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    return sizes
