"""The version: one place, read by hatch and by `rnneval --version`."""

__version__ = "0.1.0.dev0"
