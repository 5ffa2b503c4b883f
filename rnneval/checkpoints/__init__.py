"""Checkpoint formats and the loading policy, without TensorFlow.

A checkpoint is untrusted input: its bytes decide its format, not its name, and nothing in it is run.
"""

from rnneval.checkpoints.checked import examined
from rnneval.checkpoints.places import Artefact

__all__ = ["Artefact", "examined"]
