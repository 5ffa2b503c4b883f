"""The user's own scripts and notebooks: from FILE.py:NAME to the statements that NAME needs, and nothing else.

Files are read into syntax trees (`source`), the statements that a name needs are found (`slice`), searched for what
may not be run (`scan`, `refusals`), and run as a module (`run`). `plan` puts the first three together. `builder`
makes the model with what NAME is.
"""

from rnneval.usercode.arguments import parse_arguments
from rnneval.usercode.builder import Builder, builder_of, reads_checkpoint
from rnneval.usercode.plan import is_file, plan

__all__ = ["Builder", "builder_of", "is_file", "parse_arguments", "plan", "reads_checkpoint"]
