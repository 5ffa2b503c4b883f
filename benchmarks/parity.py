"""Candidates of known truth beside a trained reference: verdict, KL and both statistics.

    python benchmarks/parity.py tinyshakespeare.txt --out benchmarks/parity.json
    python benchmarks/parity.py --memory
    python benchmarks/parity.py --speed 100000

Models of PyTorch, transformers and Keras (--kinds LSTM GRU Mamba2 Rwkv "Keras GRU") train for one to three minutes.
The verdict that a candidate must get stands beside it. Without --out, nothing is written.
"""

import argparse
import copy
import json
import re
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

import rnneval
from rnneval.models.state import filled, leaves_of
from rnneval.parity import run

OF_TRANSFORMERS: dict[str, dict[str, Any]] = {
    "Mamba2": {"state_size": 8, "num_heads": 8, "head_dim": 16, "n_groups": 2, "chunk_size": 8},
    "Rwkv": {"intermediate_size": 128, "context_length": 1024, "rescale_every": 0},
}
Change = Callable[[dict[str, Any]], dict[str, Any]]
Candidate = tuple[str, Any, dict[str, Any], tuple[str, str | None]]
ROUNDING, STATE, EVEN, LIMIT = ("pass", None), ("fail", "state"), ("inconclusive", None), ("fail", None)


class Stacked(torch.nn.Module):
    """Embedding → two layers → logits."""

    def __init__(self, kind: str, width: int, units: int = 96) -> None:
        super().__init__()
        self.embedding, self.out = torch.nn.Embedding(width, 24), torch.nn.Linear(units, width)
        self.layers = getattr(torch.nn, kind)(24, units, 2, batch_first=True)

    def forward(self, ids: torch.Tensor, state: Any = None) -> tuple[torch.Tensor, Any]:
        """Return logits and the new state."""
        hidden, state = self.layers(self.embedding(ids), state)
        return self.out(hidden), state


def untrained(kind: str, width: int) -> torch.nn.Module:
    """Return a model of PyTorch, or one of transformers with two layers of 64 numbers a token."""
    if kind not in OF_TRANSFORMERS:
        return Stacked(kind, width)
    more = {"vocab_size": width, "hidden_size": 64, "num_hidden_layers": 2} | OF_TRANSFORMERS[kind]
    config = getattr(transformers, f"{kind}Config")(**more)
    return getattr(transformers, f"{kind}ForCausalLM")(config)  # type: ignore[no-any-return]


def trained(kind: str, text: str, vocabulary: list[str], seed: int) -> torch.nn.Module:
    """Train for 600 steps of 64 × 64 characters, or 300 of 32 × 64 of a model of transformers."""
    torch.manual_seed(seed)
    model, place = untrained(kind, len(vocabulary)), {token: id_ for id_, token in enumerate(vocabulary)}
    ids, optimizer = torch.tensor([place[c] for c in text]), torch.optim.Adam(model.parameters(), 5e-3)
    steps, count = (300, 32) if kind in OF_TRANSFORMERS else (600, 64)
    for _ in range(steps):
        rows = torch.stack([ids[at : at + 65] for at in torch.randint(0, len(ids) - 65, (count,)).tolist()])
        logits = model(rows[:, :-1])[0] if kind not in OF_TRANSFORMERS else model(rows[:, :-1], use_cache=False).logits
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.eval()


def opened(model: Any, vocabulary: list[str]) -> Any:
    """Return a model as rnneval reads it."""
    opens = rnneval.from_transformers if isinstance(model, transformers.PreTrainedModel) else rnneval.from_torch
    return opens(model, vocabulary=vocabulary)


def changed(model: torch.nn.Module, change: Callable[[Any], None]) -> torch.nn.Module:
    """Return a copy that was changed."""
    made = copy.deepcopy(model)
    with torch.no_grad():
        change(made)
    return made


def handing(model: Any, change: Change, vocabulary: list[str]) -> Any:
    """Return a step function whose calls are given a changed state."""
    lm = opened(model, vocabulary)

    def step(ids: Any, state: Any) -> Any:
        if state is not None:
            state = filled(state, iter(change(leaves_of(state)).values()))
        return lm.step(ids, state)

    return rnneval.from_step(step, vocabulary=vocabulary, batched=False)


def resetting(model: Any, every: int, vocabulary: list[str]) -> Any:
    """Return a step function that begins anew every so many tokens."""
    lm = opened(model, vocabulary)

    def step(ids: Any, state: Any) -> Any:
        count, inner = (0, None) if state is None else state
        pieces = []
        while ids.shape[1]:
            inner = None if count % every == 0 else inner
            logits, inner = lm.step(ids[:, : every - count % every], inner)
            pieces.append(np.asarray(logits))
            count, ids = count + pieces[-1].shape[1], ids[:, pieces[-1].shape[1] :]
        return np.concatenate(pieces, 1), (count, inner)

    return rnneval.from_step(step, vocabulary=vocabulary, batched=False, name=f"reset every {every}")


def where(part: str, change: Callable[[torch.Tensor], torch.Tensor]) -> Change:
    """Change the arrays of a state that have this in their path."""
    return lambda leaves: {
        path: change(leaf) if part in path and torch.is_tensor(leaf) and leaf.is_floating_point() else leaf
        for path, leaf in leaves.items()
    }


def crossed(leaves: dict[str, Any]) -> dict[str, Any]:
    """Exchange the states of two layers that have arrays of their own."""
    return {path: leaves[re.sub(r"layers\[(.)", lambda m: f"layers[{1 - int(m[1])}", path)] for path in leaves}


def lost(axis: int) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return an array without the part of the second layer, along this axis."""
    return lambda state: state.index_fill(axis, torch.tensor([1]), 0.0)


def states_of(kind: str) -> dict[str, Change]:
    """Return what is done to the states that a call is given; the first of them is to lose the second layer's."""
    first = "state of layer 2 not handed on"
    if kind == "Mamba2":
        conv = "layers[1].conv_states"
        return {
            first: where("layers[1]", torch.zeros_like),
            "conv state of layer 2 not handed on": where(conv, torch.zeros_like),
            "conv state of layer 2 a token late": where(conv, lambda s: s.roll(1, -1)),
            "layers crossed": crossed,
        }
    axis = -1 if kind == "Rwkv" else 0
    other = {
        "LSTM": ("c of layer 2 not handed on", where("[1]", lost(axis))),
        "GRU": ("state halved at each call", where("", lambda s: s * 0.5)),
        "Rwkv": ("token shift of layer 2 not handed on", where("cache[1]", lost(axis))),
    }
    return {
        first: where("", lost(axis)),
        other[kind][0]: other[kind][1],
        "layers crossed": where("", lambda s: s.flip(axis)),
    }


def swap_gates(model: Stacked) -> None:
    """Exchange the first two gates of the second layer, as i and f, or r and z."""
    for name, parameter in model.layers.named_parameters():
        if name.endswith("_l1"):
            first, second, *rest = parameter.chunk(parameter.shape[0] // model.layers.hidden_size)
            parameter.copy_(torch.cat([second, first, *rest]))


def noise(model: torch.nn.Module) -> None:
    """Move every weight by a thousandth."""
    for parameter in model.parameters():
        parameter.mul_(1 + 1e-3 * torch.randn_like(parameter))


def candidates(kind: str, model: Any, vocabulary: list[str]) -> Iterator[Candidate]:
    """Yield name, candidate, options, and the verdict and fault that it must get."""
    bf16 = copy.deepcopy(model).to(torch.bfloat16).float()
    int8 = copy.deepcopy(model)
    inner = getattr(model, "base_model_prefix", None)  # a head of transformers is asked for the type of its weights
    quantized = torch.ao.quantization.quantize_dynamic(getattr(int8, inner) if inner else int8, {torch.nn.Linear})
    int8 = changed(int8, lambda made: setattr(made, inner, quantized)) if inner else quantized
    half, states = where("", lambda s: s.half().float()), states_of(kind)
    yield "itself in calls of 37", model, {"cand_segment": 37}, ROUNDING
    if kind in OF_TRANSFORMERS:  # they keep states in float32 in whatever type
        yield "itself in calls of 256", model, {"cand_segment": 256}, ROUNDING
    else:
        yield "float64", model, {"cand_dtype": "float64"}, ROUNDING
    yield "weights in bfloat16", bf16, {}, EVEN
    yield "weights in bfloat16, --max-kl 0.01", bf16, {"max_kl": 0.01}, ROUNDING
    yield "float16 weights", copy.deepcopy(model).half().float(), {}, EVEN
    yield f"dynamic int8 of {'linear layers' if inner else 'the last layer'}", int8, {}, EVEN
    yield "weights ± 0.1 %", changed(model, noise), {}, EVEN
    if kind not in OF_TRANSFORMERS:
        yield "two gates exchanged", changed(model, swap_gates), {}, EVEN
    yield "state in float16", handing(model, half, vocabulary), {}, STATE
    yield "state in float16, --max-kl 1e-4", handing(model, half, vocabulary), {"max_kl": 1e-4}, ROUNDING
    for name, change in states.items():
        yield name, handing(model, change, vocabulary), {"max_kl": 0.1}, STATE
    first, change = next(iter(states.items()))
    yield f"bfloat16 + {first}", handing(bf16, change, vocabulary), {}, STATE
    yield "± 0.1 % + reset every 1,024", resetting(changed(model, noise), 1024, vocabulary), {}, STATE
    yield "reset every 64", model, {"cand_state": "reset"}, STATE
    yield "reset every 1,024", resetting(model, 1024, vocabulary), {}, STATE
    yield "reset every 8,192", resetting(model, 8192, vocabulary), {}, STATE


def rows_of(kind: str, seed: int, text: str, held_out: int) -> Iterator[dict[str, Any]]:
    """Train a reference, read each candidate, and yield the row of each; the floor is measured once."""
    vocabulary = sorted(set(text))
    make = keras_pair if kind.startswith("Keras ") else pair
    model, tried = make(kind, text[:-90_000], vocabulary, seed)
    floor: list[Any] = []
    read = run.floor_readings

    def once(*given: Any) -> list[Any]:
        floor[:] = floor or read(*given)
        return floor

    run.floor_readings = once
    for name, candidate, options, wanted in tried:
        began = time.perf_counter()
        made = rnneval.parity(model, candidate, string=text[-held_out:], vocabulary=vocabulary, check=False, **options)
        ratio = made.start_over_end
        yield {
            "model": kind, "seed": seed, "candidate": name, "verdict": made.verdict, "fault": made.fault,
            "right": (made.verdict, made.fault) == wanted, "kl": made.kl and made.kl.mean,
            "loss": made.loss and made.loss.value, "first": made.first_above,
            "ratio": ratio and [ratio.value, ratio.low, ratio.high], "limit": made.floor.limit,
            "nats": made.blocks and sum(made.blocks.sums["nats_ref"]) / made.tokens,
            "period": made.reset_period, "seconds": round(time.perf_counter() - began, 1),
        }  # fmt: skip
    run.floor_readings = read


def pair(kind: str, text: str, vocabulary: list[str], seed: int) -> tuple[Any, Iterator[Candidate]]:
    """Return a trained reference as rnneval reads it, and its candidates."""
    model = trained(kind, text, vocabulary, seed)
    return opened(model, vocabulary), candidates(kind, model, vocabulary)


def keras_pair(kind: str, text: str, vocabulary: list[str], seed: int) -> tuple[Any, Iterator[Candidate]]:
    """Train a GRU or LSTM by the hard_sigmoid of Keras 2 for 600 steps of 64 × 64; return it and that of Keras 3."""
    import keras

    keras.utils.set_random_seed(seed)

    def model(gate: Any) -> Any:
        ids = keras.Input((None,), dtype="int32")
        hidden = keras.layers.Embedding(len(vocabulary), 24)(ids)
        for _ in range(2):
            layer = getattr(keras.layers, kind.removeprefix("Keras "))
            hidden = layer(96, return_sequences=True, recurrent_activation=gate)(hidden)
        return keras.Model(ids, keras.layers.Dense(len(vocabulary))(hidden))

    of_keras_2 = model(lambda x: keras.ops.clip(0.2 * x + 0.5, 0.0, 1.0))
    of_keras_2.compile(keras.optimizers.Adam(5e-3), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    place = {token: id_ for id_, token in enumerate(vocabulary)}
    ids, draw = np.array([place[c] for c in text]), np.random.default_rng(seed)
    rows = ids[draw.integers(0, len(ids) - 65, (600 * 64, 1)) + np.arange(65)]
    of_keras_2.fit(rows[:, :-1], rows[:, 1:], batch_size=64, verbose=0)
    of_keras_3, sigmoid = model("hard_sigmoid"), model("sigmoid")
    for other in (of_keras_3, sigmoid):
        other.set_weights(of_keras_2.get_weights())
    name = "hard_sigmoid of Keras 3 for that of Keras 2"
    tried: list[Candidate] = [
        ("itself in calls of 37", of_keras_2, {"cand_segment": 37}, ROUNDING),
        (name, of_keras_3, {}, EVEN),
        (f"{name}, --max-kl 0.001", of_keras_3, {"max_kl": 1e-3}, LIMIT),
        ("sigmoid for hard_sigmoid of Keras 2", sigmoid, {}, EVEN),
    ]
    return of_keras_2, iter(tried)


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
    parser.add_argument("--held-out", type=int, default=45_000, metavar="CHARACTERS")
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
    lines = []
    for kind in arguments.kinds:
        for seed in arguments.seeds:
            for row in rows_of(kind, seed, text, arguments.held_out):
                lines.append(json.dumps(row))
                print(lines[-1], flush=True)
                if arguments.out:
                    arguments.out.write_text("[\n" + ",\n".join(lines) + "\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main()
