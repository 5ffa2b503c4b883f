"""The values that everything speaks: frozen, keyword-only, plain data.

`Run`, `Wiring`, `Gate` and `Gradients` are written to files by `rnneval.recordfile`; their keys are the contract of the
docs (reference, records), their JSON Schemas are generated from these classes.
"""

from rnneval.records import gate, run, wiring
from rnneval.records.gate import Gate
from rnneval.records.gradients import Gradients
from rnneval.records.opened import Opened
from rnneval.records.run import Run
from rnneval.records.wiring import Finding, Wiring

__all__ = ["Finding", "Gate", "Gradients", "Opened", "Run", "Wiring", "gate", "run", "wiring"]
