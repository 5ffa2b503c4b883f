"""The faults of state wiring, one module each: adding a file adds the fault.

The docstring of a module is its page, the text of `rnneval explain`, of the docs, of a finding's help and of SARIF.
Below it stand its constants and its finders, pure functions:

- `find(evidence)` looks at a model that has run and yields detections. It needs `ORDER`: the findings of faults with a
  lower one come first. With `CORRECTS = True` the help of a finding shows the corrected line, where it can be made.
- `find_in_source(facts)` looks at what the linter knows of a file and yields matches. It needs `CODE`.

`NAME` and `SEVERITY` hold for both. `rnneval lint` imports these modules, so that they import `rnneval.wiring.evidence`
for type checking only.

Words of the finders: a *giver* is the layer (in a source: the call of a layer) from which a state comes. An *arrival*
is one part of a layer's incoming state, with the value that the function leaves in its place for the next call.
"""
