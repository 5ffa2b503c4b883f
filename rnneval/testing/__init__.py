"""What test suites import."""

from rnneval.testing.wiring import assert_state_wiring

__all__ = ["assert_state_wiring"]
