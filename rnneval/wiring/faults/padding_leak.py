"""Padding changes the predictions."""

NAME, SEVERITY, ORDER = "padding-leak", "error", 134
