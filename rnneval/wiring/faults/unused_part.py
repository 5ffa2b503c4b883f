"""A part of the state has no effect on the predictions."""

NAME = "unused-part"
SEVERITY = "warning"
