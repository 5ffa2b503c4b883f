"""Helpers for test suites, and the pytest plugin."""

from rnneval.testing.wiring import assert_state_wiring

__all__ = ["assert_state_wiring"]
