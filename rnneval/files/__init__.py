"""Checkpoint formats and the loading policy, without TensorFlow.

A checkpoint is untrusted input: its bytes decide its format, not its name, and nothing in it is run.
"""

from rnneval.files.artefact import Artefact, identify, preflight, private_copy, require_builder

__all__ = ["Artefact", "identify", "preflight", "private_copy", "require_builder"]
