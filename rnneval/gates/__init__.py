"""Gates: baseline × candidate → a verdict. Records in, records out; no TensorFlow."""
