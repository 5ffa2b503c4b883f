"""Train the models that the speed benchmarks read: a little, since a model that forgets is repaired sooner.

    python benchmarks/speed_models.py FOLDER [NAMES…] --data FOLDER [--seconds 90]

`char-…` read tinyshakespeare.txt, `word-…` WikiText-2's validation part, its 10,000 most frequent words. Written are
NAME.keras and, once a kind, char.json and word.json, the vocabularies. What is there already is left alone.
"""

import argparse
import json
import os
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

ROWS, LENGTH = 64, 100
WORDS = 10_000


@dataclass(frozen=True, kw_only=True)
class Case:
    """One model: its recurrent layers and its embedding."""

    kind: str
    units: tuple[int, ...]
    embedding: int
    tokens: str


CASES = {
    f"{tokens}-{kind.lower()}{'x'.join(map(str, (len(units), units[0]))) if len(units) > 1 else units[0]}": Case(
        kind=kind, units=units, embedding=embedding, tokens=tokens
    )
    for tokens in ("char", "word")
    for kind, units, embedding in (
        ("GRU", (128,), 64),
        ("GRU", (512,), 256),
        ("GRU", (1024,), 256),
        ("LSTM", (256, 256), 256),
        ("LSTM", (650, 650), 650),
    )
}
"""By name: char-gru128, …, word-lstm2x650."""


def text_of(data: Path, tokens: str) -> Path:
    """The text that a kind of model is trained on; the speed is measured on another, or on the whole of it."""
    return data / ("tinyshakespeare.txt" if tokens == "char" else "wikitext2.valid.txt")


def tokens_of(text: str, tokens: str) -> list[str]:
    """As rnneval cuts words: at white space, the end of a line being a word of its own."""
    return list(text) if tokens == "char" else text.replace("\n", " <eos> ").split()


def vocabulary_of(data: Path, tokens: str) -> list[str]:
    text = text_of(data, tokens).read_text(encoding="utf-8")
    if tokens == "char":
        return sorted(set(text))
    return sorted(word for word, _ in Counter(tokens_of(text, tokens)).most_common(WORDS))


def build(case: Case, width: int):
    import keras

    keras.utils.set_random_seed(0)
    layers = [
        getattr(keras.layers, case.kind)(n, return_sequences=True, name=f"{case.kind.lower()}_{k}")
        for k, n in enumerate(case.units, 1)
    ]
    model = keras.Sequential(
        [
            keras.layers.Embedding(width, case.embedding, name="embedding"),
            *layers,
            keras.layers.Dense(width, name="logits"),
        ]
    )
    model.compile(
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        optimizer=keras.optimizers.Adam(2e-3, global_clipnorm=1.0),
    )
    return model


def train(case: Case, data: Path, vocabulary: list[str], seconds: float):
    import keras
    import numpy as np

    class Clock(keras.callbacks.Callback):
        """Stops after so many seconds."""

        def on_train_batch_end(self, batch: int, logs: object = None) -> None:
            self.model.stop_training = time.monotonic() > end

    place = {token: k for k, token in enumerate(vocabulary)}
    found = tokens_of(text_of(data, case.tokens).read_text(encoding="utf-8"), case.tokens)
    ids = np.array([place.get(token, place.get("<unk>", 0)) for token in found], np.int32)
    count = (len(ids) - 1) // LENGTH
    order = np.random.default_rng(0).permutation(count)
    x, y = (ids[k : k + count * LENGTH].reshape(count, LENGTH)[order] for k in (0, 1))
    model = build(case, len(vocabulary))
    end = time.monotonic() + seconds
    done = model.fit(x, y, batch_size=ROWS, epochs=2, shuffle=False, verbose=0, callbacks=[Clock()])
    return model, done.history


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*", default=list(CASES), metavar="NAMES", help=" ".join(CASES))
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("RNNEVAL_DATA", ".")))
    parser.add_argument("--seconds", type=float, default=90)
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    for tokens in ("char", "word"):
        vocabulary = json.dumps(vocabulary_of(given.data, tokens), ensure_ascii=False)
        (given.folder / f"{tokens}.json").write_text(vocabulary, encoding="utf-8")
    for name in given.names:
        case, path = CASES[name], given.folder / f"{name}.keras"
        if path.exists():
            continue
        vocabulary = json.loads((given.folder / f"{case.tokens}.json").read_text(encoding="utf-8"))
        model, history = train(case, given.data, vocabulary, given.seconds)
        model.save(path)
        print(name, history, flush=True)


if __name__ == "__main__":
    main()
