"""Many checkpoints and long texts over many workers: calls the engine, writes records.

The room is not called `sweep`, so that `rnneval.sweep` is the function and never the package.
"""

from rnneval.sweeps.many import Sweep, sweep

__all__ = ["Sweep", "sweep"]
