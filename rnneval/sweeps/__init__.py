"""Many checkpoints and long texts over many workers: calls the engine, writes records.

The package is not called `sweep`, so that `rnneval.sweep` is the function. Nothing is imported here: code that reads
the table of a sweep needs none of the code that makes one.
"""
