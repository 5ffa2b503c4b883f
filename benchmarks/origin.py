"""The question's stack and the answer's, trained alike on tinyshakespeare: what the usual numbers say, and what is so.

    PYTHONPATH=. RNNEVAL_DATA=FOLDER nice python benchmarks/origin.py

Writes benchmarks/origin.json and docs/_static/origin.svg, which docs/evidence/origin.md shows. Two GRU layers of 256
units, Adam at 0.002, segments of 100 tokens, the state begun anew for each as in the tutorial; the first
90 % of the text.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf

from tests.wiring.corpus.origin import AnswerModel, QuestionModel

HERE = Path(__file__).resolve().parent
SEGMENT, BATCH, UNITS, EMBEDDING = 100, 32, 256, 64
ROWS, PIECES = 32, 4  # held-out: 32 stretches of 4 segments
PROMPT, SHOWN = "ROMEO:", 300


def train(model: Any, ids: np.ndarray[Any, Any], steps: int, seed: int) -> list[float]:
    """Losses, nats a token, of every step."""
    optimizer = keras.optimizers.Adam(0.002, clipnorm=1.0)
    generator = np.random.default_rng(seed)
    model(tf.ones((2, 3), tf.int32))

    @tf.function
    def step(batch: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = nats(model(batch[:, :-1], training=True), batch[:, 1:])
        optimizer.apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)
        return loss

    losses = []
    for number in range(steps):
        starts = generator.integers(0, len(ids) - SEGMENT - 1, BATCH)
        losses.append(float(step(tf.constant(np.stack([ids[s : s + SEGMENT + 1] for s in starts])))))
        if number % 100 == 0:
            print(f"  step {number}: {losses[-1]:.3f}", flush=True)
    return losses


def nats(logits: Any, targets: Any) -> Any:
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(targets, tf.cast(logits, tf.float32))
    return tf.reduce_mean(losses)


def held_out(model: Any, ids: np.ndarray[Any, Any]) -> dict[str, float]:
    """The same tokens, read in three ways: nats a token of each."""
    length = SEGMENT * PIECES
    starts = np.linspace(0, len(ids) - length - 2, ROWS).astype(int)
    rows = tf.constant(np.stack([ids[s : s + length + 1] for s in starts]))
    return {
        "one call a segment, state begun anew": _read(model, rows, SEGMENT, carry=False),
        "segments, state carried": _read(model, rows, SEGMENT, carry=True),
        "token by token, state carried": _read(model, rows, 1, carry=True),
    }


def _read(model: Any, rows: Any, piece: int, *, carry: bool) -> float:
    first, more = _steps(model)
    losses, state = [], None
    for at in range(0, rows.shape[1] - 1, piece):
        inputs, targets = rows[:, at : at + piece], rows[:, at + 1 : at + piece + 1]
        logits, state = first(inputs) if state is None or not carry else more(inputs, state)
        losses.append(float(nats(logits, targets)))
    return float(np.mean(losses))


def _steps(model: Any) -> tuple[Callable[..., Any], Callable[..., Any]]:
    first = tf.function(lambda ids: model(ids, return_state=True), reduce_retracing=True)
    more = tf.function(lambda ids, state: model(ids, states=state, return_state=True), reduce_retracing=True)
    return first, more


def generate(model: Any, characters: list[str], seed: int) -> str:
    """Sampled text: the prompt in one call, as the tutorial does it, then token by token."""
    index = {character: i for i, character in enumerate(characters)}
    first, more = _steps(model)
    generator = np.random.default_rng(seed)
    logits, state = first(tf.constant([[index[character] for character in PROMPT]]))
    text = PROMPT
    for _ in range(SHOWN):
        scores = np.asarray(logits)[0, -1].astype(np.float64)
        weights = np.exp(scores - scores.max())
        chosen = int(generator.choice(len(characters), p=weights / weights.sum()))
        text += characters[chosen]
        logits, state = more(tf.constant([[chosen]]), state)
    return text


def draw(results: dict[str, Any], path: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
    for name, colour in (("answer", "#1b7837"), ("question", "#b2182b")):
        losses = np.asarray(results[name]["training_losses"])
        smooth = np.convolve(losses, np.ones(25) / 25, mode="valid")
        left.plot(np.arange(len(smooth)) + 25, smooth, color=colour, label=f"the {name}'s stack")
        values = list(results[name]["held_out_nats"].values())
        right.bar(np.arange(3) + (0.2 if name == "question" else -0.2), values, 0.38, color=colour)
    left.set(xlabel="training step", ylabel="training loss, nats a token (mean of 25)", ylim=(1.0, 3.5))
    left.legend(frameon=False)
    labels = ["one call\na segment", "segments,\ncarried", "token by token,\ncarried"]
    right.set(xticks=range(3), xticklabels=labels, ylabel="held-out loss, nats a token")
    right.axhline(np.log(results["vocabulary"]), color="grey", linestyle=":", linewidth=1)
    right.text(-0.4, np.log(results["vocabulary"]) + 0.05, "guessing", color="grey", fontsize=8)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", type=Path, default=os.environ.get("RNNEVAL_DATA"))
    parser.add_argument("--out", type=Path, default=HERE / "origin.json")
    parser.add_argument("--figure", type=Path, default=HERE.parent / "docs" / "_static" / "origin.svg")
    options = parser.parse_args()
    tf.config.threading.set_intra_op_parallelism_threads(2)
    text = (options.data / "tinyshakespeare.txt").read_text(encoding="utf-8")
    characters = sorted(set(text))
    index = {character: i for i, character in enumerate(characters)}
    ids = np.array([index[character] for character in text], np.int32)
    cut = int(0.9 * len(ids))
    results: dict[str, Any] = {"vocabulary": len(characters), "steps": options.steps, "seed": options.seed}
    layers = {"answer": (AnswerModel, (UNITS, UNITS)), "question": (QuestionModel, (UNITS,))}
    for name, (kind, units) in layers.items():
        print(name, flush=True)
        keras.utils.set_random_seed(options.seed)
        model = kind(len(characters), EMBEDDING, *units)
        began = time.perf_counter()
        losses = train(model, ids[:cut], options.steps, options.seed)
        results[name] = {
            "training_losses": [round(loss, 4) for loss in losses],
            "training_nats_last_100": float(np.mean(losses[-100:])),
            "held_out_nats": held_out(model, ids[cut:]),
            "generated": generate(model, characters, options.seed),
            "seconds": round(time.perf_counter() - began, 1),
        }
        print(json.dumps({k: v for k, v in results[name].items() if k != "training_losses"}, indent=1), flush=True)
        options.out.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    draw(results, options.figure)


if __name__ == "__main__":
    main()
