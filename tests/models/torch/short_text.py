"""A short random text, its letters and its ids, for small modules."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

LETTERS = "abcdefg\n"
TEXT = "".join(np.random.default_rng(0).choice(list(LETTERS), 700))
IDS = torch.tensor([[LETTERS.index(letter) for letter in TEXT]])
KNOWN = {"vocabulary": list(LETTERS), "string": TEXT}
