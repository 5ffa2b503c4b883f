"""One question to every file: does it open as what it is, with the logits that its writer got?"""

from pathlib import Path

import numpy as np
import tensorflow as tf

import rnneval
from tests.checkpoints.architectures import WHAT, N
from tests.checkpoints.writing import FILES, IDS, WHOLE

BUILDER = f"{Path(__file__).with_name('architectures.py')}:make"
WITHIN = 1e-6


def assert_opens_with_the_writers_logits(folder: Path, name: str, form: str) -> None:
    path = folder / name / form
    # `make` looks its function up by name, which no reading of the source can follow: the whole file is run.
    made = {"builder": BUILDER, "builder_arguments": {"name": name}, "run_module": True}
    named = {} if form in WHOLE else made
    lm = rnneval.open(path / FILES[form], **named)
    assert (lm.contract, lm.input_kind) == tuple(WHAT[name])
    np.testing.assert_allclose(_as_written(lm, name), np.load(path / "logits.npy"), atol=WITHIN, rtol=0)


def _as_written(lm, name):
    """What the model gives for the writer's ids: probabilities after a softmax, windows once they are whole."""
    given = np.asarray(lm.step(IDS, lm.initial_state(len(IDS))).logits)
    given = given[:, N - 1 :] if WHAT[name].contract == 5 else given
    return np.asarray(tf.nn.softmax(given)) if lm.output_kind == "probabilities-as-logits" else given
