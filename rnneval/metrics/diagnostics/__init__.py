"""What a state's course over a text is like, in numbers: pure NumPy, mergeable, in memory that no text's length grows.

Sums of a segment are kept apart from the statistics that are made of them: a segment that is read again replaces its
sums, and the sums of all segments add up to those of the text.
"""
