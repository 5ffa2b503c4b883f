"""A part of the state has no effect on the predictions."""

NAME, SEVERITY = "unused-part", "warning"
