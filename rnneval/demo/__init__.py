"""The embedded default: a text that every Python has, and a model that trains on it in under a minute."""
