"""Tests of PyTorch models beyond those of step functions; needs PyTorch."""
