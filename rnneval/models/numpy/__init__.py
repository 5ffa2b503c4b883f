"""The NumPy backend: checkpoints whose layers are a chain of known ones, run without TensorFlow and Keras."""
