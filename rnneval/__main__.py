"""`python -m rnneval` and the `rnneval` command."""

import os
import sys


def main() -> None:
    """Run the command line and exit with its code."""
    _leave_current_folder()
    from rnneval.cli.main import run

    sys.exit(run(sys.argv[1:]))


def _leave_current_folder() -> None:
    """Undo `python -m`'s first entry: what lies beside a checkpoint must not stand in for a module (keras_hub.py)."""
    if sys.path and sys.path[0] in {"", os.path.realpath(".")}:
        del sys.path[0]


if __name__ == "__main__":
    main()
