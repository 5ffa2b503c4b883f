"""The invariant that a layer's state goes back into the same layer: rules and verdicts, without TensorFlow."""
