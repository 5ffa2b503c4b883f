"""Writes one file of every architecture and format with whatever Keras is asked for, and what the model itself gives.

Run as a script it is Keras 2 (tf_keras), in a process of its own: `python writing.py FOLDER`. The logits beside each
file are the writer's own, made by calling the model as its author would.
"""

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

if __name__ == "__main__":
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.checkpoints import architectures
from tests.checkpoints.architectures import WHAT, N, V

IDS = np.random.default_rng(11).integers(1, V, (2, 11)).astype("int32")


def checkpoint(model: Any, path: Path) -> None:
    import tensorflow as tf

    tf.train.Checkpoint(model=model).save(path / "ckpt")


FORMATS = {
    "whole-h5": lambda model, path: model.save(path / "model.h5"),
    "keras": lambda model, path: model.save(path / "model.keras"),
    "h5": lambda model, path: model.save_weights(path / "weights.h5"),
    "hdf5": lambda model, path: model.save_weights(path / "weights.hdf5"),
    "weights-h5": lambda model, path: model.save_weights(path / "model.weights.h5"),
    "ckpt": lambda model, path: model.save_weights(path / "ckpt_1"),  # Keras 2 alone
    "tf-ckpt": checkpoint,
    "saved-model": lambda model, path: model.save(path / "saved"),  # Keras 2 alone
}
FILES = {
    "whole-h5": "model.h5", "keras": "model.keras", "h5": "weights.h5", "hdf5": "weights.hdf5",
    "weights-h5": "model.weights.h5", "ckpt": ".", "tf-ckpt": ".", "saved-model": "saved",
}  # fmt: skip
WHOLE = ("whole-h5", "keras")
EVERYWHERE = ("gru", "lstm_softmax", "dressed", "residual", "states", "stateful", "one_hot", "window", "cells")


def formats_of(name: str, *, keras2: bool) -> tuple[str, ...]:
    """Every format of the commonest architectures; whole files of the others; weights of what cannot be whole."""
    weights = ("h5", "hdf5", "weights-h5", "ckpt") if keras2 else ("weights-h5", "tf-ckpt")
    if name == "tutorial":
        return tuple(form for form in weights if not (keras2 and form == "weights-h5"))
    if keras2:
        everywhere = (*WHOLE, *weights, "tf-ckpt", "saved-model")
        return () if name == "operations" else everywhere if name in EVERYWHERE else WHOLE
    return (*WHOLE, *weights) if name in EVERYWHERE[:3] else ("keras",)


KERAS_2 = [(name, form) for name in WHAT for form in formats_of(name, keras2=True)]
KERAS_3 = [(name, form) for name in WHAT for form in formats_of(name, keras2=False)]


def _as_after_training(model: Any) -> None:
    """With an optimizer and its variables, which are saved too and have no part in evaluation."""
    model.compile("adam", "sparse_categorical_crossentropy")
    model.optimizer.build(model.trainable_variables)


def settle(model: Any, seed: int) -> None:
    """Weights like those of a trained model, of variances that are positive."""
    rng = np.random.default_rng(seed)
    given = [rng.normal(0, 0.5, w.shape).astype("float32") for w in model.get_weights()]
    positive = [("variance" in w.name) for w in model.weights]
    model.set_weights([abs(w) if p else w for w, p in zip(given, positive, strict=True)])


def logits(model: Any, name: str) -> Any:
    """What the author gets, logits or probabilities: `(2, 11, V)`, or for windows `(2, 6, V)`."""
    contract, kind = WHAT[name]
    eye = np.eye(V, dtype="float32")
    ways = {"ids": lambda i: i, "one-hot": lambda i: eye[i], "scaled": lambda i: np.float32(i[..., None] / V)}
    encode = ways[kind]
    if name == "one_step":
        return _token_by_token(model)
    if contract == 2:
        starts = [np.zeros((2, i.shape[1]), "float32") for i in model.inputs[1:]]
        return np.asarray(model([IDS, *starts])[0])
    if contract == 5:
        windows = np.stack([IDS[:, t : t + N] for t in range(IDS.shape[1] - N + 1)], 1)
        flat = model.predict(encode(windows.reshape(-1, N)), verbose=0)
        return flat.reshape(2, -1, V)
    return np.asarray(model(encode(IDS)))


def _token_by_token(model: Any) -> Any:
    rows = []
    for row in IDS:
        recurrent = model.layers[-2]
        (recurrent.reset_states if hasattr(recurrent, "reset_states") else recurrent.reset_state)()
        rows.append([np.asarray(model(np.array([[token]], "int32")))[0] for token in row])
    return np.array(rows)


def write_all(k: Any, folder: Path, cases: Any = KERAS_2) -> None:
    """Write the files of all cases, and `logits.npy` beside each."""
    for seed, (name, form) in enumerate(cases):
        path = folder / name / form
        path.mkdir(parents=True)
        model = getattr(architectures, name)(k)
        if not model.built:
            model(IDS)
        _as_after_training(model)
        settle(model, seed)
        np.save(path / "logits.npy", logits(model, name))
        FORMATS[form](model, path)


if __name__ == "__main__":
    import tf_keras

    write_all(tf_keras, Path(sys.argv[1]))
