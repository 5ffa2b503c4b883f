"""Damaged records, tables and vocabularies: one line, or another whole value; never a traceback."""

import pytest

from tests.damage.plain import outcome, subjects

SUBJECTS = {subject.name: subject for subject in subjects()}
EACH = 25


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", SUBJECTS)
def test_a_damaged_file_is_refused_or_another_whole_one(name):
    counted = {"refused": 0, "unchanged": 0, "another": 0}
    for seed in range(EACH):
        counted[outcome(SUBJECTS[name], seed)[1]] += 1
    assert counted["refused"] > EACH // 4, counted
