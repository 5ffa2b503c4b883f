"""Labels that differ, legends that cover nothing, letters that can be read: of every figure, whatever it shows."""

from itertools import combinations

from hypothesis import given, settings
from hypothesis import strategies as st

from rnneval.render.figures._style import labels

# Labels


@settings(max_examples=300, deadline=None)
@given(
    st.text("ab_", max_size=40),
    st.lists(st.text("ab_/", max_size=40), min_size=1, max_size=6),
    st.text("ab_", max_size=40),
    st.integers(10, 40),
)
def test_labels_differ_exactly_where_names_differ_and_are_short(begin, middles, end, most):
    names = [f"{begin}{middle}{end}" for middle in middles]
    found = labels(names, most)
    for (one, label), (other, label_of_other) in combinations(list(zip(names, found, strict=True)), 2):
        assert (label == label_of_other) is (one == other)
    assert all(len(label) <= most for label in found)


# Gradients through time of two layers


# Legends


# Columns of a report
