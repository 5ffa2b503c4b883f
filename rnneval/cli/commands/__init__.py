"""One file a command: each holds a `command` (a click command) named after the file; adding a file adds the command.

A command returns its exit code, or None for 0.
"""
