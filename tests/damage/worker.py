"""A process that opens one checkpoint after another, and says of each what came of it.

    python -m tests.damage.worker FOLDER

Reads a line of JSON a checkpoint, `{"path": …, "options": {…}}`, and answers with one, whose `outcome` is `refused`,
`opened` or `fault`. It watches itself: what a file must never make rnneval do (start a process, open a connection,
unpickle, write outside) is a canary, and comes with the answer.
"""

import hashlib
import json
import os
import resource
import signal
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any

SECONDS = 20
_FORGET = 40
"""Files after which Keras is asked to forget its names and graphs."""
_FORBIDDEN = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "socket.connect", "pickle.find_class")
_fired: list[str] = []


class TooLongError(BaseException):
    """Opening took longer than anybody waits."""


def main() -> None:
    folder = Path(sys.argv[1])
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever a library prints is no answer
    os.environ.update(TF_CPP_MIN_LOG_LEVEL="3", TF_ENABLE_ONEDNN_OPTS="0", CUDA_VISIBLE_DEVICES="-1")
    if not (folder / "made").exists():
        from tests.damage.checkpoints import make

        make(folder)
        (folder / "made").touch()
    import rnneval.models.keras.opening  # noqa: F401 - so that no file's time has it

    os.chdir(tempfile.mkdtemp(prefix="rnneval-empty-"))
    sys.addaudithook(_watch)
    signal.signal(signal.SIGALRM, _too_long)
    answers.write("ready\n")
    for number, line in enumerate(sys.stdin):
        if number % _FORGET == 0:
            import keras

            keras.backend.clear_session()  # takes as long as a file
        answers.write(json.dumps(_answer(json.loads(line))) + "\n")


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if event.startswith(_FORBIDDEN):
        _fired.append(f"{event} {arguments!r}"[:300])
    if event == "open" and isinstance(arguments[0], str) and _writes(arguments):
        path = os.path.realpath(arguments[0])
        if not path.startswith((tempfile.gettempdir(), "/dev/", "/proc/")):
            _fired.append(f"open {path} for writing")


def _writes(arguments: tuple[Any, ...]) -> bool:
    return bool(arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)) if isinstance(arguments[2], int) else False


def _too_long(*_: object) -> None:
    raise TooLongError


def _answer(asked: dict[str, Any]) -> dict[str, Any]:
    from rnneval.errors import RnnevalError

    _fired.clear()
    before = sorted(Path(asked["path"]).parent.rglob("*"))
    signal.alarm(SECONDS)
    try:
        found = {"outcome": "opened", "print": _fingerprint(asked["path"], asked["options"])}
    except RnnevalError as error:
        found = {"outcome": "refused", "said": str(error), "error": type(error).__name__}
    except BaseException as error:  # a fault of rnneval is what is looked for
        found = {"outcome": "fault", "said": f"{type(error).__name__}: {error}"[:500], "trace": traceback.format_exc()}
    finally:
        signal.alarm(0)
    made = [str(path) for path in (*Path.cwd().iterdir(), *Path(asked["path"]).parent.rglob("*"))]
    new = sorted(set(made) - {str(path) for path in before})
    return {**found, "canaries": [*_fired, *new], "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}


def _fingerprint(path: str, options: dict[str, Any]) -> str:
    """What tells two opened models apart: weights, layers, vocabulary, and what it says."""
    import numpy as np

    import rnneval

    lm = rnneval.open(path, **options)
    whole = hashlib.sha256()
    for weight in lm.model.weights:
        # Not by name: Keras counts on (dense_7) where a builder names nothing.
        whole.update(f"{weight.shape} {weight.dtype}".encode() + np.asarray(weight).tobytes())
    layers = [(layer.kind, layer.units, layer.slots) for layer in lm.layers]
    whole.update(repr([layers, lm.width, lm.vocabulary and (lm.vocabulary.tokens, lm.vocabulary.first_id)]).encode())
    ids = np.array([[1, 2, 3]], np.int32)
    if lm.checkpoint.contract != 5:
        logits, _ = lm.step(ids, lm.initial_state(1))
        whole.update(np.asarray(logits).tobytes())
    return whole.hexdigest()


if __name__ == "__main__":
    main()
