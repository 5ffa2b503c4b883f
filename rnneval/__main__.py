"""`python -m rnneval` and the `rnneval` command."""

import os
import sys


def main() -> None:
    """Run the command line and exit with its code."""
    _leave_current_folder()
    from rnneval.cli.main import run

    sys.exit(run(sys.argv[1:]))


def _leave_current_folder() -> None:
    """Remove the current folder from the path if `python -m` or a relative entry of PYTHONPATH put it there.

    An empty entry counts as well. A file beside a checkpoint (keras_hub.py) must not be imported in place of a module.
    """
    here, given = os.path.realpath("."), os.environ.get("PYTHONPATH", "")
    if sys.path and sys.path[0] in {"", here}:
        del sys.path[0]
    relative = [place for place in given.split(os.pathsep) if not os.path.isabs(place)]  # noqa: PTH117 - a pathlib.py may lie here
    if given and any(os.path.realpath(place or ".") == here for place in relative):
        sys.path[:] = [place for place in sys.path if os.path.realpath(place or ".") != here]


if __name__ == "__main__":
    main()
