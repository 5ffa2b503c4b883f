"""Many checkpoints and long texts over many workers: calls the engine, writes records.

The room is not called `sweep`, so that `rnneval.sweep` is the function and never the package. Nothing is imported here:
who reads the table of a sweep needs nothing of what makes one.
"""
