"""Commands, one per file: each file holds a click command called `command`, and adding a file adds the command.

A command returns its exit code, or None for 0.
"""
