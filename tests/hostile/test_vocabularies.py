"""Vocabularies that grow: refused by what is counted before anything is parsed."""

import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest

from rnneval.errors import VocabularyError
from rnneval.text import Vocabulary
from rnneval.text.vocabulary_files import MOST_TOKENS
from tests.hostile.cost import ROOT

_CHILD = """
import json, resource, sys
from rnneval.errors import VocabularyError
from rnneval.text import Vocabulary
try:
    vocabulary = Vocabulary.from_file(sys.argv[1])
    said = f"{len(vocabulary.ids):,} {vocabulary.sha256}"
except VocabularyError as error:
    said = str(error)
used = resource.getrusage(resource.RUSAGE_SELF)
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(json.dumps([said, used.ru_utime + used.ru_stime, int(peak.split()[1]) / 1024]))
"""


def read(path):
    """Read in a process of its own, within 10 processor seconds and a gigabyte; give what was said."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", _CHILD, path], capture_output=True, text=True, check=True, timeout=120,
        env={**os.environ, "PYTHONPATH": os.environ.get("PYTHONPATH", str(ROOT))},
    )  # fmt: skip
    said, seconds, mb = json.loads(done.stdout)
    assert seconds < 10, (said[:200], seconds)
    assert mb < 1000, (said[:200], mb)
    return said


@pytest.mark.sampled(3)
@pytest.mark.parametrize(
    ("name", "unit", "said"),
    [
        ("v.txt", "aaaaaaaa\n", "7,000,000 lines, a vocabulary has at most 1,048,576: give the one of the model"),
        ("v.txt", "{number}\n", "7,000,000 lines, a vocabulary has at most 1,048,576"),
        ("v.json", '"a",', "14,000,000 quotation marks, a vocabulary has at most 8,388,608"),
        ("v.json", "[],", "7,000,001 lists and objects, a vocabulary has at most 2,097,152"),
        ("v.json", "300,", "has the token 300 of type int: tokens are strings"),
        ("v.json", "1.5,", "has the token 1.5 of type float: tokens are strings"),
    ],
)
def test_seven_million_tokens(tmp_path, name, unit, said):
    """Before: 40 s and 1.4 GB for 60 MB of lines."""
    text = "".join(unit.format(number=number) for number in range(7_000_000)) if "{" in unit else unit * 7_000_000
    (tmp_path / name).write_text(text if name == "v.txt" else f"[{text}1]")
    assert said in read(tmp_path / name)


def test_a_file_beyond_64_megabytes(tmp_path):
    with (tmp_path / "v.txt").open("wb") as file:
        file.truncate(5 << 30)
    assert read(tmp_path / "v.txt").endswith(
        "is larger than 67,108,864 bytes: a vocabulary is a JSON map or list, or one token a line"
    )


@pytest.mark.parametrize("dtype", ["<U0", "<U1"])
def test_an_array_of_more_tokens_than_any_vocabulary(tmp_path, dtype):
    with (tmp_path / "v.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(
            file, {"descr": dtype, "fortran_order": False, "shape": (MOST_TOKENS + 1,)}
        )
        file.write(bytes(4 * MOST_TOKENS + 4))
    with pytest.raises(VocabularyError, match=re.escape("1,048,577 tokens, a vocabulary has at most 1,048,576")):
        Vocabulary.from_file(tmp_path / "v.npy")
