"""A cached model whose calls are right by construction, and faults that can be planted into it."""

import copy
from typing import Any

import torch
from transformers import PretrainedConfig

WIDTH = 24


class TinyConfig(PretrainedConfig):
    model_type = "rnneval_tiny"

    def __init__(self, chunk_size: int = 8, **given: Any) -> None:
        super().__init__(**given)
        self.chunk_size, self.vocab_size, self.pad_token_id = chunk_size, WIDTH, 0


class TinyCache:
    """The state after each token, so that the last ones can be taken back."""

    is_croppable = True

    def __init__(self, fault: str) -> None:
        self.states: list[torch.Tensor] = []
        self.fault = fault

    def reset(self) -> None:
        if self.fault != "reset":
            self.states = []

    def crop(self, tokens: int) -> None:
        if self.fault != "crop":
            self.states = self.states[:tokens]

    def reorder_cache(self, rows: torch.Tensor) -> None:
        if self.fault != "reorder":
            self.states = [state[rows] for state in self.states]

    def __deepcopy__(self, _: Any) -> "TinyCache":
        made = copy.copy(self)
        made.states = self.states if self.fault == "shared" else list(self.states)
        return made


class Output(dict):  # type: ignore[type-arg]
    def __getattr__(self, name: str) -> Any:
        return self.get(name)


class Tiny(torch.nn.Module):
    """h ← tanh(A h + e(id) + p(position)); a masked token leaves h as it is, and a new document begins with zeros."""

    def __init__(self, fault: str = "") -> None:
        super().__init__()
        torch.manual_seed(0)
        self.config, self.fault = TinyConfig(), fault
        self.embed = torch.nn.Embedding(WIDTH, 8, padding_idx=0)
        self.places = torch.nn.Embedding(64, 8)
        self.recur, self.out = torch.nn.Linear(8, 8), torch.nn.Linear(8, WIDTH)

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        *,
        cache: TinyCache | None = None,
        use_cache: bool = False,
        seq_idx: torch.Tensor | None = None,
    ) -> Output:
        rows, time = input_ids.shape
        fault, past = self.fault, len(cache.states) if cache else 0
        cache = cache or TinyCache(fault)
        if position_ids is None:
            first = 0 if fault == "positions" else past
            position_ids = torch.arange(first, first + time).expand(rows, time)
        mask = torch.ones(rows, past + time) if attention_mask is None else attention_mask
        own = mask[:, :time] if fault == "mask of the past" else mask[:, past:]
        if fault == "mask":
            own = torch.ones(rows, time)
        if fault == "growing mask" and past and mask.shape[1] > time and attention_mask is not None:
            own = torch.zeros(rows, time)
        state = cache.states[-1] if past else torch.zeros(rows, 8, dtype=self.out.weight.dtype)
        if (fault == "several" and past and time > 1) or (fault == "special" and past and (input_ids[:, 0] == 0).any()):
            state = torch.zeros_like(state)
        if fault == "rows" and rows == 2 and time == 1 and past:
            state = state.flip(0)
        logits = []
        for t in range(time):
            if seq_idx is not None and t and fault != "packed":
                state = state * (seq_idx[:, t] == seq_idx[:, t - 1])[:, None]
            if fault == "chunk" and t == self.config.chunk_size:
                state = state * 0.9
            new = torch.tanh(self.recur(state) + self.embed(input_ids[:, t]) + self.places(position_ids[:, t]))
            state = torch.where(own[:, t, None] > 0, new, state)
            if fault == "train" and not use_cache:
                state = state * 0.99
            cache.states.append(state)
            logits.append(self.out(state))
        if fault == "shape" and rows == 2 and time == 1:
            logits *= 2
        return Output(logits=torch.stack(logits, dim=1), cache=cache if use_cache else None)
