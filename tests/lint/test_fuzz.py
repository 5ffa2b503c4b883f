"""Nothing that is handed in makes the linter raise: valid, invalid and mutilated sources."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rnneval.lint.check import check_bytes
from tests.lint.written import snippets

SOURCES = [snippet.source for snippet in [*snippets("wrong"), *snippets("right")]]
RELAXED = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


@RELAXED
@given(st.sampled_from(SOURCES), st.data())
def test_sources_cut_short_and_spliced(source: str, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(source)))
    other = data.draw(st.sampled_from(SOURCES))
    noise = data.draw(st.text(max_size=6))
    assert isinstance(check_bytes("a.py", (source[:at] + noise + other[at:]).encode("utf-8", "surrogatepass")), tuple)


@RELAXED
@given(st.binary(max_size=300), st.sampled_from(["a.py", "a.ipynb", "a.pyi", "a"]))
def test_any_bytes(content: bytes, path: str) -> None:
    assert isinstance(check_bytes(path, content), tuple)
