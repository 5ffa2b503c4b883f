"""Small trained models and their real losses: what the other gate_* benchmarks judge. Made once, then cached.

    PYTHONPATH=. python benchmarks/gate_models.py --data FOLDER --cache FOLDER

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
import pyarrow.parquet as pq
from numpy.typing import NDArray

import rnneval
from rnneval.text import Vocabulary

STEPS, BATCH, WINDOW = 500, 64, 100
CHARACTER_SEEDS = tuple(range(10))
BYTE_SEEDS = (0, 1, 2)
HALF_TRAINED = (0, 1)
CACHE = Path(tempfile.gettempdir()) / "rnneval-gate-cache"


def character_text(data: Path) -> tuple[NDArray[np.int32], str, Vocabulary]:
    """Ids of the training part, the held-out part, and the vocabulary."""
    text = (data / "tinyshakespeare.txt").read_text(encoding="utf-8")
    vocabulary = sorted(set(text))
    index = {character: i for i, character in enumerate(vocabulary)}
    part = int(len(text) * 0.4)
    ids = np.array([index[character] for character in text[:part]], dtype=np.int32)
    return ids, text[part:], Vocabulary.from_tokens(vocabulary)


def byte_text(data: Path) -> tuple[NDArray[np.int32], str, Vocabulary]:
    """The same for the byte models."""
    train, held_out = ((data / f"wikitext2.{part}.txt").read_bytes() for part in ("test", "valid"))
    return np.frombuffer(train, dtype=np.uint8).astype(np.int32), held_out.decode(), Vocabulary.from_bytes()


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


def carried_losses(model, text: str, vocabulary: Vocabulary) -> NDArray[np.float64]:
    """Nats of every token but the first, the state carried through, `(tokens − 1,)`."""
    lm = rnneval.wrap(model, vocabulary=vocabulary)
    with tempfile.TemporaryDirectory() as folder:
        losses = Path(folder) / "losses.parquet"
        tokens = "byte" if vocabulary.size == 256 else "char"
        rnneval.evaluate(lm, string=text, tokens=tokens, check=False, states=False, losses=losses)
        return pq.read_table(losses)["nats"].to_numpy()


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
                train(ids, vocabulary.size, seed, path, half)
            names = [path.stem, *([half.stem] if half else [])]
            if seed == 0:
                noisy = keras.models.load_model(path, compile=False)
                with_noise(noisy, seed)
                noisy.save(cache / f"{kind}-0-noise.keras")
                names.append(f"{kind}-0-noise")
            for name in names:
                judge(cache, name, held_out, vocabulary)


def judge(cache: Path, name: str, held_out: str, vocabulary: Vocabulary) -> None:
    import keras

    if (cache / f"{name}.npy").exists():
        return
    began = time.perf_counter()
    losses = carried_losses(keras.models.load_model(cache / f"{name}.keras", compile=False), held_out, vocabulary)
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
