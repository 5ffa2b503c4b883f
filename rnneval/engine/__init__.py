"""Models run over text, as fast as exactness allows, into NumPy arrays."""
