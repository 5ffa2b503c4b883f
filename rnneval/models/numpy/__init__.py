"""The NumPy backend: checkpoints whose layers are a chain of known ones, run without TensorFlow and Keras.

Nothing is imported here: a worker needs the arithmetic alone, and imports nothing that reads files.
"""
