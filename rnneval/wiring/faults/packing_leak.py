"""A document in a packed row sees another one."""

NAME, SEVERITY, ORDER = "packing-leak", "error", 138
