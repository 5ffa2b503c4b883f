"""The faults of state wiring, one module each: adding a file adds the fault.

The page of a fault is `rnneval/pages/NAME.md`, or else the module's docstring: the text of `rnneval explain`, of the
docs and of a finding's help. `find(evidence)` is a pure function that looks at a model that has run and yields
detections. The findings of faults with a lower `ORDER` come first. With `CORRECTS = True` the help of a finding shows
the corrected line, where it can be made.
"""
