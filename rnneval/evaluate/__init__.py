"""Texts read with a model: its wiring checked, its losses measured, its states traced; one file or many.

Nothing is imported here: code that reads the table of a sweep needs none of the code that makes one.
"""
