"""Files of Keras 2, read without Keras: the configuration is rewritten for Keras 3, the weights are read as arrays."""
