"""Checkpoint formats and the loading policy, without TensorFlow.

A checkpoint is hostile input: what it is, is decided by its bytes and not by its name, and nothing in it gets to run.
"""

from rnneval.files.identify import Artefact, identify, private_copy
from rnneval.files.look import look, require_builder

__all__ = ["Artefact", "identify", "look", "private_copy", "require_builder"]
