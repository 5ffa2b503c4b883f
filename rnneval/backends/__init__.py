"""Backends: what runs a language model for the engine. Keras models are in `rnneval.models`; nothing here needs it."""
