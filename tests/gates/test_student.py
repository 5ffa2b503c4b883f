import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import stdtr, stdtrit

from rnneval.gates.student import probability, quantile

DEGREES = st.floats(1.0, 5000.0)


@given(st.floats(-60, 60), DEGREES)
def test_probability_agrees_with_scipy(t, df):
    assert probability(t, df) == pytest.approx(float(stdtr(df, t)), rel=1e-9, abs=1e-15)


@given(st.floats(1e-4, 1 - 1e-4), DEGREES)
def test_quantile_agrees_with_scipy(p, df):
    assert quantile(p, df) == pytest.approx(float(stdtrit(df, p)), rel=1e-9, abs=1e-11)


@pytest.mark.parametrize(
    ("p", "df", "value"),
    [(0.95, 1, 6.313752), (0.975, 2, 4.302653), (0.95, 7, 1.894579), (0.8, 7, 0.896030), (0.975, 120, 1.979930)],
)
def test_values_of_printed_tables(p, df, value):
    assert quantile(p, df) == pytest.approx(value, abs=1e-6)
    assert quantile(1 - p, df) == pytest.approx(-value, abs=1e-6)


def test_one_degree_of_freedom_is_cauchy():
    assert probability(3.0, 1) == pytest.approx(0.5 + math.atan(3.0) / math.pi)


def test_the_ends():
    assert (probability(0.0, 7), quantile(0.5, 7)) == (0.5, 0.0)
    assert (probability(math.inf, 7), probability(-math.inf, 7)) == (1.0, 0.0)
    assert (probability(1e-308, 1), probability(1e200, 7)) == (0.5, 1.0)


def test_what_has_no_value_is_nan():
    values = (probability(math.nan, 7), probability(1, 0), quantile(0.95, math.nan), quantile(1, 7), quantile(0.9, -1))
    assert all(math.isnan(value) for value in values)
