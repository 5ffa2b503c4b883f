"""Small trained models and their real losses: what the other gate_* benchmarks judge. Made once, then cached.

    python benchmarks/gate_models.py --data FOLDER --cache FOLDER

FOLDER of --data holds tinyshakespeare.txt, wikitext2.test.txt and wikitext2.valid.txt. Written to --cache: a .keras
file a model and a .npy file of losses, float64 nats of each held-out token but the first, with the state carried.

Character models: trained on the first 40 % of tinyshakespeare, judged on the rest. Byte models: trained on
wikitext2.test, judged on wikitext2.valid. Embedding 32 → GRU 128 → Dense, 500 steps of 64 windows of 100 tokens.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

STEPS, BATCH, WINDOW = 500, 64, 100
ROWS, BURN_IN, SEGMENT = 128, 1000, 500
CHARACTER_SEEDS = tuple(range(10))
BYTE_SEEDS = (0, 1, 2)
HALF_TRAINED = (0, 1)
CACHE = Path(tempfile.gettempdir()) / "rnneval-gate-cache"


def character_text(data: Path) -> tuple[NDArray[np.int32], NDArray[np.int32], int]:
    """Ids of the training part and of the held-out part, and the vocabulary's size."""
    text = (data / "tinyshakespeare.txt").read_text(encoding="utf-8")
    index = {character: i for i, character in enumerate(sorted(set(text)))}
    ids = np.array([index[character] for character in text], dtype=np.int32)
    cut = int(len(ids) * 0.4)
    return ids[:cut], ids[cut:], len(index)


def byte_text(data: Path) -> tuple[NDArray[np.int32], NDArray[np.int32], int]:
    """The same for the byte models."""
    train, held_out = (
        np.frombuffer((data / f"wikitext2.{part}.txt").read_bytes(), dtype=np.uint8).astype(np.int32)
        for part in ("test", "valid")
    )
    return train, held_out, 256


def build(vocabulary: int, seed: int, units: int = 128):
    import keras

    keras.utils.set_random_seed(seed)
    return keras.Sequential(
        [
            keras.Input((None,), dtype="int32"),
            keras.layers.Embedding(vocabulary, 32),
            keras.layers.GRU(units, return_sequences=True, name="gru"),
            keras.layers.Dense(vocabulary, name="logits"),
        ]
    )


def train(ids: NDArray[np.int32], vocabulary: int, seed: int, path: Path, half: Path | None) -> None:
    """Train one model; keep it half-way, too, where asked."""
    import keras

    model = build(vocabulary, seed)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=keras.optimizers.Adam(2e-3), loss=loss)
    rng = np.random.default_rng(seed)
    for part in (half, path):
        starts = rng.integers(0, len(ids) - WINDOW - 1, size=(STEPS // 2 * BATCH, 1))
        windows = ids[starts + np.arange(WINDOW + 1)]
        model.fit(windows[:, :-1], windows[:, 1:], batch_size=BATCH, shuffle=False, verbose=0)
        if part is not None:
            model.save(part)


def with_noise(model, seed: int, share: float = 0.01) -> None:
    """Add noise to one matrix, the GRU's recurrent one: SD 1 % of the matrix' own SD."""
    variable = model.get_layer("gru").cell.recurrent_kernel
    weights = variable.numpy()
    noise = np.random.default_rng(seed).normal(size=weights.shape)
    variable.assign(weights + share * weights.std() * noise)


def carried_losses(model, ids: NDArray[np.int32]) -> NDArray[np.float64]:
    """Nats of every token but the first, the state carried through, `(tokens − 1,)`.

    Rows side by side, each started 1,000 tokens early: these models forget within 300 (streams.md), so this is the
    one-stream loss to float32 rounding.
    """
    import tensorflow as tf

    embedding, gru, dense = model.layers
    span = -(-(len(ids) - 1) // ROWS)
    padded = np.concatenate([np.zeros(BURN_IN, np.int32), ids, np.zeros(span * ROWS - len(ids) + 1, np.int32)])
    rows = np.stack([padded[row * span : row * span + BURN_IN + span + 1] for row in range(ROWS)])

    @tf.function
    def step(inputs, targets, state):
        outputs = gru.cell(embedding(inputs[:, 0]), [state])[0][:, None, :]
        hidden = [outputs]
        for t in range(1, inputs.shape[1]):
            hidden.append(gru.cell(embedding(inputs[:, t]), [hidden[-1][:, 0]])[0][:, None, :])
        logits = dense(tf.concat(hidden, 1))
        return tf.nn.sparse_softmax_cross_entropy_with_logits(targets, logits), hidden[-1][:, 0]

    state, losses = tf.zeros((ROWS, gru.units)), []
    first = tf.constant(np.arange(ROWS)[:, None] > 0, tf.float32)
    for start in range(0, BURN_IN + span, 50):
        stop = min(start + 50, BURN_IN + span)
        if start == BURN_IN:
            state *= first  # the text begins here in row 0: what went before was padding
        nats, state = step(tf.constant(rows[:, start:stop]), tf.constant(rows[:, start + 1 : stop + 1]), state)
        losses.append(nats.numpy())
    return np.concatenate(losses, axis=1)[:, BURN_IN:].reshape(-1)[: len(ids) - 1].astype(np.float64)


def make(data: Path, cache: Path) -> None:
    """Train and judge all models that are not in the cache yet."""
    import keras

    cache.mkdir(parents=True, exist_ok=True)
    for kind, text, seeds in (("char", character_text(data), CHARACTER_SEEDS), ("byte", byte_text(data), BYTE_SEEDS)):
        ids, held_out, vocabulary = text
        for seed in seeds:
            path = cache / f"{kind}-{seed}.keras"
            half = cache / f"{kind}-{seed}-half.keras" if seed in HALF_TRAINED else None
            if not path.exists():
                train(ids, vocabulary, seed, path, half)
            names = [path.stem, *([half.stem] if half else [])]
            if seed == 0:
                noisy = keras.models.load_model(path, compile=False)
                with_noise(noisy, seed)
                noisy.save(cache / f"{kind}-0-noise.keras")
                names.append(f"{kind}-0-noise")
            for name in names:
                judge(cache, name, held_out)


def judge(cache: Path, name: str, held_out: NDArray[np.int32]) -> None:
    import keras

    if (cache / f"{name}.npy").exists():
        return
    began = time.perf_counter()
    losses = carried_losses(keras.models.load_model(cache / f"{name}.keras", compile=False), held_out)
    np.save(cache / f"{name}.npy", losses)
    print(f"{name}: {losses.mean():.5f} nats a token, judged in {time.perf_counter() - began:.0f} s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=os.environ.get("RNNEVAL_DATA"), help="default: $RNNEVAL_DATA")
    parser.add_argument("--cache", type=Path, default=CACHE)
    arguments = parser.parse_args()
    if arguments.data is None:
        parser.error("say where the texts are: --data FOLDER or RNNEVAL_DATA")
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    make(arguments.data, arguments.cache)


if __name__ == "__main__":
    main()
