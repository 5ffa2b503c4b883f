"""The predictions depend on which calls read a text, although not on how a run cuts it."""

NAME, SEVERITY, ORDER = "call-variance", "error", 132
