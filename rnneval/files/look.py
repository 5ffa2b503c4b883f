"""The first look at a checkpoint, before TensorFlow is imported: what can be refused by now is."""

import os
import shlex
from pathlib import Path

from rnneval.errors import CheckpointError, UsageError
from rnneval.files.folder import Graph
from rnneval.files.identify import Artefact, identify
from rnneval.files.rules import require_allowed

WHOLE = ("keras", "keras-h5")


def look(path: str | os.PathLike[str], *, has_builder: bool, expect_sha256: str | None = None) -> Artefact:
    """Hold a checkpoint against all rules that need neither TensorFlow nor the user's own code.

    Raises:
        CheckpointError: it breaks a rule, or has another hash than expected.
        UsageError: a builder is needed.
    """
    artefact = identify(Path(path), custom=None if has_builder else ())
    require_builder(artefact, has_builder=has_builder)
    require_sha256(artefact, expect_sha256)
    return artefact


def require_builder(artefact: Artefact, *, has_builder: bool) -> None:
    """Refuse weights without the code of their model."""
    if artefact.format == "saved-model":
        size = (artefact.place / "saved_model.pb").stat().st_size
        require_allowed("graph", Graph(size=size, has_builder=has_builder), artefact.path)
    if artefact.format not in WHOLE and not has_builder:
        raise UsageError(
            f"{artefact.path} holds weights and no model: give the code that makes the model, --builder FILE.py:NAME, "
            f"as in: rnneval evaluate {shlex.quote(str(artefact.path))} TEXT --builder train.py:MyModel"
        )


def require_sha256(artefact: Artefact, expected: str | None) -> str:
    """Give the hash of a checkpoint, refused where it is not the expected one."""
    sha256 = artefact.sha256
    if expected is not None and sha256 != expected.strip().lower():
        of = ""
        if len(artefact.files) > 1:
            names = ", ".join(sorted(file.name for file in artefact.files))
            of = f" (of the lines NAME, a zero byte, SHA-256, line feed, for {names})"
        raise CheckpointError(
            f"{artefact.path}: its SHA-256{of} is {sha256}, not {expected}: another file, or a damaged one"
        )
    return sha256
