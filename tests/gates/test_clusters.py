import numpy as np
import pytest

from rnneval.gates.clusters import TooLittleTextError, clusters_of, effective_number


def test_documents_are_clusters_where_eight_weigh_enough():
    document = np.repeat(np.arange(8), 3)
    clusters = clusters_of(document, np.ones(24))
    assert (clusters.kind, clusters.count, clusters.effective) == ("documents", 8, 8.0)
    assert clusters.labels.tolist() == document.tolist()
    assert clusters.method == "t, 8 documents"
    assert clusters.claim == "text like these documents"


def test_one_giant_document_among_many_does_not_count_as_many():
    document = np.arange(200)
    units = np.ones(200)
    units[0] = 10_000.0  # effective number (10199)² / (10⁸ + 199) = 1.04
    with pytest.raises(TooLittleTextError, match=r"in 200 documents, the largest with 98 % of the text, worth 1\.0"):
        clusters_of(document, units)
    assert effective_number(units) == pytest.approx(10_199**2 / (10_000**2 + 199))


def test_the_floor_says_what_there_is_and_what_is_needed():
    with pytest.raises(TooLittleTextError, match=r"127 blocks of 256 bytes in 1 document: .* 128 blocks \(32 kB\)"):
        clusters_of(np.zeros(127, dtype=int), np.ones(127))
