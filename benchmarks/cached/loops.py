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
from cached.tables import LIMIT

Pair = tuple[torch.Tensor, torch.Tensor]
NAMES = ("cache", "past_key_values", "cache_params", "state")
TOKENS, PADS, NEW = 24, 5, 8
"""Tokens of a text, three chunks; of padding; and new ones that generate() makes."""


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


def by_calls(cuts: Sequence[int], *, positions: bool | None = False) -> Callable[..., Pair]:
    """Compare a text in calls of these lengths with one call without a cache; positions None: where they are taken."""

    def loop(reader: Reader) -> Pair:
        ids = text(1, sum(cuts))
        read, _ = reader.read(ids, cuts, unplaced=positions is False)
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


def unplaced(cuts: Sequence[int]) -> Callable[[Reader], Pair]:
    """Compare calls of these lengths without position_ids with the same calls with them."""

    def loop(reader: Reader) -> Pair:
        if "position_ids" not in reader.accepts:
            raise NotImplementedError("takes no position_ids")
        ids = text(1, sum(cuts))
        return reader.read(ids, cuts, unplaced=True)[0], reader.read(ids, cuts)[0]

    return loop


def ones_in(cuts: Sequence[int]) -> Callable[[Reader], Pair]:
    """Compare calls of these lengths, with a mask of ones that grows, with the same calls without a mask."""

    def loop(reader: Reader) -> Pair:
        _needs_mask(reader)
        ids = text(1, sum(cuts))
        return reader.read(ids, cuts, mask=ones(ids))[0], reader.read(ids, cuts)[0]

    return loop


def rows(cuts: Sequence[int]) -> Callable[[Reader], Pair]:
    """Compare two rows in calls of these lengths with each row alone in the same calls."""

    def loop(reader: Reader) -> Pair:
        ids = text(2, sum(cuts))
        read, _ = reader.read(ids, cuts)
        return read, torch.cat([reader.read(row[None], cuts)[0] for row in ids])

    return loop


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


def left_padding(*, positions: bool = True) -> Callable[[Reader], Pair]:
    """Compare a row padded left, beside a longer one, with the row alone, in one call without a cache."""

    def loop(reader: Reader) -> Pair:
        _needs_mask(reader)
        ids = text(1, 24)
        wide, mask = padded(ids, left=True)
        given = of_mask(mask) if positions and "position_ids" in reader.accepts else None
        read = reader.whole(wide, attention_mask=mask, **({} if given is None else {"position_ids": given}))
        return read[:1, PADS:], reader.whole(ids)

    return loop


def right_padding(reader: Reader) -> Pair:
    """Compare the tokens of a row that is padded right with the row alone; its pads come after them."""
    _needs_mask(reader)
    ids = text(1, 24)
    wide, mask = padded(ids, left=False)
    return reader.whole(wide, attention_mask=mask)[:1, :-PADS], reader.whole(ids)


def _beside_pads(reader: Reader, cuts: Sequence[int], *, pads: str) -> Pair:
    """Compare a row that is padded, left or right, with itself in the same calls without pads, two rows each time.

    A padded row needs a mask that grows: where a mask of ones changes these calls, pads cannot be told from it.
    """
    _needs_mask(reader)
    ids = text(1, sum(cuts))
    plain = _without_pads(cuts, left=pads == "left")
    two = torch.cat([ids[:, : sum(plain)]] * 2)
    given = {} if "position_ids" not in reader.accepts else {"positions": steps(two)}
    masked, _ = reader.read(two, plain, mask=ones(two), **given)
    if not distance((masked, reader.read(two, plain, **given)[0])) <= LIMIT:
        raise NotImplementedError("a mask of ones changes these calls already")
    if pads == "left":
        wide, mask = padded(two[:1], left=True)
    else:
        begin, mask = padded(two[:1, : plain[0]], left=False)
        rest = torch.cat([two[:1, plain[0] :], text(1, sum(plain[1:]), seed=3)])
        wide, mask = torch.cat([begin, rest], dim=1), torch.cat([mask, ones(rest)], dim=1)
    if given:
        given = {"positions": of_mask(mask)}
    read, _ = reader.read(wide, cuts, mask=mask, **given)
    after = slice(PADS, None) if pads == "left" else slice(cuts[0], None)
    return read[:1, after], masked[:1, 0 if pads == "left" else plain[0] :]


def _without_pads(cuts: Sequence[int], *, left: bool) -> list[int]:
    """Return the lengths of calls without their pads, which stand in the first ones."""
    if not left:
        return [cuts[0] - PADS, *cuts[1:]]
    pads, plain = PADS, []
    for length in cuts:
        plain.append(max(length - pads, 0))
        pads -= min(length, pads)
    return [length for length in plain if length]


def beside_pads(cuts: Sequence[int], *, pads: str = "left") -> Callable[[Reader], Pair]:
    """Compare a row with pads with itself without them, in the same calls."""
    return lambda reader: _beside_pads(reader, cuts, pads=pads)


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
    """Compare a text read on from a copy of a cache, after other text was read, with the same calls without it."""
    ids, other = text(1, 24), text(1, 8, seed=5)
    _, cache = reader.read(ids[:, :12], [12])
    kept = copy.deepcopy(cache)
    _decode(reader, other, cache, 12)
    read = _decode(reader, ids[:, 12:], kept, 12)
    return read, reader.read(ids, [12] + [1] * 12)[0][:, 12:]


def reset(cuts: Sequence[int]) -> Callable[[Reader], Pair]:
    """Compare a text read from a cache that was reset with one read from a fresh cache, in the same calls."""

    def loop(reader: Reader) -> Pair:
        ids, other = text(1, sum(cuts)), text(1, 16, seed=6)
        straight, _ = reader.read(ids, cuts)
        _, cache = reader.read(other, [16])
        if not hasattr(cache, "reset"):
            raise NotImplementedError("its cache has no reset()")
        cache.reset()
        return reader.read(ids, cuts, cache=cache)[0], straight

    return loop


def exchanged(method: str) -> Callable[[Reader], Pair]:
    """Compare two rows, exchanged by a method of the cache and read on, with the rows exchanged from the start."""

    def loop(reader: Reader) -> Pair:
        ids = text(2, 24)
        _, cache = reader.read(ids[:, :12], [12])
        if not hasattr(cache, method):
            raise NotImplementedError(f"its cache has no {method}()")
        getattr(cache, method)(torch.tensor([1, 0]))
        order = ids[[1, 0]]
        seen = _decode(reader, order[:, 12:], cache, 12)
        _, straight = reader.read(order[:, :12], [12])
        return seen, _decode(reader, order[:, 12:], straight, 12)

    return loop


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


def _generated(reader: Reader, ids: torch.Tensor, mask: torch.Tensor, **options: Any) -> Any:
    """Return what generate() makes of these ids, with the logits that it chose from."""
    with torch.no_grad():
        return reader.model.generate(
            ids,
            attention_mask=mask,
            **{"max_new_tokens": NEW, "min_new_tokens": NEW, "do_sample": False, **options},
            pad_token_id=0,
            eos_token_id=None,
            return_dict_in_generate=True,
            output_logits=True,
        )


def _chosen_from(output: Any) -> torch.Tensor:
    """Return the logits `(rows, NEW, V)` that the new tokens were chosen from; beams change their rows."""
    beams = getattr(output, "beam_indices", None)
    logits = output.logits[:NEW]
    if beams is not None:
        logits = [each[beams[:, t]] for t, each in enumerate(logits)]
    return torch.stack(list(logits), dim=1)


def _without_cache(reader: Reader, texts: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return the logits of the last NEW tokens of each text, read alone in one call without a cache."""
    return torch.cat([reader.whole(each[None])[:, -NEW - 1 : -1] for each in texts])


def generates(*, prompt: int = 9, count: int = 1, pads: bool = False, **options: Any) -> Callable[[Reader], Pair]:
    """Compare the logits of generate() with those of the same text, each row alone, in one call without a cache."""

    def loop(reader: Reader) -> Pair:
        ids = text(count, prompt)
        mask = ones(ids)
        if pads:
            ids, mask = padded(ids[:1], left=True)
        output = _generated(reader, ids, mask, **options)
        begins = [int(row.argmax()) for row in mask.repeat_interleave(len(output.sequences) // len(mask), dim=0)]
        made = [row[begin:] for row, begin in zip(output.sequences, begins, strict=True)]
        return _chosen_from(output), _without_cache(reader, made)

    return loop


def generates_after_other(reader: Reader) -> Pair:
    """Compare the logits of generate() for a prompt of one token, after it went on with another text."""
    other = text(1, 9, seed=9)
    _generated(reader, other, ones(other))
    output = _generated(reader, text(1, 1), ones(text(1, 1)))
    return _chosen_from(output), _without_cache(reader, output.sequences)


def generates_on(*, whole: bool) -> Callable[[Reader], Pair]:
    """Compare the logits of generate() that goes on from a cache it returned, after new tokens of a user.

    It gets the whole text and its mask, or the tokens that the cache has not read and the mask of the whole text.
    """

    def loop(reader: Reader) -> Pair:
        ids = text(1, 9)
        first = _generated(reader, ids, ones(ids))
        if getattr(first, "cache", None) is None:
            raise NotImplementedError("generate returns no cache")
        read = first.sequences.shape[1] - 1  # the last token was not read
        ids = torch.cat([first.sequences, text(1, 6, seed=9)], dim=1)
        given = {reader.name: first.cache}
        output = _generated(reader, ids if whole else ids[:, read:], ones(ids), **given)
        made = output.sequences if whole else torch.cat([ids[:, :read], output.sequences], dim=1)
        return _chosen_from(output), _without_cache(reader, made)

    return loop


def generates_by_lookup(reader: Reader) -> Pair:
    """Compare the logits of generate() that drafts tokens from a prompt, which says everything twice."""
    ids = text(1, 9).repeat(1, 2)
    output = _generated(reader, ids, ones(ids), prompt_lookup_num_tokens=3)
    return _chosen_from(output), _without_cache(reader, output.sequences)


SINGLE, SEVERAL, AT_CHUNK = (9, *[1] * 9), (7, 5, 6, 2), (8, 8, 8)
LEFT_CALLS = (16, *[1] * 8)
"""Calls of which the first holds all pads."""
LOOPS: Mapping[str, Callable[[Reader], Pair]] = {
    # those that the rows of earlier releases name, and what they differ from
    "train": by_calls([84]),
    "single": by_calls(SINGLE),
    "single-from-start": by_calls([1] * 12),
    "several": by_calls(SEVERAL),
    "several-short": by_calls([2, 3, 3], positions=None),
    "several-chunks": by_calls([9, 20, 17]),
    "special-ids": special_ids,
    "prefill-unplaced": unplaced_prefill,
    "causal": future,
    "causal-second": future_second,
    "causal-whole": future_whole,
    "left-padding": left_padding(),
    "left-padding-no-positions": left_padding(positions=False),
    "right-padding": right_padding,
    "pads-in-second": pads_in_second,
    "generate": generate,
    # one thing changed alone: the lengths of the calls
    "calls-of-one": by_calls(SINGLE, positions=None),
    "calls-of-one-from-start": by_calls([1] * 12, positions=None),
    "calls-of-one-long": by_calls([60, *[1] * 24], positions=None),
    "calls-of-several": by_calls(SEVERAL, positions=None),
    "calls-of-several-at-chunk": by_calls(AT_CHUNK, positions=None),
    "calls-of-several-chunks": by_calls([9, 20, 17], positions=None),
    "calls-of-several-long": by_calls([60, 8, 6, 10], positions=None),
    # position_ids, a mask of ones, a second row, pads
    "unplaced-one": unplaced(SINGLE),
    "unplaced-several": unplaced(SEVERAL),
    "ones-one": ones_in(SINGLE),
    "ones-several": ones_in(SEVERAL),
    "rows-one": rows(LEFT_CALLS),
    "rows-several": rows(AT_CHUNK),
    "pads-left-one": beside_pads(LEFT_CALLS),
    "pads-left-several": beside_pads(AT_CHUNK),
    "pads-left-in-second": beside_pads([3, 10, 8, 8]),
    "pads-right-then-one": beside_pads([17, *[1] * 12], pads="right"),
    # what is done to a cache
    "restore": restore,
    "reset": reset(LEFT_CALLS),
    "reset-from-start": reset([1] * 12),
    "reorder": exchanged("reorder_cache"),
    "select": exchanged("batch_select_indices"),
    "crop": crop(recorded=False),
    "crop-recorded": crop(recorded=True),
    # two texts in a row
    "packed-positions": packed(),
    "packed-seq-idx": packed(seq_idx=True),
    "packed-cu-seq-lens": packed(cu_seq_lens=True),
    # calls of generate()
    "generate-one-row": generates(),
    "generate-prompt-of-one": generates_after_other,
    "generate-two-rows": generates(count=2),
    "generate-padded": generates(pads=True),
    "generate-beams": generates(num_beams=3, num_return_sequences=3),
    "generate-on-whole": generates_on(whole=True),
    "generate-on-rest": generates_on(whole=False),
    "generate-prefill": generates(prompt=20, prefill_chunk_size=8),
    "generate-lookup": generates_by_lookup,
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
