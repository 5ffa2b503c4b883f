"""The wiring check of Keras models: here a model runs and facts are gathered; rules and verdict know no TensorFlow."""
