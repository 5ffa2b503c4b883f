"""The user's own scripts and notebooks: from FILE.py:NAME to the statements that NAME needs, and nothing else.

Files are read as units (`source`), each with what it binds, reads and changes. `plan` has the units that a name needs,
`uses` the names that they mention, `allowed` the list of what may run, and `refusals` what is not on it. `builder` runs
the units as a module, and makes the model with what NAME is.
"""

from rnneval.checkpoints.usercode.builder import (
    Builder,
    builder_of,
    name_of,
    parse_arguments,
    reads_checkpoint,
    record_of,
)
from rnneval.checkpoints.usercode.plan import is_file, plan

__all__ = ["Builder", "builder_of", "is_file", "name_of", "parse_arguments", "plan", "reads_checkpoint", "record_of"]
