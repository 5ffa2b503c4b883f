"""The command line: parsing and dispatch, one file a command in `commands/`, heavy imports inside the command."""
