"""Time of traces of PyTorch models beside loops by hand over the same tokens, which take the same norms.

    python benchmarks/speed_trace.py [TOKENS]

Each loop calls the module itself, in one row and calls of as many tokens as the trace makes, scores every token, and
takes the norm of every array of the state at the end of each call. A ratio is the median of pairs of runs that
alternate: the trace's time over the loop's.
"""

import statistics
import sys
import time
from functools import partial

import numpy as np
import torch
import transformers

import rnneval

LETTERS = "abcdefghijklmnopqrstuvwxyz .,\n"
V = len(LETTERS)


class Lstm(torch.nn.Module):
    """Two layers of nn.LSTM."""

    def __init__(self):
        super().__init__()
        self.embed, self.out = torch.nn.Embedding(V, 64), torch.nn.Linear(128, V)
        self.lstm = torch.nn.LSTM(64, 128, num_layers=2, batch_first=True)

    def forward(self, ids, state=None):  # noqa: D102
        seen, state = self.lstm(self.embed(ids), state)
        return self.out(seen), state


class CellLoop(torch.nn.Module):
    """A GRU cell that is called token by token."""

    def __init__(self):
        super().__init__()
        self.embed, self.cell, self.out = torch.nn.Embedding(V, 64), torch.nn.GRUCell(64, 128), torch.nn.Linear(128, V)

    def forward(self, ids, state=None):  # noqa: D102
        h, seen = torch.zeros(len(ids), 128) if state is None else state, []
        for x in self.embed(ids).unbind(1):
            h = self.cell(x, h)
            seen.append(h)
        return self.out(torch.stack(seen, 1)), h


def mamba():
    shape = {"hidden_size": 32, "num_hidden_layers": 2, "state_size": 8}
    return transformers.MambaForCausalLM(transformers.MambaConfig(vocab_size=V, **shape)).eval()


def rwkv():
    return transformers.RwkvForCausalLM(
        transformers.RwkvConfig(vocab_size=V, hidden_size=32, num_hidden_layers=2)
    ).eval()


def step_of(module):
    """Return a plain step of ids and a state, and the tensors of a state whose norms are taken."""
    if isinstance(module, transformers.MambaForCausalLM):

        def step(ids, cache):
            out = module(ids, cache_params=cache, use_cache=True)
            return out.logits, out.cache_params

        def tensors(cache):
            return [each for layer in cache.layers for each in (layer.conv_states[0], layer.recurrent_states[0])]

        return step, tensors
    if isinstance(module, transformers.RwkvForCausalLM):

        def read(ids, state):
            out = module(ids, state=state, use_cache=True)
            return out.logits, out.state

        return read, lambda state: state
    return module, lambda state: state if isinstance(state, tuple) else (state,)


def by_hand(module, text, call):
    """Read a text in calls of so many tokens; return nats and the norms at the end of each call."""
    step, tensors = step_of(module)
    ids = torch.tensor([[LETTERS.index(letter) for letter in text]])
    state, nats, norms = None, [], []
    with torch.no_grad():
        for at in range(0, len(text) - 1, call):
            some = ids[:, at : min(at + call, len(text) - 1)]
            logits, state = step(some, state)
            targets = ids[0, at + 1 : at + 1 + some.shape[1]]
            nats.append(torch.nn.functional.cross_entropy(logits[0], targets, reduction="none").numpy())
            norms.append([float(each.norm()) for each in tensors(state)])
    return np.concatenate(nats), np.array(norms)


def seconds(work):
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def main(tokens=1_500, rounds=3):
    torch.set_num_threads(1)
    text = "".join(np.random.default_rng(0).choice(list(LETTERS[:26]), tokens))
    kinds = {
        "Mamba 2×32": lambda: rnneval.from_transformers(mamba(), vocabulary=list(LETTERS)),
        "RWKV 2×32": lambda: rnneval.from_transformers(rwkv(), vocabulary=list(LETTERS)),
        "nn.LSTM 2×128": lambda: rnneval.from_torch(Lstm(), vocabulary=list(LETTERS)),
        "GRU cell 128": lambda: rnneval.from_torch(CellLoop(), vocabulary=list(LETTERS)),
    }
    for name, make in kinds.items():
        torch.manual_seed(0)
        lm = make()
        module = lm.function.step.module
        ways = {
            "trace": (64, lambda lm=lm: rnneval.trace(lm, string=text, check=False)),
            "trace --every-token": (1, lambda lm=lm: rnneval.trace(lm, string=text, check=False, every_token=True)),
            "evaluate --segment 1": (1, lambda lm=lm: rnneval.evaluate(lm, string=text, check=False, segment=1)),
        }
        for way, (call, ours) in ways.items():
            pairs = [(seconds(ours), seconds(partial(by_hand, module, text, call))) for _ in range(rounds)]
            ratio = statistics.median(a / b for a, b in pairs)
            shown = ", ".join(f"{statistics.median(column):.2f} s" for column in zip(*pairs, strict=True))
            print(f"{name:15} {way:22} {ratio:5.2f}  ({shown} by hand in calls of {call})")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
