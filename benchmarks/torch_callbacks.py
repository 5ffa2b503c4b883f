"""What GradientNorms of PyTorch adds to a training step: steps with and without it in turn, in pairs.

    PYTHONPATH=. python benchmarks/torch_callbacks.py --out torch_callbacks.json

In each round, one model takes so many steps without the callback and then as many with it, or the other way round; the
numbers are the median of the rounds' ratios of clock and of CPU seconds. The load of the machine is in the record: a
load of other work above 1 makes them worthless. All stands on the CPU.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import torch

import rnneval
from rnneval.callbacks.torch import GradientNorms

V, ROWS, TOKENS = 65, 64, 100


class Recurrent(torch.nn.Module):
    """Layers of PyTorch between an embedding and a projection."""

    def __init__(self, kind: type[torch.nn.RNNBase], units: int, layers: int) -> None:
        super().__init__()
        self.embedding, self.out = torch.nn.Embedding(V, units), torch.nn.Linear(units, V)
        self.rnn = kind(units, units, layers, batch_first=True)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Return logits `(rows, tokens, V)`."""
        logits: torch.Tensor = self.out(self.rnn(self.embedding(ids))[0])
        return logits


MODELS = {
    "LSTM 2×256": lambda: Recurrent(torch.nn.LSTM, 256, 2),
    "GRU 512": lambda: Recurrent(torch.nn.GRU, 512, 1),
    "GRU 1024": lambda: Recurrent(torch.nn.GRU, 1024, 1),
}


def seconds(model: torch.nn.Module, optimizer: torch.optim.Optimizer, steps: int, *, watched: bool) -> list[float]:
    """Return clock and CPU seconds of some steps; hooks are put on and taken off outside of them."""
    ids = torch.randint(0, V, (steps, ROWS, TOKENS + 1))
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        norms = stack.enter_context(GradientNorms(model, Path(folder, "g"))) if watched else None
        began = time.perf_counter(), time.process_time()
        for batch in ids:
            logits = model(batch[:, :-1])
            torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten()).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            if norms is not None:
                norms.step()
        return [time.perf_counter() - began[0], time.process_time() - began[1]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--steps", type=int, default=16)
    parser.add_argument("--models", nargs="*", default=list(MODELS))
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.manual_seed(0)
    load, measured = os.getloadavg()[0], {}
    for name in options.models:
        model = MODELS[name]()
        optimizer = torch.optim.Adam(model.parameters())
        seconds(model, optimizer, 2, watched=True)
        ratios, plain = [], []
        for k in range(options.rounds):
            timed = {each: seconds(model, optimizer, options.steps, watched=each) for each in (k % 2 == 0, k % 2 == 1)}
            ratios.append([with_it / without for with_it, without in zip(timed[True], timed[False], strict=True)])
            plain.append(timed[False][0] / options.steps)
        clock, cpu = (statistics.median(column) - 1 for column in zip(*ratios, strict=True))
        measured[name] = {"step_ms": 1e3 * statistics.median(plain), "added": clock, "added_cpu": cpu}
        print(f"{name:12} {measured[name]['step_ms']:8.1f} ms a step, {clock:+.1%} of the clock, {cpu:+.1%} of CPU")
    record = {
        "rnneval": rnneval.__version__,
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "load": load,
        "step": [ROWS, TOKENS],
        "models": measured,
    }
    if options.out is not None:
        options.out.write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
