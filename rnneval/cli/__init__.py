"""Command line: parsing and dispatch, with one file per command in `commands/`, which imports inside its function."""
