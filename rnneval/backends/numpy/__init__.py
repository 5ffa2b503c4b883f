"""The NumPy backend: checkpoints whose layers are a chain of known ones, run without TensorFlow and Keras."""

from rnneval.backends.numpy.chain import NotForNumpyError
from rnneval.backends.numpy.lm import NumpyLM, open_numpy

__all__ = ["NotForNumpyError", "NumpyLM", "open_numpy"]
