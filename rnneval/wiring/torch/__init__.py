"""The wiring of PyTorch models, seen through hooks on every module."""
