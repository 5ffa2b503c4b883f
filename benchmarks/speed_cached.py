"""Rows side by side against one row, for models of PyTorch, as ratios of tokens a second measured in one run.

    python benchmarks/speed_cached.py [--tokens 20000] [--repeats 3]

An LSTM of 4 layers of 256 units, and Mamba 2 of 4 layers of 256 with chunks of 256 tokens, both random: each text is
read as `rnneval.evaluate` reads it by itself, and in one row in calls of the same length, in turn. The median of the
ratios is printed, with the least and the largest.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
import transformers

import rnneval

LETTERS = "abcdefghijklmnopqrstuvwxyz "


class Lstm(torch.nn.Module):
    """A language model of stacked LSTM layers."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(len(LETTERS), 256)
        self.lstm = torch.nn.LSTM(256, 256, 4, batch_first=True)
        self.out = torch.nn.Linear(256, len(LETTERS))

    def forward(self, ids: torch.Tensor, state: object = None) -> tuple[torch.Tensor, object]:
        """Return logits and the state."""
        hidden, state = self.lstm(self.embedding(ids), state)
        return self.out(hidden), state


def mamba2() -> rnneval.models.step.StepLM:
    """Return a random Mamba 2."""
    config = transformers.Mamba2Config(
        vocab_size=len(LETTERS), hidden_size=256, num_hidden_layers=4, num_heads=8, head_dim=64, state_size=64,
        n_groups=1, chunk_size=256,
    )  # fmt: skip
    vocabulary = rnneval.Vocabulary.from_tokens(list(LETTERS))
    return rnneval.from_transformers(transformers.Mamba2ForCausalLM(config), vocabulary)


CASES: dict[str, Callable[[], rnneval.models.step.StepLM]] = {
    "LSTM 4 x 256": lambda: rnneval.from_torch(Lstm(), vocabulary=list(LETTERS)),
    "Mamba 2, 4 x 256": mamba2,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=20_000)
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    text = "".join(np.random.default_rng(0).choice(list(LETTERS), given.tokens))
    transformers.logging.set_verbosity_error()
    for name, make in CASES.items():
        torch.manual_seed(0)
        lm = make()

        def seconds(streams: int | str, lm: rnneval.models.step.StepLM = lm) -> float:
            began = time.perf_counter()
            rnneval.evaluate(lm, string=text, check=False, states=False, streams=streams)
            return time.perf_counter() - began

        ratios = []
        for _ in range(given.repeats):
            rows, one = seconds("auto"), seconds(1)
            ratios.append(one / rows)
            print(f"{name}: {given.tokens / rows:,.0f} tokens/s in rows, {given.tokens / one:,.0f} in one", flush=True)
        print(f"{name}: {statistics.median(ratios):.2f} times ({min(ratios):.2f} to {max(ratios):.2f})", flush=True)


if __name__ == "__main__":
    main()
