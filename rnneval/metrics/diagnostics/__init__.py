"""Statistics of states and gates over a text: pure NumPy, mergeable, in memory that does not grow with the text.

Sums of a segment are kept apart from the statistics that are computed from them: a segment that is re-evaluated
replaces its sums, and the sums of all segments add up to those of the text.
"""
