"""An operation of the cache leaves a wrong state."""

NAME, SEVERITY, ORDER = "cache-operation", "error", 136
