"""The invariant that a layer's state goes back into the same layer: facts, faults and verdicts, without TensorFlow."""
