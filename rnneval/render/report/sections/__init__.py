"""The chapters of the page, one file each, found by being here.

A module has `ORDER` (lower comes first) and `section(given)`, a pure function of all records that gives a `Section`, or
None where the records have nothing to say about it.
"""
