"""The dynamic wiring check: is each layer's state given back to the same layer?

Facts are gathered here, by running the model; the rules and the verdict are in `rnneval.wiring`, and know no
TensorFlow.
"""
