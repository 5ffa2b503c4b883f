"""Where two windows meet, by hand: an overlap of 30 bytes that begins at byte 100, so that its middle is 110 to 120."""

import numpy as np
import pytest

from rnneval.text.subword import Located
from rnneval.text.tokenise import _agreed

SHARED = b"x" * 30
ENDS = [108, 111, 114, 117, 119, 123]


def located(ends, ids=None):
    return Located(ids=np.array(range(len(ends)) if ids is None else ids, np.int32), ends=np.array(ends))


def right(ends, ids=None):
    return located([end - 100 for end in ends], ids)


def test_the_last_place_inside_that_both_have():
    assert _agreed(located(ENDS), right(ENDS), 100, SHARED) == 117


@pytest.mark.parametrize(
    ("ends", "ids"),
    [
        (ENDS, [0, 1, 7, 3, 4, 5]),  # another token at the same place
        ([108, 111, 115, 117, 119, 123], None),  # the same tokens at another place
        ([108, 111, 117, 119, 123], [0, 1, 3, 4, 5]),  # one less
    ],
)
def test_windows_that_differ_do_not_meet(ends, ids):
    assert _agreed(located(ENDS), right(ends, ids), 100, SHARED) is None


def test_what_differs_outside_of_the_middle_does_not_matter():
    other = right([103, 109, 111, 114, 117, 119, 122, 129], [50, 51, 1, 2, 3, 4, 52, 53])
    assert _agreed(located(ENDS), other, 100, SHARED) == 117


def test_two_tokens_are_too_few_to_tell():
    assert _agreed(located([108, 113, 117, 125]), right([108, 113, 117, 125]), 100, SHARED) is None


def test_none_meet_where_a_character_is_shared_or_cut():
    shared = [111, 114, 117, 117, 119]  # the token that ends at 117 with no byte of its own belongs to what follows
    assert _agreed(located(shared), right(shared), 100, SHARED) == 114
    cut = SHARED[:17] + b"\x80" + SHARED[18:]  # byte 117 continues a character
    assert _agreed(located(ENDS), right(ENDS), 100, cut) == 114
