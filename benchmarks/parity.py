"""Candidates of known truth beside a trained PyTorch LSTM and GRU: verdict, KL and both statistics.

    python benchmarks/parity.py tinyshakespeare.txt --out benchmarks/parity.json
    python benchmarks/parity.py --memory
    python benchmarks/parity.py --speed 100000

Each model trains for a minute. The verdict that a candidate must get stands beside it. Without --out, nothing is
written.
"""

import argparse
import copy
import json
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

import rnneval

HELD_OUT = 45_000
ROUNDING, STATE, EVEN = ("pass", None), ("fail", "state"), ("inconclusive", None)


class Stacked(torch.nn.Module):
    """Embedding → two layers → logits; `handed` changes the state that a call is given."""

    def __init__(self, kind: str, width: int, units: int = 96) -> None:
        super().__init__()
        self.embedding, self.out = torch.nn.Embedding(width, 24), torch.nn.Linear(units, width)
        self.layers = getattr(torch.nn, kind)(24, units, 2, batch_first=True)
        self.handed: Callable[[Any], Any] = lambda state: state

    def forward(self, ids: torch.Tensor, state: Any = None) -> tuple[torch.Tensor, Any]:
        """Return logits and the new state."""
        hidden, state = self.layers(self.embedding(ids), state if state is None else self.handed(state))
        return self.out(hidden), state


def trained(kind: str, text: str, vocabulary: list[str], seed: int) -> Stacked:
    """Train for 600 steps of 64 × 64 characters."""
    torch.manual_seed(seed)
    model, place = Stacked(kind, len(vocabulary)), {token: id_ for id_, token in enumerate(vocabulary)}
    ids, optimizer = torch.tensor([place[c] for c in text]), torch.optim.Adam(model.parameters(), 5e-3)
    for _ in range(600):
        rows = torch.stack([ids[at : at + 65] for at in torch.randint(0, len(ids) - 65, (64,)).tolist()])
        logits, _ = model(rows[:, :-1])
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.eval()


def changed(model: Stacked, change: Callable[[Stacked], None]) -> Stacked:
    """Return a copy that was changed."""
    made = copy.deepcopy(model)
    with torch.no_grad():
        change(made)
    return made


def handing(model: Stacked, part: Callable[[torch.Tensor], torch.Tensor], only: int | None = None) -> Stacked:
    """Return a copy whose calls are given a changed state; of an LSTM's h and c, `only` one."""

    def handed(state: Any) -> Any:
        if not isinstance(state, tuple):
            return part(state)
        return tuple(part(each) if only in (None, place) else each for place, each in enumerate(state))

    made = copy.deepcopy(model)
    made.handed = handed
    return made


def resetting(model: Stacked, every: int, vocabulary: list[str]) -> Any:
    """Return a step function that begins anew every so many tokens."""

    def step(ids: Any, state: Any) -> Any:
        count, inner = (0, None) if state is None else state
        pieces, tokens = [], torch.as_tensor(ids, dtype=torch.long)
        with torch.no_grad():
            while tokens.shape[1]:
                inner = None if count % every == 0 else inner
                logits, inner = model(tokens[:, : every - count % every], inner)
                pieces.append(logits)
                count, tokens = count + logits.shape[1], tokens[:, logits.shape[1] :]
        return torch.cat(pieces, 1), (count, inner)

    return rnneval.from_step(step, vocabulary=vocabulary, batched=False, name=f"reset every {every}")


def lost(state: torch.Tensor) -> torch.Tensor:
    """Return the state without that of the second layer."""
    return state * torch.tensor([1.0, 0.0])[:, None, None]


def swap_gates(model: Stacked) -> None:
    """Exchange the first two gates of the second layer, as i and f, or r and z."""
    for name, parameter in model.layers.named_parameters():
        if name.endswith("_l1"):
            first, second, *rest = parameter.chunk(parameter.shape[0] // model.layers.hidden_size)
            parameter.copy_(torch.cat([second, first, *rest]))


def noise(model: Stacked) -> None:
    """Move every weight by a thousandth."""
    for parameter in model.parameters():
        parameter.mul_(1 + 1e-3 * torch.randn_like(parameter))


def candidates(model: Stacked, vocabulary: list[str]) -> Iterator[tuple[str, Any, dict[str, Any], tuple[Any, Any]]]:
    """Yield name, candidate, options, and the verdict and fault that it must get."""
    bf16 = copy.deepcopy(model).to(torch.bfloat16).float()
    int8 = torch.ao.quantization.quantize_dynamic(copy.deepcopy(model), {torch.nn.Linear}, torch.qint8)
    yield "itself in calls of 37", model, {"cand_segment": 37}, ROUNDING
    yield "float64", model, {"cand_dtype": "float64"}, ROUNDING
    yield "weights in bfloat16", bf16, {}, EVEN
    yield "weights in bfloat16, --max-kl 0.01", bf16, {"max_kl": 0.01}, ROUNDING
    yield "float16 weights", copy.deepcopy(model).half().float(), {}, EVEN
    yield "dynamic int8 of the last layer", int8, {}, EVEN
    yield "weights ± 0.1 %", changed(model, noise), {}, EVEN
    yield "two gates exchanged", changed(model, swap_gates), {}, EVEN
    yield "state in float16", handing(model, lambda s: s.half().float()), {}, STATE
    yield "state in float16, --max-kl 1e-4", handing(model, lambda s: s.half().float()), {"max_kl": 1e-4}, ROUNDING
    yield "state of layer 2 not handed on", handing(model, lost), {"max_kl": 0.1}, STATE
    yield (
        "c of layer 2 not handed on" if model.layers.mode == "LSTM" else "state halved at each call",
        handing(model, lost if model.layers.mode == "LSTM" else lambda s: s * 0.5, 1),
        {},
        STATE,
    )
    yield "layers crossed", handing(model, lambda s: s.flip(0)), {}, STATE
    yield "bfloat16 + state of layer 2 not handed on", handing(bf16, lost), {}, STATE
    yield "± 0.1 % + reset every 1,024", resetting(changed(model, noise), 1024, vocabulary), {}, STATE
    yield "reset every 64", model, {"cand_state": "reset"}, STATE
    yield "reset every 1,024", resetting(model, 1024, vocabulary), {}, STATE
    yield "reset every 8,192", resetting(model, 8192, vocabulary), {}, STATE


def table(second: float) -> Any:
    """Return a step function whose logits are numbers of a table, by the last two of eight ids."""
    numbers = np.random.default_rng(5).normal(size=(8, 8)).astype(np.float32)

    def step(ids: Any, state: Any) -> Any:
        return numbers[ids] + second * numbers[np.concatenate([state, ids[:, :-1]], axis=1)], ids[:, -1:]

    return rnneval.from_step(step, lambda rows: np.zeros((rows, 1), np.int32), vocabulary=[*"abcdefg "])


def memory() -> None:
    """Print the most that Python and NumPy hold at a time, and how it grows from 10⁵ to 10⁶ tokens."""
    peaks = []
    for tokens in (10_000, 100_000, 1_000_000):  # the first run imports what it needs
        text = "".join(np.random.default_rng(0).choice([*"abcdefg "], tokens))
        reference, candidate = table(0.5), table(0.51)
        tracemalloc.start()
        rnneval.parity(reference, candidate, string=text, ref_segment=256, check=False)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    grown = (peaks[2] - peaks[1]) / 900_000
    print(json.dumps({"peak_mb": [round(peak / 1e6, 1) for peak in peaks[1:]], "bytes_a_token": round(grown, 1)}))


def speed(tokens: int) -> None:
    """Print seconds of parity of two Keras GRUs of 256 units, and of evaluating both, in one row and calls of 64."""
    import keras

    letters = [*"abcdefghijklmnopqrstuvwxyz "]
    text = "".join(np.random.default_rng(0).choice(letters, tokens))
    models = []
    for seed in (1, 2):
        keras.utils.set_random_seed(seed)
        ids = keras.Input((None,), dtype="int32")
        hidden = keras.layers.GRU(256, return_sequences=True)(keras.layers.Embedding(len(letters), 64)(ids))
        models.append(keras.Model(ids, keras.layers.Dense(len(letters))(hidden)))

    def seconds(run: Callable[[], Any]) -> float:
        began = time.perf_counter()
        run()
        return round(time.perf_counter() - began, 1)

    def both() -> None:
        for model in models:
            rnneval.evaluate(model, string=text, vocabulary=letters, check=False, streams=1, segment=64)

    rnneval.evaluate(models[0], string=text[:2000], vocabulary=letters, check=False)  # imports
    alone, compared = (
        seconds(both),
        seconds(lambda: rnneval.parity(*models, string=text, vocabulary=letters, check=False)),
    )
    print(json.dumps({"tokens": tokens, "both": alone, "parity": compared, "ratio": round(compared / alone, 2)}))


def main() -> None:
    """Measure all, and print a line for each candidate."""
    parser = argparse.ArgumentParser()
    parser.add_argument("text", type=Path, nargs="?")
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--speed", type=int, metavar="TOKENS")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--kinds", nargs="+", default=["LSTM", "GRU"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    arguments = parser.parse_args()
    if arguments.memory:
        memory()
        return
    if arguments.speed:
        speed(arguments.speed)
        return
    if arguments.text is None:
        parser.error("give a text, --memory or --speed")
    torch.set_num_threads(1)
    text = arguments.text.read_text(encoding="utf-8")
    vocabulary, rows = sorted(set(text)), []
    for kind in arguments.kinds:
        for seed in arguments.seeds:
            model = trained(kind, text[: -2 * HELD_OUT], vocabulary, seed)
            for name, candidate, options, wanted in candidates(model, vocabulary):
                began = time.perf_counter()
                made = rnneval.parity(
                    model, candidate, string=text[-HELD_OUT:], vocabulary=vocabulary, check=False, **options
                )
                ratio = made.start_over_end
                row = {
                    "model": kind, "seed": seed, "candidate": name, "verdict": made.verdict, "fault": made.fault,
                    "right": (made.verdict, made.fault) == wanted, "kl": made.kl and made.kl.mean,
                    "loss": made.loss and made.loss.value, "first": made.first_above,
                    "ratio": ratio and [ratio.value, ratio.low, ratio.high], "limit": made.floor.limit,
                    "period": made.reset_period, "seconds": round(time.perf_counter() - began, 1),
                }  # fmt: skip
                rows.append(row)
                print(json.dumps(row), flush=True)
                if arguments.out:
                    arguments.out.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
