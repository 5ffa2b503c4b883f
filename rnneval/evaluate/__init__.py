"""Texts read with a model: its wiring checked, its losses measured, its states traced; one file or many."""
