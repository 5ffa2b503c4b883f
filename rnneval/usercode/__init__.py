"""The user's own scripts and notebooks: from FILE.py:NAME to the statements that NAME needs, and nothing else.

Files are read into syntax trees (`source`), the statements that a name needs are found (`slice`), searched for what
may not be run (`scan`, `refusals`), and run as a module (`run`). `plan` puts the first three together.
"""

from rnneval.usercode.arguments import parse_arguments
from rnneval.usercode.plan import is_file, plan, split_spec, whole
from rnneval.usercode.run import forget, neighbours_scanned, run_slice
from rnneval.usercode.slice import Slice

__all__ = [
    "Slice",
    "forget",
    "is_file",
    "neighbours_scanned",
    "parse_arguments",
    "plan",
    "run_slice",
    "split_spec",
    "whole",
]
